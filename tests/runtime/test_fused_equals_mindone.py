"""The fused engine answers as mindone's generate does: ids, codec frames, wave."""

from pathlib import Path

import numpy as np
import pytest

from ms_omni import SamplingParams

ASSETS = Path(__file__).parents[2] / "ms_omni" / "assets"
MEDIA = {
    "image": {"type": "image", "image": str(ASSETS / "shapes.png")},
    "audio": {"type": "audio", "audio": str(ASSETS / "question.wav")},
    "video": {"type": "video", "video": str(ASSETS / "ball.mp4")},
}
GREEDY = SamplingParams(thinker_max_new_tokens=10, talker_max_new_tokens=5, talker_temperature=0.0)


def conversation(*kinds):
    return [{"role": "user", "content": [*(MEDIA[kind] for kind in kinds), {"type": "text", "text": "What is it?"}]}]


@pytest.mark.parametrize("kinds", [(), ("audio",), ("image", "video")], ids=lambda kinds: "+".join(kinds) or "text")
def test_same_answer(engine, fused, kinds):
    options = {"use_audio_in_video": "video" in kinds, "sampling": GREEDY}
    mine, theirs = (one.generate(conversation(*kinds), **options) for one in (fused, engine))
    assert (mine.token_ids, mine.finish_reason) == (theirs.token_ids, theirs.finish_reason)
    np.testing.assert_array_equal(mine.audio.codes, theirs.audio.codes)
    np.testing.assert_allclose(mine.audio.samples, theirs.audio.samples, atol=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 3.0])
def test_repeated_tokens_become_less_likely(engine, fused, penalty):
    """Those of the prompt as well: as transformers' `RepetitionPenaltyLogitsProcessor`."""
    sampling = SamplingParams(thinker_max_new_tokens=30, thinker_repetition_penalty=penalty, ignore_eos=True)
    mine, theirs = (one.generate(conversation(), return_audio=False, sampling=sampling) for one in (fused, engine))
    assert mine.token_ids == theirs.token_ids
    assert (len(set(mine.token_ids)) == 30) == (penalty > 1)


@pytest.mark.slow
def test_stops_where_mindone_stops(engine, fused, monkeypatch):
    """In the middle of a call of several tokens, and at its end."""
    free = fused.generate(conversation(), return_audio=False, sampling=GREEDY).token_ids
    for stop_at in dict.fromkeys(free[:6]):
        for one in (engine, fused):
            monkeypatch.setitem(one.generation_config, "thinker_eos_token_id", stop_at)
        outs = [one.generate(conversation(), sampling=GREEDY) for one in (fused, engine)]
        assert outs[0].finish_reason == "stop" and outs[0].token_ids == outs[1].token_ids
        np.testing.assert_array_equal(outs[0].audio.codes, outs[1].audio.codes)


def test_seed_repeats_and_greedy_is_the_limit_of_cold(fused):
    def ids(temperature, seed):
        sampling = SamplingParams(thinker_max_new_tokens=9, thinker_temperature=temperature, seed=seed)
        return fused.generate(conversation(), return_audio=False, sampling=sampling).token_ids

    assert ids(1.5, 1) == ids(1.5, 1) != ids(1.5, 2)
    assert ids(1e-4, 3) == ids(0.0, 3)
