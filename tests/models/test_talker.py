"""The Talker's prompt, and that residual codes are sampled when the Talker samples."""

import numpy as np
import pytest

from ms_omni.models.talker_prompt import ThinkerOutput, build_talker_prompts, split_turns, talker_prompt_tokens

SPEAKER = 2302
FIRST_TOKEN = 33


def test_turns_are_cut_at_their_start_marks():
    ids = np.array([7, 1, 5, 5, 7, 2, 5, 7, 3, 5])
    assert split_turns(ids, 13, im_start=7) == [(1, 0, 4), (2, 4, 7), (3, 7, 13)]


@pytest.fixture
def prompt_of(engine):
    """prompt_of(turns) -> (TalkerPrompt, embeds, hidden, prompt ids); a turn is (role, ids)."""
    import mindspore as ms

    model, config = engine.model, engine.config
    roles = {"system": config.system_token_id, "user": config.user_token_id, "assistant": config.assistant_token_id}

    def build(turns):
        turns = [*turns, ("assistant", [])]
        ids = np.array([i for role, body in turns for i in (config.im_start_token_id, roles[role], 10, *body)])
        rng = np.random.default_rng(0)
        size = config.thinker_config.text_config.hidden_size
        embeds, hidden = (ms.Tensor(rng.standard_normal((len(ids), size)).astype(np.float32)) for _ in range(2))
        (prompt,) = build_talker_prompts(model, [ThinkerOutput(ids, embeds, hidden, FIRST_TOKEN, SPEAKER)])
        return prompt, embeds, hidden, ids

    return build


def test_system_and_earlier_answers_are_left_out(engine, prompt_of):
    image = engine.config.thinker_config.image_token_id
    prompt, embeds, hidden, ids = prompt_of(
        [("system", [20, 21]), ("user", [30, image]), ("assistant", [40]), ("user", [50])]
    )
    talker = engine.model.talker
    # user turns of 5 and 4 tokens, then 9 of the answer's prefix
    assert prompt.ids.tolist() == [
        *ids[5:10], *ids[14:18], *[engine.config.tts_pad_token_id] * 9
    ]  # fmt: skip
    text = talker.text_projection(embeds).asnumpy()
    media = talker.hidden_projection(hidden).asnumpy()
    want = np.concatenate([text[5:9], media[9:10], text[14:18]])
    np.testing.assert_allclose(prompt.embeds.asnumpy()[:9], want, atol=1e-5)


def test_prompts_that_are_made_together_are_made_as_alone(engine):
    import mindspore as ms

    config, answers = engine.config, []
    image, size = config.thinker_config.image_token_id, config.thinker_config.text_config.hidden_size
    rng = np.random.default_rng(0)
    for number, body in enumerate(([30], [31, image, 32, image], [image])):
        roles = ((config.user_token_id, body), (config.assistant_token_id, []))
        ids = np.array([i for role, words in roles for i in (config.im_start_token_id, role, 10, *words)])
        embeds, hidden = (ms.Tensor(rng.standard_normal((len(ids), size)).astype(np.float32)) for _ in range(2))
        answers.append(ThinkerOutput(ids, embeds, hidden, 33 + number, SPEAKER + number))
    for made, answer in zip(build_talker_prompts(engine.model, answers), answers, strict=True):
        (alone,) = build_talker_prompts(engine.model, [answer])
        assert made.ids.tolist() == alone.ids.tolist()
        np.testing.assert_allclose(made.embeds.asnumpy(), alone.embeds.asnumpy(), atol=1e-6)


def test_a_prompt_that_does_not_ask_the_assistant_is_refused(engine):
    config = engine.config
    with pytest.raises(ValueError, match=f"ends with role token {config.user_token_id}, not with the assistant's"):
        talker_prompt_tokens(config, np.array([config.im_start_token_id, config.user_token_id, 10, 30]))
    with pytest.raises(ValueError, match="expected one of a chat template"):
        talker_prompt_tokens(config, np.array([10, 30]))


def test_prefix_adds_codec_tokens_to_text(engine, prompt_of):
    import mindspore as ms

    prompt, embeds, *_ = prompt_of([("user", [30])])
    talker, codec = engine.model.talker, engine.config.talker_config
    table = talker.get_input_embeddings().weight.asnumpy()
    got = prompt.embeds.asnumpy()[-9:]
    np.testing.assert_allclose(got[:3], talker.text_projection(embeds).asnumpy()[4:7], atol=1e-5)
    word = engine.model.thinker.get_input_embeddings()(ms.Tensor([FIRST_TOKEN], ms.int32))
    first_word = talker.text_projection(word).asnumpy()[0]
    np.testing.assert_allclose(got[8], first_word + table[codec.codec_bos_id], atol=1e-5)
    pad = prompt.pad.asnumpy()[0]
    np.testing.assert_allclose(got[6] - table[SPEAKER], pad, atol=1e-5)
    np.testing.assert_allclose(got[3] - table[codec.codec_nothink_id], pad, atol=1e-5)


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
