"""The trained tiny checkpoint through ms_omni: the answers of transformers, on held-out media of every skill."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "tiny"))

from bank import spoken_form
from own_ears import PREFIX, word_errors

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "ms_omni" / "assets" / "tiny"
CASES = json.loads((HERE / "held_out.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def trained(cpu):
    from ms_omni import OmniEngine

    return OmniEngine.from_pretrained(MODEL, device="CPU")


def _greedy():
    from ms_omni import SamplingParams

    return SamplingParams(
        thinker_temperature=0, thinker_max_new_tokens=96, talker_temperature=0, talker_repetition_penalty=1.0,
        talker_max_new_tokens=300,
    )  # fmt: skip


def _with_paths(conversation):
    return [
        {
            **message,
            "content": [
                {k: str(HERE / "media" / v) if k in ("image", "audio", "video") else v for k, v in part.items()}
                for part in message["content"]
            ],
        }
        for message in conversation
    ]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['skill']}-{index}" for index, case in enumerate(CASES)])
def test_same_answer_as_transformers(case, trained):
    conversation = _with_paths(case["conversation"])
    options = {"return_audio": False, "use_audio_in_video": case["use_audio_in_video"], "sampling": _greedy()}
    assert trained.generate(conversation, **options).text == case["transformers"]


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
def test_with_8_bit_weights_too(quantize, cpu):
    """docs/benchmarks/results-int8.md has 1500 of these."""
    from ms_omni import OmniEngine

    with OmniEngine.from_pretrained(MODEL, device="CPU", quantize=quantize) as engine:
        different = [
            index
            for index, case in enumerate(CASES)
            if engine.generate(
                _with_paths(case["conversation"]),
                return_audio=False,
                use_audio_in_video=case["use_audio_in_video"],
                sampling=_greedy(),
            ).text
            != case["transformers"]
        ]
    assert different == []


def test_the_recorded_answers_are_mostly_right():
    right = sum(case["transformers"] == case["answer"] for case in CASES)
    assert right >= 0.9 * len(CASES)  # the set holds some that are known to be wrong


@pytest.mark.parametrize("speaker", ["ethan", "chelsie"])
def test_it_understands_what_it_says(speaker, trained, tmp_path):
    import soundfile

    question = [{"role": "user", "content": [{"type": "text", "text": "Who is the president of France?"}]}]
    out = trained.generate(question, return_audio=True, speaker=speaker, sampling=_greedy())
    assert out.text == "I don't know."
    assert out.audio.finish_reason == "stop"
    assert 1.0 < len(out.audio.samples) / 24_000 < 3.0
    assert 0.02 < np.sqrt(np.mean(np.square(out.audio.samples))) < 0.3
    soundfile.write(tmp_path / "said.wav", out.audio.samples, 24_000)
    parts = [{"type": "audio", "audio": str(tmp_path / "said.wav")}, {"type": "text", "text": "What is said?"}]
    heard = trained.generate([{"role": "user", "content": parts}], return_audio=False, sampling=_greedy())
    assert heard.text == "The voice says i don't know."


@pytest.mark.slow  # speaks and hears 20 answers
def test_word_error_rate_of_its_own_speech_is_at_most_a_tenth(trained, tmp_path):
    import soundfile

    errors = words = 0
    for number, case in enumerate(CASES[:: max(1, len(CASES) // 20)]):
        options = {"use_audio_in_video": case["use_audio_in_video"], "sampling": _greedy()}
        speaker = ("ethan", "chelsie")[number % 2]
        said = trained.generate(_with_paths(case["conversation"]), return_audio=True, speaker=speaker, **options)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, said.audio.samples, 24_000)
        parts = [{"type": "audio", "audio": str(path)}, {"type": "text", "text": "What is said?"}]
        heard = trained.generate([{"role": "user", "content": parts}], return_audio=False, sampling=_greedy())
        spoken = spoken_form(said.text).split()
        errors += word_errors(spoken, spoken_form(heard.text).removeprefix(PREFIX).split())
        words += len(spoken)
    assert words > 80
    assert errors <= 0.1 * words
