"""Conversations beside others: each answer is what it is alone, wherever it joins."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ms_omni import OmniEngine, OmniOutput, SamplingParams

sys.path.insert(0, str(Path(__file__).parents[1] / "reference"))
from reference_cases import ANSWERS, CASES, Case, kept_samples, located  # noqa: E402
from reference_checkpoints import build_checkpoint  # noqa: E402

NUM_BESIDE = 8
WAVE_TOLERANCE = 1e-4
GREEDY = {"thinker_temperature": 0.0, "talker_temperature": 0.0}
SAMPLED = [
    {"thinker_temperature": 0.8, "thinker_top_k": 20, "talker_temperature": 0.9, "seed": 1},
    {"thinker_temperature": 1.3, "thinker_top_p": 0.7, "talker_temperature": 0.6, "talker_top_k": 5, "seed": 2},
    {"thinker_temperature": 1.0, "talker_temperature": 0.0, "talker_repetition_penalty": 1.3, "seed": 3},
]


def _cases(checkpoint: str) -> list[Case]:
    return [case for case in CASES if case.checkpoint == checkpoint and not case.slow and not case.pixels]


@pytest.fixture(scope="module", params=["tiny", "deep", "wide", "no_talker"])
def loaded(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, OmniEngine]]:
    directory = build_checkpoint(request.param, tmp_path_factory.mktemp("many") / request.param)
    with OmniEngine.from_pretrained(directory, device="CPU", max_num_seqs=NUM_BESIDE) as engine:
        yield request.param, engine


def _options(case: Case, **sampling: Any) -> dict[str, Any]:
    return {
        "return_audio": case.speak,
        "speaker": case.speaker if case.speak else None,
        "use_audio_in_video": case.use_audio_in_video,
        "fps": case.fps,
        "sampling": SamplingParams(
            thinker_max_new_tokens=case.thinker_max_new_tokens,
            talker_max_new_tokens=case.talker_max_new_tokens,
            **sampling,
        ),
    }


def test_every_reference_conversation_among_seven_others(loaded: tuple[str, OmniEngine]) -> None:
    checkpoint, engine = loaded
    asked = [(case, GREEDY) for case in _cases(checkpoint)]
    asked += [(case, settings) for case in _cases(checkpoint)[:3] for settings in SAMPLED]
    alone = [
        None if settings is GREEDY else engine.generate(located(case.conversation), **_options(case, **settings))
        for case, settings in asked
    ]
    chance = random.Random(7)
    order = list(range(len(asked)))
    chance.shuffle(order)
    handles: dict[int, Any] = {}
    for place in order:
        case, settings = asked[place]
        while sum(not handle.done for handle in handles.values()) >= NUM_BESIDE:
            time.sleep(0.005)
        handles[place] = engine.submit(located(case.conversation), **_options(case, **settings))
        time.sleep(chance.uniform(0, 0.05))
    for place, (case, _) in enumerate(asked):
        out, solo = handles[place].result(timeout=300), alone[place]
        if solo is None:
            _assert_recorded(case, out)
        else:
            _assert_same(out, solo)


def _assert_recorded(case: Case, out: OmniOutput) -> None:
    """As transformers answers."""
    expected = json.loads((ANSWERS / case.checkpoint / f"{case.name}.json").read_text())
    assert list(out.token_ids) == expected["token_ids"], case.name
    assert out.finish_reason == expected["finish_reason"]
    assert (out.audio is not None) == case.speak
    if out.audio is None:
        return
    with np.load(ANSWERS / case.checkpoint / f"{case.name}.npz") as arrays:
        np.testing.assert_array_equal(out.audio.codes, arrays["codes"], case.name)
        assert len(out.audio.samples) == int(arrays["num_samples"])
        kept = out.audio.samples[kept_samples(len(out.audio.samples))]
        assert float(np.abs(kept - arrays["wave"]).max(initial=0.0)) <= WAVE_TOLERANCE


def _assert_same(out: OmniOutput, solo: OmniOutput) -> None:
    assert out.token_ids == solo.token_ids
    assert (out.audio is None) == (solo.audio is None)
    if out.audio is not None and solo.audio is not None:
        np.testing.assert_array_equal(out.audio.codes, solo.audio.codes)
        assert np.abs(out.audio.samples - solo.audio.samples).max(initial=0.0) <= WAVE_TOLERANCE
