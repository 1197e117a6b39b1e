"""Jobs under msrun on the CPU: collectives in worlds and groups, counts, and what a lost rank does."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ms_omni.parallel.msrun import free_port
from ms_omni.parallel.world import RANK_VARIABLES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KINDS = ("all_reduce", "all_gather", "broadcast", "all_to_all")
DTYPES = ("float32", "float16", "bfloat16", "int32", "int64", "bool_")


def environment(**extra):
    """Whoever runs the tests may be a rank itself; msrun and Python need not be on PATH."""
    kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return {**kept, "PYTHON": sys.executable, **extra}


def launch(*words, cwd, **extra):
    line = [sys.executable, "-m", "ms_omni", "launch", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=600, cwd=cwd, env=environment(**extra))


def processes_of(directory):
    """Command lines of running processes that name the directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found


def expected(kind, dtype, ranks):
    """What rank_battery.py must report: rank r gives 2 x 3 values r + 1, and broadcasts from the second member."""
    values = [1 if dtype == "bool_" else rank + 1 for rank in ranks]
    rows = {
        "all_gather": [value for value in values for _ in range(2)],
        "broadcast": [values[1]] * 2,
        "all_to_all": values,
    }
    rows["all_reduce"] = [1 if dtype == "bool_" else sum(values)] * 2
    return [[float(row)] * 3 for row in rows[kind]]


# One step of rank_battery.py, by hand: 3 sums of (1, 8) float32; (1, 8) bfloat16 gathered from 2, as float32; a token.
STEP_COUNTS = [["all_reduce", 3, 3 * 8 * 4], ["all_gather", 1, 2 * 8 * 4], ["broadcast", 1, 8], ["all_to_all", 0, 0]]


@pytest.mark.parametrize(
    ("cards", "group_size", "transport"),
    [
        (2, 2, "mccl"),
        pytest.param(4, 2, "mccl", marks=pytest.mark.slow),
        pytest.param(2, 2, "sockets", marks=pytest.mark.slow),
    ],
)
def test_collectives(tmp_path, cards, group_size, transport):
    words = ["--cards", cards, "--group-size", group_size, "--", HERE / "rank_battery.py", tmp_path]
    done = launch(*words, cwd=tmp_path, MS_OMNI_CPU_TRANSPORT=transport)
    assert (done.returncode, done.stdout) == (0, "battery done\n")
    assert re.fullmatch(rf"ms-omni: starting {cards} ranks; logs: msrun_log/\d+\n", done.stderr)
    for rank in range(cards):
        report = json.loads((tmp_path / f"rank_{rank}.json").read_text())
        first = rank // group_size * group_size
        group = None if cards == group_size else f"ms_omni_{rank // group_size}"
        assert report["world"] == [rank, cards, group_size, group]
        for kind in KINDS:
            for dtype in DTYPES:
                for how in ("eager", "graph"):
                    name = f"{kind} {dtype} {how}"
                    assert report["results"][name] == expected(kind, dtype, range(first, first + group_size)), name
        assert report["eager_counts"] == report["graph_counts"] == report["counts_after_graph"] == STEP_COUNTS


@pytest.fixture
def start_loop(tmp_path):
    """start_loop(*words): a launched job whose ranks are in their loop. It never outlives its test."""
    jobs = []

    def start(*words):
        line = [sys.executable, "-m", "ms_omni", "launch", "--cards", "2", "--", str(HERE / "rank_loop.py")]
        line += [str(tmp_path), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        job = subprocess.Popen(line, cwd=tmp_path, env=environment(), **pipes)
        jobs.append(job)
        deadline = time.monotonic() + 300
        while not all((tmp_path / f"started_{rank}").exists() for rank in range(2)):
            assert time.monotonic() < deadline and job.poll() is None, job.poll()
            time.sleep(0.1)
        return job

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def test_a_killed_rank_ends_the_job(start_loop, tmp_path):
    job = start_loop()
    os.kill(int((tmp_path / "started_1").read_text()), signal.SIGKILL)
    out, err = job.communicate(timeout=120)
    assert job.returncode == 1 and out.split() in ([], ["going", "on"])
    assert "ms-omni: rank 1 was ended by signal 9 (SIGKILL), and so did the job; its log: " in err
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_a_failing_rank_shows_its_last_lines(start_loop, tmp_path):
    job = start_loop("1")
    _, err = job.communicate(timeout=120)
    assert job.returncode == 1
    assert "  | ms_omni.errors.OmniError: this rank cannot go on\n" in err
    assert "ms-omni: rank 1 ended with exit code 1, and so did the job" in err
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.long),
    ],
)
def test_the_launchers_end_is_everybodys(start_loop, tmp_path, number, code):
    job = start_loop()
    job.send_signal(number)
    job.communicate(timeout=120)
    assert job.returncode == code
    deadline = time.monotonic() + 60
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("cards", [2, 4, 8])
def test_scripts_for_one_machine(tmp_path, cards):
    words = ["bash", str(ROOT / f"launch/cards_{cards}.sh"), "--json"]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=600, cwd=tmp_path, env=environment(COMMAND="doctor")
    )
    assert done.returncode in (0, 1) and "checks" in json.loads(done.stdout), done.stderr
    assert len(list(tmp_path.glob("msrun_log/*/worker_*.log"))) == cards


def test_script_for_several_machines(tmp_path):
    """As a job of one machine; two machines need two network namespaces, below."""
    extra = {"NODES": "1", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "CARDS": "2"}
    done = subprocess.run(
        ["bash", str(ROOT / "launch/machines.sh"), "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        env=environment(COMMAND="doctor", **extra),
    )
    assert done.returncode in (0, 1) and "checks" in json.loads(done.stdout), done.stderr
    assert len(list(tmp_path.glob("msrun_log/*/worker_*.log"))) == 2


@pytest.mark.parametrize("missing", ["NODES", "NODE_RANK", "MASTER_ADDR"])
def test_script_for_several_machines_names_what_is_missing(tmp_path, missing):
    extra = {"NODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", missing: ""}
    done = subprocess.run(
        ["bash", str(ROOT / "launch/machines.sh")], capture_output=True, text=True, env=environment(**extra)
    )
    assert done.returncode != 0 and missing in done.stderr


def two_machines(tmp_path, program, fail=""):
    """launch/machines.sh on two machines with one rank each -> what machine 0 and machine 1 printed, and exit codes."""
    if subprocess.run(["unshare", "-n", "ip", "link"], capture_output=True).returncode:
        pytest.skip("needs the right to make network namespaces")
    words = ["unshare", "-n", "bash", str(HERE / "two_machines.sh"), str(tmp_path), fail]
    extra = {"COMMAND": str(program), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, cwd=tmp_path, env=environment(**extra))
    assert done.returncode == 0, done.stderr
    return [(tmp_path / f"machine_{i}").read_text() for i in range(2)], done.stdout.split()


@pytest.mark.slow
def test_two_machines(tmp_path):
    (first, second), codes = two_machines(tmp_path, HERE / "rank_battery.py")
    assert codes == ["0", "0"]
    starting = "ms-omni: starting 1 rank; logs: msrun_log/8118\n"
    assert first == f"{starting}battery done\n"
    assert second == f"{starting}ms-omni: ranks 1 to 1 run here; the result appears on machine 0\n"
    for rank in range(2):
        report = json.loads((tmp_path / f"rank_{rank}.json").read_text())
        assert report["world"] == [rank, 2, 2, None]
        assert report["results"]["all_reduce float32 graph"] == expected("all_reduce", "float32", range(2))


@pytest.mark.long
def test_a_rank_lost_on_another_machine_ends_the_job(tmp_path):
    start = time.monotonic()
    (first, second), codes = two_machines(tmp_path, HERE / "rank_loop.py", fail="1")
    assert codes == ["1", "1"] and time.monotonic() - start < 120
    assert "ms-omni: rank 1 on another machine was lost" in first
    assert "ms-omni: rank 1 was ended by signal 9 (SIGKILL)" in second
    assert processes_of(tmp_path) == []
