"""docs/benchmarks/many_conversations.py and streams.py run, and say what a reader needs; their arithmetic, by hand."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ms_omni.profiling.measured import Measured

BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def document_of(name, *flags):
    """The JSON document of a run without transformers."""
    environment = {key: value for key, value in os.environ.items() if key != "MS_OMNI_REFERENCE_PYTHON"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def many():
    return load("many_conversations")


def test_ratios_are_taken_within_a_round_and_held_against_their_bars(many):
    def of(*values):
        names = ("thinker_decode_tokens_per_s", "talker_frames_per_s", "answers_per_s", "first_audio_s")
        return [dict.fromkeys(names, value) for value in values]

    found = {
        name: {many.TOGETHER: of(9.0, 4.0, 6.0), many.ALONE: of(3.0, 2.0, 2.0)} for name in ("text", "speech", "whole")
    }
    ratios = many.ratios(found)
    ratio = ratios["text: thinker_decode_tokens_per_s, together / one after the other"]
    assert (ratio["values"], ratio["median"], ratio["at_least"], ratio["reached"]) == ([3.0, 2.0, 3.0], 3.0, 2.5, True)
    assert ratios["whole: first_audio_s, together / one after the other"]["reached"] is False
    assert ratios["text: answers_per_s, together / one after the other"]["reached"] is None
    assert not any(name.endswith(many.TRANSFORMERS) for name in ratios)
    found["text"][many.TRANSFORMERS] = of(6.0, 4.0, 6.0)
    assert many.ratios(found)["text: thinker_decode_tokens_per_s, together / transformers"]["reached"] is False


def test_one_by_one_each_question_is_asked_when_the_one_before_is_answered(many):
    class Side:
        asked = []

        def answer(self, task):
            self.asked.append(task)
            marks = {"thinker_tokens": [(1.0, 1), (2.0, 4)], "audio_samples": [(3.0, 24_000)]}
            return Measured(4.0, {"thinker_decode": 2.0}, marks, {"prompt_tokens": 9}, digest=str(len(self.asked)))

    found, digest = many.one_by_one(Side(), many.task_of("whole", 2, 5, 8))
    assert [task.batch_size for task in Side.asked] == [1, 1]
    assert Side.asked[0].conversation != Side.asked[1].conversation
    assert (found["answers_per_s"], found["thinker_decode_tokens_per_s"]) == (2 / 8.0, 8 / 4.0)
    assert found["first_audio_s"] == 3.0  # of a question that is asked alone, not behind another one
    assert digest not in ("1", "2")


def test_spare_time_counts_from_when_a_piece_can_be_played():
    # Played from 1.0 on: the second is due at 1.5, the third at 2.5, and the fourth when the late third has been played
    heard = load("streams").Heard([(1.0, 0.5), (1.25, 1.0), (3.0, 2.0), (4.0, 1.0)])
    assert (heard.first_s, heard.spare_s) == (1.0, [0.25, -0.5, 1.0])


@pytest.mark.slow
def test_many_conversations_run(tiny_dir):
    document = document_of("many_conversations", "--quick", "--model", tiny_dir)
    assert document["same_answers"]
    assert document["medians"]["whole"]["together"]["talker_rows"] > 1
    assert document["medians"]["whole"]["one after the other"]["talker_rows"] == 1
    assert len(document["ratios"]) == 5 and len(document["load_average"]) == 6


@pytest.mark.slow
def test_streams_run(tiny_dir):
    document = document_of("streams", "--model", tiny_dir, "--conversations", 2, "--frames", 8, "--rounds", 1)
    assert document["first_audio_alone_s"]["median"] > 0 and len(document["spare_s"]["values"]) == 1
    assert document["reached"].keys() == {"first audio at most 2.0x", "no gap"}
