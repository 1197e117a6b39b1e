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


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_stays_in_one_line_of_a_terminal(tmp_path):
    log, screen = tmp_path / "worker_0.log", Terminal()
    job = Job(JobSpec(cards=2, words=("doctor",), log_dir=tmp_path), [], {}, screen, screen)
    for more in ("ms-omni: loading: 1 of 9 weights\n", f"{NOISE}ms-omni: loading: 2 of 9 weights\n"):
        with open(log, "a") as file:
            file.write(more)
        job._relay()
    (tmp_path / "stdout.txt").write_text("Hello\n")
    job._relay(last=True)
    cleared = "\r\x1b[K"
    expected = f"ms-omni: loading: 1 of 9 weights{cleared}ms-omni: loading: 2 of 9 weights{cleared}Hello\n"
    assert screen.getvalue() == expected
