"""`ms-omni launch` up to the start of msrun: what it refuses, and what it would run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from npu_smi_samples import TWO_910B3

from ms_omni.cli import launch
from ms_omni.errors import OmniError
from ms_omni.hardware import cards
from ms_omni.hardware.machine import Machine

ROOT = Path(__file__).parents[2]
IDLE_910B3 = TWO_910B3.replace("53984", " 3200").replace("| 0       0                 | 1712733 ", "| x ")


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--", "doctor"], ["missing: --cards"]),
        (["--cards", "0", "--", "doctor"], ["--cards: 0", "at least 1"]),
        (["--cards", "3", "--group-size", "2", "--", "doctor"], ["--group-size 2", "the 3 processes", "1, 3"]),
        (["--cards", "2"], ["nothing to launch", "-- understand"]),
        (["--cards", "2", "--", "dctor"], ["'dctor'", "did you mean doctor?", "script.py"]),
        (["--cards", "2", "--", "launch"], ["'launch'", "understand"]),
        (["--cards", "2", "--", "nope.py"], ["nope.py: no such script"]),
        (["--cards", "2", "--", "understand", "--quantize", "int4", "--text", "x"], ["--quantize: 'int4'", "int8"]),
        (
            ["--cards", "2", "--", "understand", "--quantize", "int8", "--engine", "mindone", "--text", "x"],
            ["--quantize int8: --engine mindone has no 8-bit weights"],
        ),
        (["--cards", "2", "--", "understand", "--modl", "x"], ["--modl", "did you mean --model?"]),
        (["--cards", "2", "--", "understand", "--model", "/nope", "--text", "x"], ["--model /nope"]),
        (["--cards", "2", "--", "understand", "--model", "x", "--conversation", "-"], ["--conversation -", "stdin"]),
        (["--cards", "2", "--nodes", "2", "--", "doctor"], ["--nodes 2", "--node-rank (0 to 1)", "--master-addr"]),
        (["--cards", "2", "--node-rank", "1", "--", "doctor"], ["--node-rank 1", "--nodes"]),
        (["--cards", "2", "--master-port", "80", "--", "doctor"], ["--master-port 80", "1024 to 65535"]),
        (["--cards", "2", "--log-dir", "/proc/x", "--", "doctor"], ["--log-dir /proc/x"]),
        (["--cards", "2", "--bind-core", "yes", "--", "doctor"], ["--bind-core: 'yes'", "auto, on, off"]),
    ],
)
def test_refused(user_error, argv, parts):
    line = user_error("launch", *argv)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("mode", "cards", "parts"),
    [
        ("ep", 9, ["--parallel ep with --cards 9", "the 8 experts", "at most 8 cards to a group", "--parallel zero3"]),
        ("tp", 3, ["--parallel tp with --cards 3", "use 2, 4 cards"]),
    ],
)
def test_a_model_that_so_many_cards_cannot_share(user_error, tiny_dir, mode, cards, parts):
    words = ["--", "understand", "--model", tiny_dir, "--text", "Hello", "--parallel", mode]
    line = user_error("launch", "--cards", cards, *words)
    assert all(part in line for part in parts), line
    assert "--group-size 4" in user_error("launch", "--cards", cards, "--group-size", 4, *words)


def test_node_rank_out_of_range(user_error):
    words = ["--cards", "2", "--nodes", "2", "--node-rank", "2", "--master-addr", "10.0.0.1", "--", "doctor"]
    assert "--node-rank 2: expected 0 to 1" in user_error("launch", *words)


def test_busy_port(user_error):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        line = user_error("launch", "--cards", "2", "--master-port", port, "--", "doctor")
    assert f"--master-port {port}: in use" in line


def test_8_bit_weights_are_asked_of_every_rank(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("understand", "profile", "serve", "batch"):
        words = (command, "--quantize", "int8")
        result = cli("launch", "--cards", "2", "--master-port", "23456", "--dry-run", "--", *words)
        assert (result.code, result.err) == (0, "")
        assert result.out.endswith(f"rank_program msrun_log/23456 {command} --quantize int8\n")


def test_dry_run_prints_what_would_run(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("launch", "--cards", "2", "--master-port", "23456", "--dry-run", "--", "doctor", "--json")
    assert result.code == 0 and result.err == "" and list(tmp_path.iterdir()) == []
    assert "--worker_num=2" in result.out and "--master_port=23456" in result.out
    assert result.out.endswith("python -m ms_omni.parallel.rank_program msrun_log/23456 doctor --json\n")


def test_dry_run_previews_another_machine(cli, user_error, monkeypatch):
    """Neither its cards nor its model are here; flags are checked all the same."""
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT", raising=False)  # MindSpore sets it when it is imported
    words = ["launch", "--cards", "16", "--master-port", "23456", "--dry-run", "--", "understand"]
    result = cli(*words, "--model", "/data/instruct", "--device", "Ascend", "--text", "Hello")
    assert result.code == 0 and "HCCL_CONNECT_TIMEOUT" in result.out and "/data/instruct" in result.out
    assert "HCCL" not in cli(*words, "--model", "/data/instruct", "--device=CPU", "--text", "Hello").out
    assert "did you mean --model?" in user_error(*words, "--modl", "x")


JOB_IS_SHOWN = """\
import sys
from ms_omni.parallel import job


class Shown:
    def __init__(self, spec, line, environment, out, err):
        print("TRANSFORMERS_VERBOSITY" in environment, "MS_OMNI_PROGRESS_S" in environment)

    def run(self):
        return 0


job.Job = Shown
from ms_omni.cli.main import main

raise SystemExit(main(sys.argv[1:]))
"""


def test_a_check_leaves_the_jobs_environment_alone(tmp_path):
    """In a process of its own: libraries that the check imports are quiet, and their settings are not the job's."""
    words = ["launch", "--cards", "2", "--", "understand", "--parallel", "ep", "--text", "Hello"]
    environment = {name: value for name, value in os.environ.items() if name != "TRANSFORMERS_VERBOSITY"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", JOB_IS_SHOWN, *words],
        capture_output=True, text=True, env=environment, timeout=600, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "False False\n"), done.stderr
    assert done.stderr.startswith("ms-omni: starting 2 ranks; logs: msrun_log/")


def test_the_device_that_a_command_names():
    assert launch._device_of(["doctor", "--device", "CPU"]) == "CPU"
    assert launch._device_of(["understand", "--device=Ascend", "--device", "auto"]) is None
    assert launch._device_of(["understand", "--device", "CPU", "--device=Ascend"]) == "Ascend", "the last one counts"


def machine_with(table, tmp_path, **environ):
    return Machine(root=tmp_path, environ=environ, run=lambda words: table)


def test_free_cards(tmp_path):
    assert cards.check_cards(machine_with(IDLE_910B3, tmp_path), 2) == "Ascend"
    assert cards.check_cards(machine_with(None, tmp_path), 2) == "CPU"


def test_more_cards_than_there_are(tmp_path):
    with pytest.raises(OmniError, match="--cards 4: this machine has 2; allowed: 1 to 2"):
        cards.check_cards(machine_with(IDLE_910B3, tmp_path), 4)
    machine = machine_with(IDLE_910B3, tmp_path, ASCEND_RT_VISIBLE_DEVICES="1")
    with pytest.raises(OmniError, match="--cards 2: ASCEND_RT_VISIBLE_DEVICES names 1; allowed: 1 to 1"):
        cards.check_cards(machine, 2)


def test_cards_in_use(tmp_path):
    with pytest.raises(OmniError, match="--cards 2: in use: card 0 .*ASCEND_RT_VISIBLE_DEVICES"):
        cards.check_cards(machine_with(TWO_910B3, tmp_path), 2)
    chosen = machine_with(TWO_910B3, tmp_path, ASCEND_RT_VISIBLE_DEVICES="1")
    assert cards.check_cards(chosen, 1) == "Ascend"
    process_alone = TWO_910B3.replace("53984", " 3200")
    with pytest.raises(OmniError, match="in use: card 0"):
        cards.check_cards(machine_with(process_alone, tmp_path), 1)
