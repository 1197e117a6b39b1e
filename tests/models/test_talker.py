"""The Talker's prompt, and that residual codes are sampled when the Talker samples."""

import numpy as np
import pytest

from ms_omni.models.talker_prompt import TrailingText, build_talker_prompt, split_turns

SPEAKER = 2302


def test_turns_are_cut_at_their_start_marks():
    ids = np.array([7, 1, 5, 5, 7, 2, 5, 7, 3, 5])
    assert split_turns(ids, 13, im_start=7) == [(1, 0, 4), (2, 4, 7), (3, 7, 13)]


@pytest.fixture
def prompt_of(engine):
    """prompt_of(turns) -> (TalkerPrompt, embeds, hidden, prompt ids, first word); a turn is (role, ids)."""
    import mindspore as ms

    model, config = engine.model, engine.config
    roles = {"system": config.system_token_id, "user": config.user_token_id, "assistant": config.assistant_token_id}

    def build(turns):
        turns = [*turns, ("assistant", [])]
        ids = np.array([i for role, body in turns for i in (config.im_start_token_id, roles[role], 10, *body)])
        rng = np.random.default_rng(0)
        size = config.thinker_config.text_config.hidden_size
        embeds, hidden, first = (
            ms.Tensor(rng.standard_normal((rows, size)).astype(np.float32)) for rows in (len(ids), len(ids), 1)
        )
        return build_talker_prompt(model, ids, embeds, hidden, first, SPEAKER), embeds, hidden, ids, first

    return build


def test_system_and_earlier_answers_are_left_out(engine, prompt_of):
    image = engine.config.thinker_config.image_token_id
    prompt, embeds, hidden, ids, _ = prompt_of(
        [("system", [20, 21]), ("user", [30, image]), ("assistant", [40]), ("user", [50])]
    )
    talker = engine.model.talker
    # user turns of 5 and 4 tokens, then 9 of the answer's prefix
    assert prompt.input_ids.asnumpy()[0].tolist() == [
        *ids[5:10], *ids[14:18], *[engine.config.tts_pad_token_id] * 9
    ]  # fmt: skip
    text = talker.text_projection(embeds).asnumpy()
    media = talker.hidden_projection(hidden).asnumpy()
    want = np.concatenate([text[5:9], media[9:10], text[14:18]])
    np.testing.assert_allclose(prompt.inputs_embeds.asnumpy()[0, :9], want, atol=1e-5)


def test_prefix_adds_codec_tokens_to_text(engine, prompt_of):
    prompt, embeds, _, _, first = prompt_of([("user", [30])])
    talker, codec = engine.model.talker, engine.config.talker_config
    table = talker.get_input_embeddings().weight.asnumpy()
    got = prompt.inputs_embeds.asnumpy()[0, -9:]
    np.testing.assert_allclose(got[:3], talker.text_projection(embeds).asnumpy()[4:7], atol=1e-5)
    first_word = talker.text_projection(first).asnumpy()[0]
    np.testing.assert_allclose(got[8], first_word + table[codec.codec_bos_id], atol=1e-5)
    pad = prompt.pad.asnumpy()[0]
    np.testing.assert_allclose(got[6] - table[SPEAKER], pad, atol=1e-5)
    np.testing.assert_allclose(got[3] - table[codec.codec_nothink_id], pad, atol=1e-5)


def test_text_trails_the_prompt_then_its_end_once_then_pads(prompt_of):
    prompt, embeds, *_ = prompt_of([("user", [30])])
    text = TrailingText(prompt)
    assert text.at(0) is None
    text.add(embeds[:2])
    assert text.at(1) is not None and text.at(2) is None
    text.complete()
    rows = [text.at(frame).asnumpy()[0] for frame in range(5)]
    for got, want in zip(rows, [embeds[0], embeds[1], prompt.end[0], prompt.pad[0], prompt.pad[0]]):
        np.testing.assert_array_equal(got, want.asnumpy())


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
