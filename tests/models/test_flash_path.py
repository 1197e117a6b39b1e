"""The whole model with flash attention asked for, on a stand-in for the one operator that the CPU lacks."""

from math import sqrt

import numpy as np
import pytest


def flash_attention_score(query, key, value, head_num, attn_mask=None, scalar_value=1.0, input_layout="BSND", **kwargs):
    """MindSpore's operator as its documentation has it: (batch, seq, heads, dim), float16 or bfloat16, key heads shared
    by groups of query heads, a mask that is True where a position is left out."""
    import mindspore as ms
    from mindspore import mint

    assert (
        input_layout == "BSND" and str(query.dtype) in ("Float16", "BFloat16") and kwargs.get("keep_prob", 1.0) == 1.0
    )
    q, k, v = (x.astype(ms.float32).swapaxes(1, 2) for x in (query, key, value))
    groups = q.shape[1] // k.shape[1]
    k, v = (mint.repeat_interleave(x, groups, dim=1) for x in (k, v))
    scores = mint.matmul(q, k.swapaxes(2, 3)) * scalar_value
    if attn_mask is not None:
        scores = scores.masked_fill(attn_mask.astype(ms.bool_), -1e30)
    return mint.matmul(mint.nn.functional.softmax(scores, dim=-1), v).swapaxes(1, 2).astype(query.dtype)


class Silent:
    """A listener that does not care."""

    def tokens(self, ids):
        pass

    def talker_token(self):
        pass


@pytest.fixture
def flash_runtimes(tiny_dir, engine, monkeypatch):
    import mindspore as ms
    from mindone.transformers import modeling_flash_attention_utils as utils

    from ms_omni.runtime.mindone_runtime import MindoneRuntime

    monkeypatch.setattr(utils.ops, "flash_attention_score", flash_attention_score)
    return MindoneRuntime(tiny_dir, ms.float32, "flash_attention_2", True), engine.runtime


def test_answers_in_text_and_speech_as_eager_does(flash_runtimes, engine):
    """float16 inside attention only: hidden states within 1 %, and the same kind of answer."""
    from ms_omni.config import SamplingParams
    from ms_omni.inputs.cast import cast_inputs
    from ms_omni.runtime.results import Question

    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    from PIL import Image

    tone = np.sin(np.arange(24000) * 0.2).astype(np.float32)
    parts = [{"type": "image", "image": Image.fromarray(image)}, {"type": "audio", "audio": tone}]
    conversation = [{"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}]
    inputs = cast_inputs(engine.processor.prepare(conversation).arrays, "float32")
    sampling = SamplingParams(
        thinker_max_new_tokens=3, talker_max_new_tokens=3, talker_temperature=0.0, ignore_eos=True
    ).resolved({})
    ids = inputs["input_ids"].asnumpy()[0]
    question = Question(inputs, ids, sampling, [1], speaker_id=2302)
    results = [runtime._think(question, Silent()) for runtime in flash_runtimes]
    layer = engine.config.talker_config.accept_hidden_layer
    hidden = [result.hidden_states[0][layer].asnumpy() for result in results]
    # both Talkers go on from one Thinker's hidden states
    codes = [runtime._talk(question, results[0], Silent())[0] for runtime in flash_runtimes]
    error = np.abs(hidden[0] - hidden[1]).max() / np.abs(hidden[1]).max()
    assert 0 < error < 0.01
    assert codes[0].shape == codes[1].shape == (16, 2)


def test_stand_in_masks_and_shares_heads(cpu):
    import mindspore as ms

    rng = np.random.default_rng(0)
    q = rng.standard_normal((1, 3, 4, 8)).astype(np.float16)
    k, v = rng.standard_normal((2, 1, 3, 2, 8)).astype(np.float16)
    mask = np.triu(np.ones((3, 3), bool), 1)
    got = flash_attention_score(*(ms.Tensor(x) for x in (q, k, v)), 4, ms.Tensor(mask), 1 / sqrt(8)).asnumpy()
    np.testing.assert_allclose(got[0, 0], np.repeat(v[0, 0], 2, axis=0), atol=1e-3)  # the first sees itself only
