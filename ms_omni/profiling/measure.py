"""Measures the sides of a comparison alternately, A B A B, and keeps every finished repeat."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ms_omni.config import ENGINES
from ms_omni.errors import OmniError
from ms_omni.profiling.document import OTHER, Rank, Ratio, Repeat, Run
from ms_omni.profiling.energy import EnergyMeter
from ms_omni.profiling.figures import as_repeat, per_frame, per_token, ratios, spreads
from ms_omni.profiling.measured import Measured, split_predictor
from ms_omni.profiling.rank_group import RankGroup
from ms_omni.profiling.sides import Side
from ms_omni.profiling.task import Task
from ms_omni.scheduling.request import Progress

SHARED_PROCESS = "peak_host_bytes: of a process that holds the weights of all engines that are compared here"
PEAKS = ("peak_host_bytes", "peak_device_bytes")


@dataclass
class _Record:
    """One side's results so far. share: of the code predictor in a frame. by_rank: each repeat on all ranks."""

    side: Side
    first: Measured | None = None
    share: float | None = None
    by_rank: list[list[Repeat]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    @property
    def repeats(self) -> list[Repeat]:
        """The job's repeats, see `_of_job`."""
        return [_of_job(ranks) for ranks in self.by_rank]


class Measurement:
    """One task, answered by all sides alternately. `run()` may be interrupted at any time; `runs` and `ratios` have the
    finished repeats. Under msrun every rank calls it with the same arguments and gets the same results."""

    def __init__(
        self,
        sides: Sequence[Side],
        task: Task,
        repeats: int = 3,
        warm_up: int = 1,
        *,
        on_repeat: Callable[[], object] = lambda: None,
        progress: Progress | None = None,
        meter: EnergyMeter | None = None,
    ):
        """warm_up: answers of each side before the repeats, the first of which compiles. on_repeat: called after each
        repeat of a side. progress: called with (side, answers done, answers in all). skipped: sides whose engine
        refused the task, and why."""
        self.task, self.skipped = task, dict[str, str]()
        self._records = [_Record(side) for side in sides]
        self._numbers, self._on_repeat, self._progress = (repeats, warm_up), on_repeat, progress
        self._meter = meter
        self.rank_group = next((side.rank_group for side in sides if side.rank_group.size > 1), RankGroup())

    def run(self) -> Measurement:
        """Measures all rounds. A side that raises OmniError is skipped from then on; the others go on."""
        repeats, warm_up = self._numbers
        for number in range(-warm_up, repeats):
            for record in self._records:
                name = record.side.name
                if name in self.skipped:
                    continue
                try:
                    self._answer(record, number)
                except OmniError as error:
                    self.skipped[name] = str(error)
                    continue
                if self._progress:
                    self._progress(name, number + warm_up + 1, repeats + warm_up)
        return self

    @property
    def prompt(self) -> dict[str, int]:
        """Tokens of the prompt, by the names of outputs.Usage; empty before the first answer."""
        return next((dict(record.first.prompt) for record in self._records if record.first), {})

    @property
    def runs(self) -> list[Run]:
        """The run of every side with a finished repeat."""
        in_here = sum(record.side.about.engine in ENGINES for record in self._records)
        shared = (SHARED_PROCESS,) if in_here > 1 else ()
        return [
            _run(record, shared if record.side.about.engine in ENGINES else ())
            for record in self._records
            if record.by_rank
        ]

    @property
    def ratios(self) -> list[Ratio]:
        """Every side against each one before it."""
        return [
            ratio
            for place, mine in enumerate(self._records)
            for base in self._records[:place]
            for ratio in ratios(mine.side.name, mine.repeats, base.side.name, base.repeats)
        ]

    def _answer(self, record: _Record, number: int) -> None:
        """number: of the round; negative for a warm-up."""
        measured = self._measure(record.side)
        if record.first is None:
            record.first = measured
            record.share = record.side.predictor_share(self.task, measured) if self.task.speech else None
        if number < 0:
            return
        if record.share is not None:
            measured = split_predictor(measured, record.share)
        texts = self.rank_group.exchange(as_repeat(measured, number).model_dump_json())
        record.by_rank.append([Repeat.model_validate_json(text) for text in texts])
        record.digests.append(measured.digest)
        self._on_repeat()

    def _measure(self, side: Side) -> Measured:
        if self._meter is not None:
            self._meter.start()
        try:
            self.rank_group.wait()
            measured = side.answer(self.task)
        finally:
            energy_j = None if self._meter is None else self._meter.stop()
        return replace(measured, energy_j=energy_j)


def _of_job(ranks: Sequence[Repeat]) -> Repeat:
    """The slowest rank's repeat, with the largest peaks of all ranks and the energy of rank 0, which measures it."""
    slowest = max(ranks, key=lambda repeat: repeat.wall_s)
    figures = {name: value for name, value in slowest.figures.items() if name not in (*PEAKS, "energy_j")}
    for name in PEAKS:
        known = [repeat.figures[name] for repeat in ranks if name in repeat.figures]
        figures |= {name: max(known)} if known else {}
    if "energy_j" in ranks[0].figures:
        figures["energy_j"] = ranks[0].figures["energy_j"]
    return slowest.model_copy(update={"figures": figures})


def _run(record: _Record, shared: tuple[str, ...]) -> Run:
    about, first, repeats = record.side.about, record.first, record.repeats
    assert first is not None
    return Run(
        side=record.side.name,
        engine=about.engine,
        parallel=about.parallel,
        cards=about.cards,
        group_size=about.group_size,
        attn_implementation=about.attn_implementation,
        dtype=about.dtype,
        quantize=about.quantize,
        load_s=about.load_s,
        first_s=first.wall_s,
        compile_s=first.seconds("compile"),
        repeats=repeats,
        figures=spreads([repeat.figures for repeat in repeats]),
        stages_s=spreads([repeat.stages_s | {OTHER: repeat.other_s} for repeat in repeats]),
        ranks=_ranks(record.by_rank),
        per_token=_medians([per_token(repeat) for repeat in repeats]),
        per_frame=_medians([per_frame(repeat) for repeat in repeats]),
        answer_digest=record.digests[0],
        notes=[*about.notes, *shared, *_notes(record)],
    )


def _ranks(by_rank: Sequence[Sequence[Repeat]]) -> list[Rank]:
    """Of every process of a job; empty for a single process."""
    if len(by_rank[0]) == 1:
        return []
    last = [max(repeat.wall_s for repeat in ranks) for ranks in by_rank]
    return [
        Rank(
            rank=rank,
            wall_s=statistics.median(ranks[rank].wall_s for ranks in by_rank),
            skew_s=statistics.median(end - ranks[rank].wall_s for end, ranks in zip(last, by_rank, strict=True)),
            **{name: _largest([ranks[rank].figures.get(name) for ranks in by_rank]) for name in PEAKS},
        )
        for rank in range(len(by_rank[0]))
    ]


def _notes(record: _Record) -> list[str]:
    notes = []
    if record.share is not None:
        share = f"{100 * record.share:.0f} %"
        notes.append(f"code predictor: {share} of a frame, probed: both parts of the graph timed alone")
    first, repeats = record.first, record.repeats
    if first is not None and first.answers > first.at_a_time:
        few = "answers one conversation at a time" if first.at_a_time == 1 else f"answers {first.at_a_time} at a time"
        notes.append(f"{first.answers} conversations asked at once; {few}, the others wait")
    if first is not None and first.answers > 1 and any(repeat.stages_s.get("compile") for repeat in repeats):
        notes.append("a graph was compiled within a repeat, whose whole time that lengthens; more --warm-up helps")
    if len(set(record.digests)) > 1:
        notes.append("the repeats did not all give the same answer")
    return notes


def _medians(tables: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: spread.median for name, spread in spreads(tables).items()}


def _largest(values: Sequence[float | None]) -> int | None:
    known = [value for value in values if value is not None]
    return int(max(known)) if known else None
