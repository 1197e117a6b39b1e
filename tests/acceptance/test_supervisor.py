"""What is written down when a process of the steps crashes, hangs, or loses its device; and that a new one goes on."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ms_omni.acceptance import supervisor
from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.findings import ERROR, OK, SKIPPED, Finding, Skipped
from ms_omni.acceptance.journal import Journal, checks_of, read_journal, unfinished
from ms_omni.acceptance.supervisor import Supervisor

# Stands for ms_omni.acceptance.work: JOURNAL, quick or full, STEPS; what it does at a check is the check's name.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from ms_omni.acceptance.findings import Check
from ms_omni.acceptance.journal import Journal, checks_of, read_journal

journal = Journal(Path(sys.argv[1]))
done = {(check.step, check.name) for check in checks_of(read_journal(journal.path))}
for step in sys.argv[3].split(","):
    for name in CHECKS.get(step, ()):
        if name == "fails between checks":
            sys.exit("CANN said: no more memory")
        if (step, name) in done:
            continue
        journal.begin(step, name)
        if name == "crashes":
            print("last words in /home/somebody/secret/place.cc", flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if name == "hangs":
            time.sleep(600)
        journal.check(Check(step, name, "ok", 0.1))
        if name == "loses the device":
            sys.exit(77)
    journal.note("step", step=step)
journal.note("end")
"""


@pytest.fixture
def supervised(tmp_path):
    """supervised(checks of each step) -> exit code and {(step, check): Check}"""

    def run(checks, **settings):
        program = tmp_path / "program.py"
        program.write_text(f"CHECKS = {checks!r}\n{PROGRAM}")
        journal, heard = Journal(tmp_path / "journal.jsonl"), []
        names = tuple(checks)
        options = {"log": tmp_path / "log", "program": (sys.executable, str(program)), **settings}
        code = Supervisor(journal, names, True, heard.append, **options).run()
        found = checks_of(read_journal(journal.path))
        assert heard[-1] and len({(check.step, check.name) for check in found}) == len(found)
        return code, {(check.step, check.name): check for check in found}

    return run


def test_all_is_well(supervised):
    code, found = supervised({"machine": ("a", "b"), "layer": ("c",)})
    assert code == 0 and [check.verdict for check in found.values()] == [OK] * 3


def test_a_crash_is_named_and_the_rest_is_done(supervised):
    code, found = supervised({"machine": ("a", "crashes", "b"), "layer": ("c",)})
    assert code == 0
    crash = found.pop(("machine", "crashes"))
    assert crash.verdict == ERROR and "SIGSEGV" in crash.message
    assert "last words in place.cc" in crash.message and "somebody" not in crash.message
    assert set(found) == {("machine", "a"), ("machine", "b"), ("layer", "c")}
    assert {check.verdict for check in found.values()} == {OK}


def test_a_check_that_hangs_is_ended(supervised, tmp_path, monkeypatch):
    """By a clock that goes on while the check hangs, and stands still while processes start."""
    now = [0.0]

    def monotonic():
        now[0] += 60.0 * (unfinished(read_journal(tmp_path / "journal.jsonl")) == ("machine", "hangs"))
        return now[0]

    monkeypatch.setattr(supervisor, "time", SimpleNamespace(sleep=time.sleep, monotonic=monotonic))
    code, found = supervised({"machine": ("hangs", "b")}, longest_check_s=200.0)
    assert code == 0 and "no answer within 200 s" in found["machine", "hangs"].message
    assert found["machine", "b"].verdict == OK


def test_a_lost_device_is_had_again_by_a_new_process(supervised):
    code, found = supervised({"machine": ("loses the device", "b"), "layer": ("c",)})
    assert code == 0 and [check.verdict for check in found.values()] == [OK] * 3


def test_a_failure_between_checks_ends_the_step_alone(supervised):
    code, found = supervised({"machine": ("a", "fails between checks", "b"), "layer": ("c",)})
    assert code == 0 and "no more memory" in found["machine", "preparation"].message
    assert ("machine", "b") not in found and found["layer", "c"].verdict == OK


def test_the_last_step_may_fail_too(supervised):
    code, found = supervised({"machine": ("a",), "layer": ("fails between checks",)})
    assert code == 0 and found["layer", "preparation"].verdict == ERROR


@pytest.fixture
def bench(cpu, tmp_path):
    return Bench(Journal(tmp_path / "journal.jsonl"), "CPU", step="machine")


def found_by(bench):
    return checks_of(read_journal(bench.journal.path))


def test_a_check_goes_on_after_what_fails(bench):
    def fails():
        raise RuntimeError(
            "Call aclnnThing failed\n----------\n- C++ Call Stack: (For framework developers)\nsecret.cc:1"
        )

    def skips():
        raise Skipped("one card")

    bench.check("fails", fails)
    bench.check("skips", skips)
    bench.check("differs", lambda: Finding(3.0, 2.0, "roundings"))
    bench.check("right", lambda: Finding(1.0, 2.0, "roundings", figures={"seconds": 1}))
    failed, skipped, differs, right = found_by(bench)
    assert (failed.verdict, failed.message) == (ERROR, "RuntimeError: Call aclnnThing failed")
    assert (skipped.verdict, skipped.message) == (SKIPPED, "one card")
    assert differs.summary() == "differs by 3 roundings (allowed 2)"
    assert (right.verdict, right.figures) == (OK, {"seconds": 1})


def test_what_was_done_before_is_not_done_again(bench):
    bench.done = frozenset({("machine", "one")})
    bench.check("one", lambda: pytest.fail("was done"))
    assert found_by(bench) == []


def test_without_an_answer_of_the_device_the_rest_is_skipped(bench, monkeypatch):
    monkeypatch.setattr(Bench, "_is_alive", lambda self: False)
    bench.check("fails", lambda: 1 / 0)
    bench.check("next", lambda: pytest.fail("the device is lost"))
    assert [check.verdict for check in found_by(bench)] == [ERROR, SKIPPED]
    assert "machine, fails" in found_by(bench)[1].message


def test_a_line_that_is_not_whole_yet_is_not_read(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.begin("machine", "one")
    with open(journal.path, "a") as file:
        file.write('{"event": "check", "step": "mach')
    events = read_journal(journal.path)
    assert len(events) == 1 and unfinished(events) == ("machine", "one")
    assert read_journal(Path(tmp_path / "nothing")) == []
