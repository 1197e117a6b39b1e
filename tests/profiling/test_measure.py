"""Sides measured in turns, with sides that only say what they took."""

import pytest

from ms_omni import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.profiling.measure import SHARED_PROCESS, Measurement
from ms_omni.profiling.measured import Measured
from ms_omni.profiling.sides import About
from ms_omni.profiling.task import Task

TASK = Task("hello", [], SamplingParams(), speech=True)


class Alone:
    """A rank_group of one."""

    rank, size = 0, 1

    def wait(self):
        pass

    def exchange(self, text):
        return [text]


class RankGroup(Alone):
    """Rank 0 of three; the others took so many seconds more, and have peaks of their own."""

    size = 3

    def __init__(self, more_s, log):
        self.more_s, self.log = more_s, log

    def wait(self):
        self.log.append("together")

    def exchange(self, text):
        from ms_omni.profiling.document import Repeat

        mine = Repeat.model_validate_json(text)
        texts = []
        for rank, more in enumerate(self.more_s):
            figures = mine.figures | {"wall_s": mine.wall_s + more, "peak_host_bytes": 1000.0 + rank}
            figures |= {"energy_j": 5.0 + rank}
            changed = {"wall_s": mine.wall_s + more, "other_s": mine.other_s + more, "figures": figures}
            texts.append(mine.model_copy(update=changed).model_dump_json())
        return texts


class Side:
    """Takes the seconds that it is told, one answer after the other; an exception is raised instead."""

    def __init__(self, name, log, seconds, rank_group=None, share=None, digests="a"):
        self.name, self.rank_group = name, rank_group or Alone()
        self.about = About(
            name, "none", self.rank_group.size, self.rank_group.size, "eager", "float32", 9.0, ("a note",)
        )
        self._log, self._seconds, self._share = log, list(seconds), share
        self._digests = list(digests) * len(self._seconds)

    def answer(self, task):
        assert task is TASK
        self._log.append(self.name)
        taken = self._seconds.pop(0)
        if isinstance(taken, BaseException):
            raise taken
        return Measured(
            wall_s=taken,
            stages_s={"talker_decode": taken / 2, "compile": taken / 4},
            marks={"thinker_tokens": [(taken / 10, 1), (taken / 5, 4)], "talker_frames": [(taken, 2)]},
            prompt={"prompt_tokens": 12},
            counts={"thinker_decode": {"host_syncs": 2}},
            digest=self._digests.pop(0),
        )

    def predictor_share(self, task, measured):
        self._log.append(f"{self.name} probes")
        return self._share


def test_sides_take_turns_after_warming_up():
    log, done, kept = [], [], []
    sides = [Side("mindone", log, [8, 4, 6, 2]), Side("fused", log, [5, 1, 2, 1], share=0.25)]
    measurement = Measurement(
        sides, TASK, 2, 2,
        progress=lambda *event: done.append(event), on_repeat=lambda: kept.append(len(measurement.runs[-1].repeats)),
    )  # fmt: skip
    measurement.run()
    assert log == ["mindone", "mindone probes", "fused", "fused probes"] + ["mindone", "fused"] * 3
    assert done == [(side, number, 4) for number in (1, 2, 3, 4) for side in ("mindone", "fused")]
    assert kept == [1, 1, 1, 2]
    baseline, fused = measurement.runs
    assert (baseline.load_s, baseline.first_s, baseline.compile_s) == (9, 8, 2)
    assert [repeat.wall_s for repeat in baseline.repeats] == [6, 2]
    assert [repeat.round for repeat in baseline.repeats] == [0, 1]
    assert (baseline.figures["wall_s"].median, baseline.figures["wall_s"].noise) == (4, 1.0)
    assert baseline.stages_s["other"].median == 4 / 4
    assert baseline.per_token["host_syncs"] == 0.5
    assert baseline.ranks == []
    assert fused.stages_s["code_predictor"].max == 2 / 2 * 0.25
    assert "code predictor: 25 % of a frame" in fused.notes[-1]
    assert baseline.notes == ["a note", SHARED_PROCESS]
    [ratio] = [ratio for ratio in measurement.ratios if ratio.figure == "wall_s"]
    assert (ratio.side, ratio.baseline, ratio.ratio.min, ratio.ratio.max) == ("fused", "mindone", 2, 3)
    assert measurement.prompt == {"prompt_tokens": 12}


def test_what_an_interrupt_leaves():
    log = []
    sides = [Side("mindone", log, [8, 4, 6]), Side("fused", log, [5, 1, KeyboardInterrupt()])]
    measurement = Measurement(sides, TASK, 3, 1)
    with pytest.raises(KeyboardInterrupt):
        measurement.run()
    assert [len(run.repeats) for run in measurement.runs] == [2, 1]
    assert {ratio.ratio.count for ratio in measurement.ratios} == {1}
    never = Measurement([Side("fused", log, [KeyboardInterrupt()])], TASK)
    with pytest.raises(KeyboardInterrupt):
        never.run()
    assert (never.runs, never.ratios, never.prompt) == ([], [], {})


def test_a_side_that_refuses_leaves_the_others_to_go_on():
    sides = [Side("mindone", [], [OmniError("does not fit")]), Side("fused", [], [5, 1, 1])]
    measurement = Measurement(sides, TASK, 2, 1).run()
    assert measurement.skipped == {"mindone": "does not fit"}
    assert [run.side for run in measurement.runs] == ["fused"]
    assert SHARED_PROCESS in measurement.runs[0].notes  # the other one's weights are still there


def test_what_a_side_finished_before_it_failed_stays():
    log = []
    sides = [Side("mindone", log, [8, 4, OmniError("no more")]), Side("fused", log, [5, 1, 1, 1])]
    measurement = Measurement(sides, TASK, 3, 1).run()
    assert measurement.skipped == {"mindone": "no more"}
    assert [len(run.repeats) for run in measurement.runs] == [1, 3]
    assert {ratio.ratio.count for ratio in measurement.ratios} == {1}


def test_one_engine_alone_shares_its_process_with_nobody():
    [run] = Measurement([Side("fused", [], [5, 1])], TASK, 1, 1).run().runs
    assert run.notes == ["a note"]


def test_without_warming_up_the_first_repeat_compiles():
    [run] = Measurement([Side("fused", [], [8, 4])], TASK, 2, 0).run().runs
    assert (run.first_s, run.compile_s, len(run.repeats)) == (8, 2, 2)


def test_of_a_job_the_slowest_rank_counts_and_nothing_is_summed():
    log = []
    [run] = (
        Measurement([Side("fused", log, [9, 4, 8, 5], rank_group=RankGroup([0, 0.5, 2], log))], TASK, 3, 1).run().runs
    )
    assert log == ["together", "fused", "fused probes"] + ["together", "fused"] * 3
    assert [repeat.wall_s for repeat in run.repeats] == [6, 10, 7]
    assert run.figures["wall_s"].median == 7
    assert all(sum(r.stages_s.values()) + r.other_s == pytest.approx(r.wall_s) for r in run.repeats)
    assert [(rank.rank, rank.wall_s, rank.skew_s, rank.peak_host_bytes) for rank in run.ranks] == [
        (0, 5, 2, 1000),
        (1, 5.5, 1.5, 1001),
        (2, 7, 0, 1002),
    ]
    assert run.figures["peak_host_bytes"].max == 1002
    assert run.figures["energy_j"].max == 5
    assert run.per_token["host_syncs"] == 0.5


def test_answers_that_differ_are_told():
    [run] = Measurement([Side("fused", [], [9, 4, 8], digests="abc")], TASK, 2, 1).run().runs
    assert run.answer_digest == "b"
    assert run.notes[-1] == "the repeats did not all give the same answer"


def test_energy_is_metered_around_every_answer():
    log = []

    class Meter:
        def start(self):
            log.append("start")

        def stop(self):
            log.append("stop")
            return 3.5

    [run] = Measurement([Side("fused", log, [9, 4])], TASK, 1, 1, meter=Meter()).run().runs
    assert log == ["start", "fused", "stop", "fused probes", "start", "fused", "stop"]
    assert run.figures["energy_j"].median == 3.5
