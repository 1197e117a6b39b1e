"""A leader and its followers as processes: equal answers, ends in order, and one of them killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "rank_of_group.py"
FOR_EVER = 4  # answers, and then one that takes too long


@pytest.fixture
def start(tmp_path):
    """start(submits of every rank): their processes."""
    processes = []

    def start(*submits):
        for rank, count in enumerate(submits):
            words = [sys.executable, PROGRAM, tmp_path, rank, len(submits), count]
            environment = {**os.environ, "PYTHONHASHSEED": "0"}
            processes.append(
                subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True, env=environment)
            )
        return processes

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def lines_until(process, last):
    lines = []
    while (line := process.stdout.readline().strip()) != last:
        assert line, lines
        lines.append(line)
    return lines


def test_ranks_that_ask_alike_and_one_that_only_follows(start):
    leader, asking, following = start(3, 3, 0)
    answers, same = leader.communicate(timeout=60)[0].split("\n"), asking.communicate(timeout=60)[0].split("\n")
    assert len(set(answers[:3])) == 3 and same[:3] == answers[:3]
    assert leader.returncode == 0 and answers[3:] == ["going on", "ended in order", ""]
    assert asking.returncode == 0 and same[3:] == answers[3:]
    assert following.communicate(timeout=60)[0].split("\n") == ["following", "ended in order", ""]
    assert following.returncode == 0


@pytest.mark.parametrize("killed", [0, 1, 2])
def test_a_rank_that_is_killed_ends_the_others(start, killed):
    ranks = start(FOR_EVER, FOR_EVER, 0)
    for rank in ranks[:2]:
        lines_until(rank, "going on")
    lines_until(ranks[2], "following")
    ranks[killed].send_signal(signal.SIGKILL)
    message = f"EngineStopped: the engine has stopped (ExecutorLost: rank {killed} has ended) and must be loaded again"
    for rank in ranks:
        if rank is not ranks[killed]:
            out = rank.communicate(timeout=60)[0]  # the answer under way would take longer, and end with TimeoutError
            assert out.strip() == message and rank.returncode == 1
