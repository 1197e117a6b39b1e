"""`ms-omni accept` as far as a machine without a card has it: refusals, the file, the table, the verdict."""

import getpass
import io
import json
import socket

import pytest

from ms_omni.acceptance.document import Acceptance, RankResult, rank_result
from ms_omni.acceptance.findings import DIFFERS, ERROR, LONGEST_MESSAGE, OK, SKIPPED, Check, message_of, worst
from ms_omni.acceptance.privacy import redact, variables
from ms_omni.acceptance.steps import NAMES
from ms_omni.cli.accept import _deliver, _header, _write
from ms_omni.cli.accept.view import print_results

HEADER = {"made_at": "2026-01-02T03:04:05+00:00", "versions": {"mindspore": "2.7.1"}}
CARD = Check("machine", "the card", OK, 0.5, figures={"soc": "Ascend910B4"})
RIGHT = Check("operators", "rotary, Thinker", OK, 1.0, 0.9, 4, "roundings of bfloat16")
WRONG = Check("operators", "experts, Thinker", DIFFERS, 1.0, float("inf"), 16, "roundings of bfloat16")
FAILED = Check("layer", "a prompt", ERROR, 0.1, message="RuntimeError: EZ9999: AI core error")
NOT_HERE = Check("collectives", "between cards", SKIPPED, 0.0, message="one card")


def acceptance(*checks, **changes):
    ranks = (RankResult(0, (CARD, *checks), complete=True, soc="Ascend910B4"),)
    return Acceptance(**{"header": HEADER, "ranks": ranks, "names": NAMES, **changes})


def printed(accepted):
    out = io.StringIO()
    print_results(accepted, out)
    return out.getvalue()


def test_without_a_card(user_error, tmp_path):
    line = user_error("accept", "--out", tmp_path)
    assert "no Ascend card" in line and "launch/emulated.sh ms-omni accept" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ranks_without_cards_say_so_too(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    result = cli("launch", "--cards", "2", "--", "accept", "--quick")
    assert result.code == 2 and "no Ascend card" in result.err
    assert not list(tmp_path.glob("accept-*"))


def test_wrong_flags(user_error, tmp_path):
    assert "did you mean operators?" in user_error("accept", "--only", "operator")
    assert "unknown flag --fast" in user_error("accept", "--fast")
    (tmp_path / "file").write_text("")
    assert "--out" in user_error("accept", "--out", tmp_path / "file")
    assert "did you mean layer?" in user_error("launch", "--cards", "2", "--", "accept", "--only", "layers")


def test_all_right():
    accepted = acceptance(RIGHT, NOT_HERE)
    assert accepted.accepted and accepted.verdict() == "accepted: Ascend910B4: 2 checks ok, 1 skipped"
    shown = printed(accepted)
    assert "collectives: between cards: skipped: one card" in shown
    assert shown.rstrip().endswith(accepted.verdict())


def test_what_is_wrong_is_named():
    found = acceptance(RIGHT, WRONG, FAILED)
    assert not found.accepted
    assert found.verdict() == "not accepted: Ascend910B4: 2 of 4 checks failed, in: operators, layer"
    shown = printed(found)
    assert "operators: experts, Thinker: differs by inf roundings of bfloat16 (allowed 16)" in shown
    assert "layer: a prompt: error: RuntimeError: EZ9999: AI core error" in shown
    assert "rotary" not in shown


def test_checks_that_say_the_same_are_named_once():
    others = [Check("layer", f"prompt {i}", ERROR, 0.1, message=FAILED.message) for i in range(5)]
    assert printed(acceptance(FAILED, *others)).count("EZ9999") == 1


def test_several_ranks():
    ranks = (
        RankResult(0, (CARD, RIGHT), complete=True, soc="Ascend910B4"),
        RankResult(1, (CARD, WRONG), "layer: a prompt"),
    )
    found = acceptance(ranks=ranks)
    assert not found.accepted and "2 ranks" in found.verdict()
    assert "experts, Thinker (rank 1)" in printed(found)
    assert "rank 1 did not end: it was in layer: a prompt" in printed(found)


def test_what_is_interrupted_is_not_accepted():
    assert not acceptance(RIGHT, interrupted=True).accepted
    assert acceptance(RIGHT, interrupted=True).verdict().startswith("not complete")
    assert not acceptance(ranks=(RankResult(0, (CARD, RIGHT)),)).accepted


def test_a_journal_that_ends_in_a_check():
    events = [
        {"event": "card", "soc": "Ascend910B1"},
        {"event": "check", **CARD.to_json()},
        {"event": "begin", "step": "layer", "name": "a prompt"},
    ]
    result = rank_result(3, events)
    assert (result.rank, result.running, result.complete) == (3, "layer: a prompt", False)
    assert (result.soc, result.checks) == ("Ascend910B1", (CARD,))
    assert rank_result(0, [{"event": "end"}]).complete


def test_the_file(tmp_path, capsys):
    results = io.StringIO()
    assert _deliver(acceptance(RIGHT, WRONG), tmp_path, results) == 1
    path = tmp_path / "accept-Ascend910B4-20260102T030405Z.json"
    assert str(path) in capsys.readouterr().err
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document["schema_version"] == 1 and document["accepted"] is False
    steps = document["ranks"][0]["steps"]
    assert [step["step"] for step in steps] == list(NAMES)
    operators = steps[1]
    assert operators["verdict"] == DIFFERS and operators["checks"][1]["difference"] == "infinite"
    assert steps[0]["checks"][0]["figures"] == {"soc": "Ascend910B4"}
    assert _deliver(acceptance(RIGHT), tmp_path, results) == 0


def test_a_card_without_a_name_has_a_file(tmp_path):
    path = _write(Acceptance(HEADER, (RankResult(0, (FAILED,)),), NAMES), tmp_path)
    assert path.name == "accept-unknown-20260102T030405Z.json"


def test_the_worst_of_several():
    assert worst([OK, SKIPPED]) == OK
    assert worst([OK, DIFFERS, ERROR]) == ERROR
    assert worst([OK, DIFFERS]) == DIFFERS
    assert worst([]) == SKIPPED


@pytest.mark.parametrize(
    "text, shown",
    [
        ("/home/alice/models/a.py:12: wrong", "a.py:12: wrong"),
        ('File "/home/somebody/.cache/x/y.cc", line 3', 'File "y.cc", line 3'),
        ("~/secret/place and 3/4 of it", "place and 3/4 of it"),
        ("aclnn/opdev/op.cc:7 and and/or", "aclnn/opdev/op.cc:7 and and/or"),
    ],
)
def test_directories_are_left_out(text, shown):
    assert redact(text) == shown


def test_names_of_user_and_host_are_left_out(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    monkeypatch.setattr(socket, "gethostname", lambda: "bigbox.example.org")
    said = redact("alice@bigbox.example.org on bigbox: malice is another word")
    assert said == "…@… on …: malice is another word"


def test_only_listed_variables_are_told():
    environ = {
        "HCCL_BUFFSIZE": "200", "MS_ALLOC_CONF": "enable_vmm:False", "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "HOME": "/home/x", "ASCEND_HOME_PATH": "/home/x/cann", "EMULATED_SOC": "/home/x/Ascend910B2",
    }  # fmt: skip
    told = variables(environ)
    assert told == {"HCCL_BUFFSIZE": "200", "MS_ALLOC_CONF": "enable_vmm:False", "EMULATED_SOC": "Ascend910B2"}


def test_the_header_names_no_place(tmp_path, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "alice")
    text = json.dumps(_header())
    assert "alice" not in text and "/" not in text.replace("+00:00", "")


def test_long_messages_are_cut():
    said = message_of(RuntimeError("x" * 10_000))
    assert len(said) <= LONGEST_MESSAGE + 2 and said.startswith("RuntimeError: x")
    assert message_of(ValueError()) == "ValueError"


def test_an_emulated_card_is_called_one(monkeypatch):
    monkeypatch.setenv("EMULATED", "1")
    found = acceptance(RIGHT, header=_header())
    assert found.verdict() == "accepted: Ascend910B4: 2 checks ok (emulated operators, no card)"
    assert found.to_json()["emulated"] is True and found.verdict() in printed(found)
    monkeypatch.delenv("EMULATED")
    assert acceptance(RIGHT, header=_header()).verdict() == "accepted: Ascend910B4: 2 checks ok"
