"""The Talker's prompt, and that residual codes are sampled when the Talker samples."""

import numpy as np
import pytest

from ms_omni.models.talker_prompt import build_talker_prompt, split_turns

SPEAKER = 2302


def test_turns_are_cut_at_their_start_marks():
    ids = np.array([7, 1, 5, 5, 7, 2, 5, 7, 3, 5])
    assert split_turns(ids, 13, im_start=7) == [(1, 0, 4), (2, 4, 7), (3, 7, 13)]


@pytest.fixture
def prompt_of(engine):
    """prompt_of(turns, answer) -> (TalkerPrompt, embeds, hidden, sequence); a turn is (role, ids)."""
    import mindspore as ms

    model, config = engine.model, engine.config
    roles = {"system": config.system_token_id, "user": config.user_token_id, "assistant": config.assistant_token_id}

    def build(turns, answer):
        ids = [
            i for role, body in [*turns, ("assistant", [])] for i in (config.im_start_token_id, roles[role], 10, *body)
        ]
        sequence = np.array([*ids, *answer], np.int32)
        read = len(sequence) - 1  # the last token is never read
        rng = np.random.default_rng(0)
        embeds, hidden = (
            ms.Tensor(rng.standard_normal((1, read, config.thinker_config.text_config.hidden_size)).astype(np.float32))
            for _ in range(2)
        )
        return build_talker_prompt(model, sequence, len(ids), embeds, hidden, SPEAKER), embeds, hidden, sequence

    return build


def test_system_and_earlier_answers_are_left_out(engine, prompt_of):
    image = engine.config.thinker_config.image_token_id
    prompt, embeds, hidden, sequence = prompt_of(
        [("system", [20, 21]), ("user", [30, image]), ("assistant", [40]), ("user", [50])], [60, 61, 62]
    )
    talker = engine.model.talker
    # user turns of 5 and 4 tokens, then 9 of the answer's prefix
    assert prompt.input_ids.asnumpy()[0].tolist() == [
        *sequence[5:10], *sequence[14:18], *[engine.config.tts_pad_token_id] * 9
    ]  # fmt: skip
    got = prompt.inputs_embeds.asnumpy()[0]
    text = talker.text_projection(embeds).asnumpy()[0]
    media = talker.hidden_projection(hidden).asnumpy()[0]
    want = np.concatenate([text[5:9], media[9:10], text[14:18]])
    np.testing.assert_allclose(got[:9], want, atol=1e-5)
    # trailing text: the second spoken token (61 was read, 62 was not), then the end mark
    assert prompt.trailing_text.shape[1] == 2
    np.testing.assert_allclose(prompt.trailing_text.asnumpy()[0, 0], text[22], atol=1e-5)


def test_prefix_adds_codec_tokens_to_text(engine, prompt_of):
    prompt, embeds, _, sequence = prompt_of([("user", [30])], [60, 61])
    talker, codec = engine.model.talker, engine.config.talker_config
    table = talker.get_input_embeddings().weight.asnumpy()
    text = talker.text_projection(embeds).asnumpy()[0]
    got = prompt.inputs_embeds.asnumpy()[0, -9:]
    np.testing.assert_allclose(got[:3], text[4:7], atol=1e-5)
    np.testing.assert_allclose(got[8], text[7] + table[codec.codec_bos_id], atol=1e-5)
    pad = prompt.pad.asnumpy()[0, 0]
    np.testing.assert_allclose(got[6] - table[SPEAKER], pad, atol=1e-5)
    np.testing.assert_allclose(got[3] - table[codec.codec_nothink_id], pad, atol=1e-5)


def test_nothing_said_is_no_prompt(prompt_of):
    assert prompt_of([("user", [30])], [60])[0] is None


def test_code_predictor_samples_as_transformers_does(engine):
    import mindspore as ms

    predictor = engine.model.talker.code_predictor
    rng = np.random.default_rng(0)
    hidden = engine.config.talker_config.code_predictor_config.hidden_size
    x = ms.Tensor(rng.standard_normal((1, 2, hidden)).astype(np.float32))

    def codes(seed, greedy):
        predictor.greedy = greedy
        ms.manual_seed(seed)
        out = predictor.generate(inputs_embeds=x, max_new_tokens=15, do_sample=False, top_k=50, top_p=0.8)
        return out.asnumpy().tolist()

    try:
        assert codes(1, True) == codes(2, True)
        assert codes(1, False) == codes(1, False)
        assert codes(1, False) != codes(2, False) and codes(1, False) != codes(1, True)
    finally:
        predictor.greedy = False
