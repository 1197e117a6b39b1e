"""docs/benchmarks/decode.py runs, and says what a reader needs; its arithmetic, by hand."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "benchmarks" / "decode.py"


@pytest.fixture(scope="module")
def decode():
    spec = importlib.util.spec_from_file_location("benchmark_decode", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seconds_each_leaves_out_prefill_and_other_stages(decode):
    """Two tokens in 1 s, then a frame, then two tokens in 2 s; what the other stage separates does not count."""
    events = [("thinker", 1, 10.0), ("thinker", 3, 11.0), ("talker", 1, 15.0), ("thinker", 4, 16.0)]
    events += [("thinker", 6, 18.0)]
    assert decode.seconds_each(events, "thinker") == pytest.approx(3.0 / 4)
    assert decode.intervals(events, "talker") == []
    assert (decode.longest(events, "thinker"), decode.longest(events, "talker")) == (2.0, 4.0)


def test_ratios_are_taken_within_a_round(decode):
    def stage(*each):
        return {"first_call_s": 3.0, "steady_call_s": 1.0, "each_s": list(each)}

    results = {
        "mindone": {"thinker": stage(4.0, 9.0, 8.0), "talker": stage(1.0, 1.0, 1.0)},
        "fused": {"thinker": stage(1.0, 3.0, 1.0), "talker": stage(0.5, 0.25, 0.1)},
    }
    document = decode.document(results, {})
    ratio = document["ratios"]["fused/mindone"]
    assert [ratio["thinker"][key] for key in ("min", "median", "max")] == [3.0, 4.0, 8.0]
    assert ratio["talker"]["values"] == [2.0, 4.0, 10.0]
    assert document["engines"]["fused"]["talker_frames_per_s"]["median"] == 4.0
    assert document["compile_s"] == {"thinker": 2.0, "talker": 2.0}


@pytest.mark.slow
def test_quick_run(tiny_dir):
    environment = {key: value for key, value in os.environ.items() if key != "MS_OMNI_REFERENCE_PYTHON"}
    command = [sys.executable, str(SCRIPT), "--quick", "--model", str(tiny_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["same_on_all_sides"] == {"thinker": True, "talker": True}
    for values in document["engines"].values():
        assert values["thinker_tokens_per_s"]["median"] > 0 and values["talker_frames_per_s"]["median"] > 0
    assert set(document["ratios"]) == {"fused/mindone"}
    assert set(document["compile_s"]) == {"thinker", "talker"}
    streamed = {name: seconds["median"] for name, seconds in document["streaming"].items()}
    assert 0 < streamed["first_text_s"] < streamed["first_audio_s"] < streamed["last_text_s"]
    assert document["versions"]["mindspore"] and document["machine"]["cores"] > 0
    assert document["config"]["code_predictor"]["num_code_groups"] == 16
    assert document["run"]["rounds"] == 1 and len(document["load_average"]) == 6
