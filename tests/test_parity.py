"""The reference set: the engine answers as transformers does. Equal ids and codec frames, the wave within 1e-4."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ms_omni import OmniEngine, OmniOutput, RequestHandle, SamplingParams

sys.path.insert(0, str(Path(__file__).parent / "reference"))
from reference_cases import (
    ANSWERS,
    CASES,
    CODE2WAV_FRAMES,
    Case,
    code2wav_codes,
    ids_hash,
    kept_samples,
    located,
)
from reference_checkpoints import build_checkpoint, fingerprint

WAVE_TOLERANCE = 1e-4
EngineOf = Callable[..., OmniEngine]


@pytest.fixture(scope="module")
def engine_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineOf]:
    """One engine per checkpoint and pixel limits; only the last one is kept, since the cases are sorted."""
    directories: dict[str, Path] = {}
    current: dict[Any, OmniEngine] = {}

    def get(checkpoint: str, **pixels: int) -> OmniEngine:
        key = (checkpoint, *sorted(pixels.items()))
        if key not in current:
            current.clear()
            if checkpoint not in directories:
                directories[checkpoint] = build_checkpoint(checkpoint, tmp_path_factory.mktemp("ref") / checkpoint)
            current[key] = OmniEngine.from_pretrained(directories[checkpoint], device="CPU", dtype="float32", **pixels)
        return current[key]

    yield get
    current.clear()


def _name(case: Case) -> str:
    return f"{case.checkpoint}-{case.name}"


SORTED_CASES = sorted(CASES, key=lambda case: (case.checkpoint, sorted(case.pixels), case.slow))
PARAMETERS = [
    pytest.param(case, id=_name(case), marks=[pytest.mark.slow] if case.slow else []) for case in SORTED_CASES
]


@pytest.mark.parametrize("checkpoint", sorted({case.checkpoint for case in CASES}))
def test_checkpoint_is_rebuilt_as_it_was_recorded(checkpoint: str, tmp_path: Path) -> None:
    recorded = json.loads((ANSWERS / checkpoint / "weights.json").read_text())["fingerprint"]
    rebuilt = fingerprint(build_checkpoint(checkpoint, tmp_path / checkpoint))
    assert rebuilt == pytest.approx(recorded, rel=1e-6), "the tiny checkpoint changed: record the answers again"


@pytest.mark.parametrize("case", PARAMETERS)
def test_answers_as_transformers(case: Case, engine_of: EngineOf) -> None:
    engine = engine_of(case.checkpoint, **case.pixels)
    conversation = located(case.conversation)
    prompt = engine.processor.prepare(conversation, use_audio_in_video=case.use_audio_in_video, fps=case.fps)
    assert ids_hash(prompt.arrays["input_ids"][0]) == recorded(case)["prompt_sha256"]
    assert_as_transformers(case, engine.submit(conversation, **options(case)).result())


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", sorted({case.checkpoint for case in CASES}))
def test_answers_as_transformers_among_others(checkpoint: str, engine_of: EngineOf) -> None:
    """All conversations of a checkpoint, in any order, at any time, among others that draw random numbers; some of
    those go away in the middle."""
    cases = [case for case in CASES if case.checkpoint == checkpoint and not (case.slow or case.pixels)]
    engine, random = engine_of(checkpoint), np.random.default_rng(0)
    asked: list[tuple[Case, RequestHandle]] = []
    others: list[RequestHandle] = []
    for i in random.permutation(len(cases)):
        asked.append((cases[i], engine.submit(located(cases[i].conversation), **options(cases[i]))))
        hot = SamplingParams(thinker_temperature=1.0, thinker_max_new_tokens=12, talker_max_new_tokens=9, seed=i)
        others.append(engine.submit("What else?", sampling=hot, return_audio=bool(engine.has_talker and i % 2)))
        time.sleep(random.uniform(0, 0.2))
        if i % 3 == 0:
            others[random.integers(len(others))].cancel()
    for case, handle in asked:
        assert_as_transformers(case, handle.result())
    for handle in others:
        handle.cancel()


def options(case: Case) -> dict[str, Any]:
    """Of `submit`."""
    return {
        "return_audio": case.speak,
        "speaker": case.speaker if case.speak else None,
        "use_audio_in_video": case.use_audio_in_video,
        "fps": case.fps,
        "sampling": SamplingParams(
            thinker_temperature=0.0,
            talker_temperature=0.0,
            thinker_max_new_tokens=case.thinker_max_new_tokens,
            talker_max_new_tokens=case.talker_max_new_tokens,
        ),
    }


def recorded(case: Case) -> dict[str, Any]:
    """What transformers answered."""
    return json.loads((ANSWERS / case.checkpoint / f"{case.name}.json").read_text())


def assert_as_transformers(case: Case, out: OmniOutput) -> None:
    expected = recorded(case)
    for count in ("prompt_tokens", "image_tokens", "audio_tokens", "video_tokens"):
        assert getattr(out.usage, count) == expected[count], (case.name, count)
    assert list(out.token_ids) == expected["token_ids"], case.name
    assert out.finish_reason == expected["finish_reason"], case.name
    if not case.speak:
        assert out.audio is None
        return
    assert out.audio is not None
    with np.load(ANSWERS / case.checkpoint / f"{case.name}.npz") as arrays:
        np.testing.assert_array_equal(out.audio.codes, arrays["codes"], case.name)
        assert_same_wave(out.audio.samples, arrays)
    assert out.audio.finish_reason == expected["talker_finish_reason"], case.name


@pytest.mark.parametrize("num_frames", CODE2WAV_FRAMES)
def test_long_speech_is_decoded_as_in_a_single_shot(num_frames: int, engine_of: EngineOf) -> None:
    import mindspore as ms

    code2wav = engine_of("tiny").model.code2wav
    codes = code2wav_codes(num_frames)
    wave = np.concatenate([np.ravel(chunk) for chunk in code2wav.chunks(ms.Tensor(codes[None]))])
    assert len(wave) == 1920 * num_frames - 555
    with np.load(ANSWERS / "tiny" / f"code2wav_{num_frames}.npz") as arrays:
        assert_same_wave(wave, arrays)


def assert_same_wave(samples: np.ndarray, arrays: Any) -> None:
    """`samples` against what is kept of the recorded wave."""
    assert len(samples) == int(arrays["num_samples"])
    kept = samples[kept_samples(len(samples))]
    assert float(np.abs(kept - arrays["wave"]).max(initial=0.0)) <= WAVE_TOLERANCE
