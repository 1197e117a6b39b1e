"""docs/benchmarks/streams.py runs; what it says of gaps, by hand."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "benchmarks" / "streams.py"


@pytest.fixture(scope="module")
def streams():
    spec = importlib.util.spec_from_file_location("streams", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_spare_time_counts_from_when_a_piece_can_be_played(streams):
    # Played from 1.0 on: the second is due at 1.5, the third at 2.5, and the fourth when the late third has been played
    heard = streams.Heard([(1.0, 0.5), (1.25, 1.0), (3.0, 2.0), (4.0, 1.0)])
    assert (heard.first_s, heard.spare_s) == (1.0, [0.25, -0.5, 1.0])


@pytest.mark.slow
def test_quick_run(tiny_dir):
    command = [sys.executable, str(SCRIPT), "--model", str(tiny_dir), "--conversations", "2", "--frames", "8"]
    done = subprocess.run([*command, "--rounds", "1"], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["first_audio_alone_s"]["median"] > 0 and len(document["spare_s"]["values"]) == 1
    assert document["reached"].keys() == {"first audio at most 2.0x", "no gap"}
