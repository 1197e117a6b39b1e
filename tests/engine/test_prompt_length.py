"""A conversation of more positions than the model has is refused by the flag."""

import re

import numpy as np
import pytest

from ms_omni import OmniEngine, OmniError, SamplingParams
from ms_omni.preprocessing import check_positions

HELLO = [{"role": "user", "content": "Hello"}]


def test_positions():
    check_positions(90, SamplingParams(thinker_max_new_tokens=10), 100)
    with pytest.raises(OmniError, match="--thinker-max-new-tokens 11: with a prompt of 90 .* 100 positions .* most 10"):
        check_positions(90, SamplingParams(thinker_max_new_tokens=11), 100)
    with pytest.raises(OmniError, match="the prompt has 101 tokens, the model takes 100"):
        check_positions(101, SamplingParams(thinker_max_new_tokens=1), 100)


@pytest.mark.parametrize(
    "tokens, words",
    [
        ({"audio_tokens": 130}, "about 8 s of sound fit (79 % of it); cut it, or ask --task speech-recognition"),
        (
            {"video_tokens": 150, "audio_tokens": 20},
            "about 82 % of the video fits; cut it, or lower its fps",
        ),
        ({"audio_tokens": 20, "image_tokens": 110}, "shorten the text or the media, or lower --max-pixels"),
        ({}, "shorten the text"),
    ],
)
def test_what_would_fit(tokens, words):
    with pytest.raises(OmniError, match=re.escape(words)):
        check_positions(127, SamplingParams(thinker_max_new_tokens=1), 100, tokens)


def test_a_sound_that_is_too_long_is_told_how_much_of_it_fits(fused):
    """By a real prompt: 20 s are 260 tokens."""
    fused = OmniEngine.from_pretrained(fused.directory, device="CPU", max_model_len=200)
    samples = np.random.default_rng(0).normal(0, 0.1, 20 * 16_000).astype(np.float32)
    with fused, pytest.raises(OmniError, match=r"about 1\d s of sound fit \(\d\d % of it\)"):
        fused.generate([{"role": "user", "content": [{"type": "audio", "audio": samples}]}], return_audio=False)


@pytest.mark.parametrize("name", ["fused", "baseline"])
def test_both_engines_ask(request, name):
    engine = request.getfixturevalue(name)
    limit = engine.config.thinker_config.text_config.max_position_embeddings
    with pytest.raises(OmniError, match=f"--thinker-max-new-tokens {limit}: .* beyond the {limit} positions"):
        engine.generate(HELLO, sampling=SamplingParams(thinker_max_new_tokens=limit))


def test_the_talkers_positions(fused):
    limit = fused.config.talker_config.text_config.max_position_embeddings
    with pytest.raises(OmniError, match=f"--talker-max-new-tokens {limit}: .* beyond the {limit} positions of the Ta"):
        fused.generate(HELLO, sampling=SamplingParams(talker_max_new_tokens=limit))
