"""`profile` as Python has it."""

import subprocess
import sys

import pytest

from ms_omni.errors import OmniError
from ms_omni.profiling import EngineSide, Profile, profile

WORKLOAD = """
text: Hello?
thinker_max_new_tokens: 5
talker_max_new_tokens: 3
"""


@pytest.fixture
def workload(tmp_path):
    (tmp_path / "short.yaml").write_text(WORKLOAD)
    return str(tmp_path / "short.yaml")


def test_two_engines_in_turns(fused, workload):
    told = []
    result = profile(
        {"first": fused, "second": fused},
        [workload],
        speech=False,
        repeats=2,
        progress=lambda *event: told.append(event),
    )
    assert told == [(f"short: {side}", done, 3) for done in (1, 2, 3) for side in ("first", "second")]
    assert result == Profile.model_validate_json(result.model_dump_json())
    [case] = result.cases
    assert [(run.side, run.engine, len(run.repeats)) for run in case.runs] == [
        ("first", "fused", 2),
        ("second", "fused", 2),
    ]
    assert case.runs[0].answer_digest == case.runs[1].answer_digest
    assert (case.workload.prompt_tokens, case.workload.thinker_max_new_tokens) == (case.workload.text_tokens, 5)
    assert {ratio.side for ratio in case.ratios} == {"second"}
    assert result.complete and result.caveats == ["CPU", "random weights"]
    assert result.sampling["thinker_temperature"] == 0 and result.sampling["ignore_eos"]


def test_several_conversations_at_once(fused, workload):
    result = profile(fused, [workload], batches=(1, 2), repeats=1)
    one, two = result.cases
    assert (one.workload.name, two.workload.name) == ("short, batch 1", "short, batch 2")
    assert (one.workload.batch_size, two.workload.batch_size) == (1, 2)
    assert one.workload.digest != two.workload.digest
    assert one.workload.prompt_tokens == two.workload.prompt_tokens
    [alone], [both] = one.runs, two.runs
    assert "ttft_worst_s" not in alone.figures and "ttft_worst_s" in both.figures
    assert both.figures["audio_s"].median == 2 * alone.figures["audio_s"].median
    assert result == Profile.model_validate_json(result.model_dump_json())


def test_more_conversations_than_are_answered_at_a_time_are_told(fused, workload, monkeypatch):
    monkeypatch.setattr(type(fused), "max_num_seqs", 1)
    result = profile(fused, [workload], batches=(2,), repeats=1, warm_up=0, speech=False)
    assert "2 conversations asked at once; answers one conversation at a time, the others wait" in (
        result.cases[0].runs[0].notes
    )


def test_an_interrupt_gives_what_is_finished(fused, workload, monkeypatch):
    answers, plain = [], EngineSide.answer

    def answer(self, task):
        answers.append(task)
        if len(answers) == 3:
            raise KeyboardInterrupt
        return plain(self, task)

    monkeypatch.setattr(EngineSide, "answer", answer)
    result = profile(fused, [workload], speech=False)
    assert not result.complete and "interrupted" in result.caveats
    assert [len(run.repeats) for case in result.cases for run in case.runs] == [1]
    answers[:] = [None, None]
    with pytest.raises(KeyboardInterrupt):
        profile(fused, [workload], speech=False)


def test_a_case_that_does_not_fit_is_named(fused, tmp_path):
    (tmp_path / "long.yaml").write_text("text: Hello?\nthinker_max_new_tokens: [2, 99999]\nspeech: false\n")
    result = profile(fused, [str(tmp_path / "long.yaml")], repeats=1, warm_up=0)
    assert [case.workload.thinker_max_new_tokens for case in result.cases] == [2]
    [skipped] = result.skipped
    assert "99999" in skipped.workload and skipped.side is None and "max-new-tokens" in skipped.reason


def test_nothing_that_fits(fused, tmp_path):
    (tmp_path / "long.yaml").write_text("text: Hello?\nthinker_max_new_tokens: 99999\n")
    with pytest.raises(OmniError, match="--thinker-max-new-tokens 99999"):
        profile(fused, [str(tmp_path / "long.yaml")])


def test_an_unknown_workload(fused):
    with pytest.raises(OmniError, match="--workload txt: unknown workload, did you mean text"):
        profile(fused, ["txt"])


def test_the_package_waits_with_its_imports():
    script = "import ms_omni.profiling, sys; print([m for m in ('mindspore', 'pydantic', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"
