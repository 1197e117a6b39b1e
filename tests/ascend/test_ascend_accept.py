"""`ms-omni accept` over emulated operators: all is right; planted faults are found and named, and the run goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LIMIT_S = 900


@pytest.fixture(scope="module", autouse=True)
def emulator(ascend):
    """Skips where there is none."""


@pytest.fixture
def accept(tmp_path):
    """accept(*flags, planted=names, launch=words) -> the process, and {(step, check): its entry of the file} of rank 0
    unless another `rank` is given."""

    def run(*flags, planted="", launch=(), rank=0, **variables):
        words = [*launch, "accept"] if not launch or launch[-1] == "--" else list(launch)
        command = [sys.executable, "-m", "ms_omni", *words, "--quick", "--out", str(tmp_path), *flags]
        paths = [str(HERE / "planted"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PLANTED": planted, **variables}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        files = list(tmp_path.glob("accept-*.json"))
        assert len(files) == 1, done.stderr
        document = json.loads(files[0].read_text())
        assert document["soc"].startswith("Ascend") and str(tmp_path) not in files[0].read_text()
        steps = document["ranks"][rank]["steps"]
        return done, {(step["step"], check["name"]): check for step in steps for check in step["checks"]}

    return run


def failed(checks):
    return {name for _, name in checks if checks[_, name]["verdict"] in ("differs", "error")}


def test_a_quick_run_is_accepted(accept):
    done, checks = accept()
    assert failed(checks) == set(), done.stdout
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("accepted: Ascend910B2: ")
    assert checks["collectives", "between cards"]["verdict"] == "skipped"
    assert "graph_launch_us" in checks["speed", "a launch"]["figures"]
    assert {step for step, _ in checks} == {
        "machine", "operators", "int8", "layer", "chunks", "sampling", "memory", "collectives", "encoders", "answers",
        "speed",
    }  # fmt: skip


def test_wrong_operators_are_named_and_no_others(accept):
    """Two compute something else, one takes a list of another type, one refuses: told in CANN's words."""
    faults = "swapped_halves,wrong_sparse_mode,refuses,wrong_list_type"
    done, checks = accept("--only", "operators", planted=faults)
    assert done.returncode == 1 and "not accepted" in done.stdout and "EZ1001" in done.stdout
    verdicts = {name: check["verdict"] for (_, name), check in checks.items() if name in failed(checks)}
    assert {(name.split(",")[0], verdict) for name, verdict in verdicts.items()} == {
        ("rotary", "differs"), ("prefill_attention", "differs"), ("swiglu", "error"), ("experts", "error"),
    }  # fmt: skip
    assert all(" after 64" in name for name in verdicts if name.startswith("prefill_attention"))
    assert {name for _, name in checks if name.startswith(("rotary,", "experts,", "swiglu"))} <= set(verdicts)
    assert all("EZ1001" in checks["operators", name]["message"] for name in verdicts if name.startswith("swiglu"))


@pytest.mark.slow
def test_experts_of_wrong_groups_are_named(accept):
    done, checks = accept("--only", "operators", planted="wrong_groups")
    assert done.returncode == 1
    assert {(name.split(",")[0], checks["operators", name]["verdict"]) for name in failed(checks)} == {
        ("experts", "differs")
    }


@pytest.mark.slow
def test_wrong_scales_of_8_bit_weights_are_named(accept):
    """Of tokens in one operator, of experts in the other."""
    done, checks = accept("--only", "int8", planted="swapped_scales,scales_of_another_expert")
    assert done.returncode == 1
    several = {name for _, name in checks if name.startswith("dynamic_linear") and not name.endswith(" 1 token")}
    grouped = {name for _, name in checks if name.split(",")[0] in ("int8_experts", "dynamic_experts")}
    assert several and grouped and failed(checks) == several | grouped
    assert all(checks["int8", name]["verdict"] == "differs" for name in several | grouped)


def test_a_crash_within_cann_leaves_the_rest(accept, tmp_path):
    mark = tmp_path / "mark"
    done, checks = accept("--only", "machine", "--only", "memory", planted="dies_once", PLANTED_MARK=str(mark))
    assert mark.exists() and done.returncode == 1
    crashed = failed(checks)
    assert len(crashed) == 1
    assert "SIGSEGV" in checks["memory", crashed.pop()]["message"]
    assert len([name for step, name in checks if step == "memory"]) == 8


@pytest.mark.slow
@pytest.mark.parametrize("cards", [2])
def test_every_rank_takes_part(accept, cards):
    launch = ("launch", "--cards", str(cards), "--bind-core", "off", "--")
    done, checks = accept(
        "--only", "machine", "--only", "collectives", launch=launch, rank=1, EMULATED_CARDS=str(cards)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"accepted: Ascend910B2, {cards} ranks" in done.stdout
    assert failed(checks) == set() and checks["machine", "the card"]["figures"]["rank"] == 1
    assert any(name.startswith("all ranks: broadcast from rank 1") for _, name in checks)


def test_a_wrong_root_is_named(accept):
    program = str(HERE / "planted_rank.py")
    launch = ("launch", "--cards", "2", "--bind-core", "off", "--", program)
    done, checks = accept("--only", "collectives", launch=launch, EMULATED_CARDS="2")
    assert done.returncode == 1
    wrong = failed(checks)
    assert wrong and all("broadcast from rank" in name for name in wrong)
    assert len(wrong) == len([name for _, name in checks if "broadcast" in name])
