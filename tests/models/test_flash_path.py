"""The whole model with flash attention asked for, on a stand-in for the one operator that the CPU lacks."""

import numpy as np
import pytest


def prompt_flash_attention(
    query, key, value, attn_mask, *, num_heads, scale_value, pre_tokens, next_tokens, input_layout,
    num_key_value_heads, sparse_mode, inner_precise,
):  # fmt: skip
    """MindSpore's operator as CANN's documentation has it: float16 or bfloat16, contiguous, key heads shared by groups
    of query heads, a mask that is True where a position is left out, or the fixed one of causal attention."""
    import mindspore as ms
    from mindspore import mint

    assert str(query.dtype) in ("Float16", "BFloat16") and all(x.is_contiguous() for x in (query, key, value))
    assert pre_tokens == next_tokens == 2**31 - 1 and inner_precise == 0
    q, k, v = (x.astype(ms.float32) for x in (query, key, value))
    if input_layout == "BSH":
        counts = (num_heads, num_key_value_heads, num_key_value_heads)
        q, k, v = (x.reshape(*x.shape[:2], n, -1).swapaxes(1, 2) for x, n in zip((q, k, v), counts, strict=True))
    assert (q.shape[1], k.shape[1]) == (num_heads, num_key_value_heads) and q.shape[3] % 16 == 0
    k, v = (mint.repeat_interleave(x, num_heads // num_key_value_heads, dim=1) for x in (k, v))
    scores = mint.matmul(q, k.swapaxes(2, 3)) * scale_value
    if sparse_mode == 3:
        assert attn_mask.shape == (2048, 2048)
        queries, keys = scores.shape[2:]
        attn_mask = ms.Tensor(np.triu(np.ones((queries, keys), bool), keys - queries + 1))
    elif attn_mask is not None:
        assert sparse_mode == 0 and attn_mask.shape == (q.shape[0], 1, *scores.shape[2:])
    if attn_mask is not None:
        scores = scores.masked_fill(attn_mask, -1e30)
    out = mint.matmul(mint.nn.functional.softmax(scores, dim=-1), v)
    if input_layout == "BSH":
        out = out.swapaxes(1, 2).reshape(query.shape)
    return out.astype(query.dtype)


@pytest.fixture
def flash_executor(tiny_dir, cpu, monkeypatch):
    import mindspore as ms

    from ms_omni.models import audio_encoder, vision_encoder
    from ms_omni.parallel.world import World
    from ms_omni.runtime.mindone_executor import MindoneExecutor

    monkeypatch.setattr(ms.ops, "prompt_flash_attention", prompt_flash_attention)
    for module in (audio_encoder, vision_encoder):  # as on a card: the CPU has another form, without this operator
        monkeypatch.setattr(module, "on_cpu", lambda: False)
    options = {"attn_implementation": "flash_attention_2", "with_talker": True, "parallel": "none"}
    return MindoneExecutor(tiny_dir, "CPU", dtype=ms.float32, world=World(), **options)


def test_answers_in_text_and_speech_as_eager_does(flash_executor, engine):
    """float16 inside attention only: hidden states within 1 %, and the same kind of answer."""
    from ms_omni.config import SamplingParams
    from ms_omni.scheduling.request import Request, RequestHandle
    from ms_omni.scheduling.state import RequestState
    from ms_omni.speakers import speech_of

    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    from PIL import Image

    tone = np.sin(np.arange(24000) * 0.2).astype(np.float32)
    parts = [{"type": "image", "image": Image.fromarray(image)}, {"type": "audio", "audio": tone}]
    conversation = [{"role": "user", "content": [*parts, {"type": "text", "text": "What?"}]}]
    sampling = SamplingParams(
        thinker_max_new_tokens=3, talker_max_new_tokens=3, talker_temperature=0.0, ignore_eos=True, seed=0
    ).resolved({})
    prepared = engine._preprocessor.prepare(conversation, sampling, speak=True, use_audio_in_video=False, fps=None)
    request = Request(lambda: prepared, sampling, (1,), speech=speech_of(engine.config.talker_config, "Ethan", 4, 25))
    handle = RequestHandle()
    executors = (flash_executor, engine.executor)
    states = [RequestState(request, prepared, lambda: handle, engine.processor.decode, lambda: 0.0) for _ in executors]
    for executor, state in zip(executors, states, strict=True):
        executor.start([state], "thinker")
        executor.prefill([state], "thinker", [(0, state.thinker.num_prompt)])
    layer = engine.config.talker_config.accept_hidden_layer
    hidden = [state.device_state.thinker.hidden_states[0][layer].asnumpy() for state in states]
    error = np.abs(hidden[0] - hidden[1]).max() / np.abs(hidden[1]).max()
    assert 0 < error < 0.01
    states[1].device_state.thinker = states[
        0
    ].device_state.thinker  # both Talkers go on from one Thinker's hidden states
    for executor, state in zip(executors, states, strict=True):
        executor.start([state], "talker")
        executor.prefill([state], "talker", [(0, state.talker.num_prompt)])
        assert len(state.frames) == 2 and len(state.thinker.token_ids) == len(state.talker.token_ids) == 3


class Layer:
    def __init__(self, is_causal):
        self.is_causal = is_causal


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("dim", [8, 16, 72])
def test_masks_heads_and_head_sizes(cpu, monkeypatch, dim, is_causal, masked):
    """Two sequences whose queries are the last three of five positions; one key of the second is hidden."""
    import mindspore as ms

    from ms_omni.models.flash import inference_attention

    monkeypatch.setattr(ms.ops, "prompt_flash_attention", prompt_flash_attention)
    rng = np.random.default_rng(0)
    q = rng.standard_normal((2, 4, 3, dim)).astype(np.float16)
    k, v = rng.standard_normal((2, 2, 2, 5, dim)).astype(np.float16)
    seen = np.ones((2, 1, 3, 5), bool)
    seen[1, :, :, 1] = not masked
    mask = ms.Tensor(seen) if masked else None
    out, _ = inference_attention(Layer(is_causal), *(ms.Tensor(x) for x in (q, k, v)), mask, scaling=0.3)
    if is_causal:
        seen &= np.tril(np.ones((3, 5), bool), 2)
    for sequence, head, query in np.ndindex(2, 4, 3):
        keys = np.flatnonzero(seen[sequence, 0, query])
        scores = k[sequence, head // 2, keys].astype(np.float64) @ q[sequence, head, query] * 0.3
        shares = np.exp(scores - scores.max())
        expected = shares @ v[sequence, head // 2, keys] / shares.sum()
        np.testing.assert_allclose(out.asnumpy()[sequence, query, head], expected, atol=4e-3)
