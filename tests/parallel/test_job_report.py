"""What a launcher says of a rank that found something wrong with the user's input."""

import io

import pytest

from ms_omni.parallel.job import Failure, Job
from ms_omni.parallel.msrun import JobSpec

NOISE = "[WARNING] DISTRIBUTED(123,abc,python):2026-01-01-00:00:00 something\n"


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        (("ms-omni: too large\n", f"{NOISE}ms-omni: too large\n"), ""),  # rank 0's line has been shown
        (("loading\n", f"ms-omni: no picture\n{NOISE}"), "ms-omni: no picture\n"),
        (("", ""), ""),
    ],
)
def test_a_mistake_is_said_once(tmp_path, logs, said):
    for rank, text in enumerate(logs):
        (tmp_path / f"worker_{rank}.log").write_text(text)
    spec, err = JobSpec(cards=2, words=("doctor",), log_dir=tmp_path), io.StringIO()
    assert Job(spec, [], {}, io.StringIO(), err)._report(Failure(rank=1, code=2)) == 2
    assert err.getvalue() == said
