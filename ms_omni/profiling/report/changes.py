"""What changed between two profiles, and which changes are beyond the noise of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ms_omni.errors import OmniError
from ms_omni.profiling.document import FIGURES, Case, Profile, Run, Spread
from ms_omni.profiling.report.heading import caveats, precision_of, run_label, where

# Smaller changes are never marked: two idle machines differ by as much
LEAST_CHANGE = 0.02

WORSE, BETTER, WITHIN_NOISE, UNKNOWN_NOISE = "worse", "better", "within noise", "noise unknown"
# Counts are the same for the same work: they have no noise, even with one repeat
_COUNTED = ("host_syncs_", "collectives_", "collective_bytes_", "operators_")


@dataclass(frozen=True)
class Change:
    """One figure of one run. change: (after - before) / before; None if before is 0. allowed: the largest change that
    is not marked, as a share; None if a run has one repeat. verdict: WORSE, BETTER, WITHIN_NOISE or UNKNOWN_NOISE."""

    case: str
    run: str
    figure: str
    before: Spread
    after: Spread
    change: float | None
    allowed: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """changes: of every figure that both have and that can be better or worse. differences: what else differs, (name,
    before, after). missing: sentences about what only one profile has."""

    before: Profile
    after: Profile
    changes: tuple[Change, ...]
    differences: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """Changes that are WORSE."""
        return tuple(change for change in self.changes if change.verdict == WORSE)


def compare(a: Profile, b: Profile) -> Comparison:
    """Compares the cases with the same workload digest. Raises OmniError if there is none, or if they have no run in
    common."""
    pairs = _same_cases(a, b)
    changes: list[Change] = []
    missing = [*_only_one(a, b, "the second"), *_only_one(b, a, "the first")]
    matched = 0
    for before, after in pairs:
        runs = _same_runs(before, after)
        matched += len(runs)
        for old, new in runs:
            changes += _changes(before.workload.name, old, new)
        missing += _runs_alone(before, after, runs)
    if not matched:
        raise OmniError(
            f"nothing to compare: the first has {_sides(a)}, the second {_sides(b)}; profile the same sides with "
            "--compare, or one side each"
        )
    return Comparison(a, b, tuple(changes), tuple(_differences(a, b, pairs)), tuple(missing))


def change_of(name: str, before: Spread, after: Spread) -> tuple[float | None, float | None, str]:
    """(change, allowed, verdict) of one figure. docs/profile.md has the rule."""
    more_is_better = bool(FIGURES[name][2])
    counted = name.startswith(_COUNTED)
    known = counted or (before.count > 1 and after.count > 1)
    allowed = max(LEAST_CHANGE, before.noise + after.noise) if known else None
    if not before.median:
        same = after.median == before.median
        is_better = (after.median > before.median) == more_is_better
        return None, allowed, WITHIN_NOISE if same else BETTER if is_better else WORSE
    change = (after.median - before.median) / abs(before.median)
    small, large = sorted((abs(before.median), abs(after.median)))
    if large <= small * (1 + (LEAST_CHANGE if allowed is None else allowed)):
        return change, allowed, WITHIN_NOISE
    if allowed is None:
        return change, allowed, UNKNOWN_NOISE
    return change, allowed, BETTER if (change > 0) == more_is_better else WORSE


def _changes(case: str, old: Run, new: Run) -> Iterator[Change]:
    label = run_label(old) if run_label(old) == run_label(new) else f"{run_label(old)} -> {run_label(new)}"
    for name, (_, _, more_is_better) in FIGURES.items():
        if more_is_better is not None and name in old.figures and name in new.figures:
            before, after = old.figures[name], new.figures[name]
            yield Change(case, label, name, before, after, *change_of(name, before, after))


def _same_cases(a: Profile, b: Profile) -> list[tuple[Case, Case]]:
    by_digest = {case.workload.digest: case for case in b.cases}
    pairs = [(case, by_digest[case.workload.digest]) for case in a.cases if case.workload.digest in by_digest]
    if not pairs:
        raise OmniError(
            f"different workloads: the first profile asked {_names(a)}, the second {_names(b)}, and none with the same "
            "prompt, lengths and sampling; profile both with the same --workload and decoding flags"
        )
    return pairs


def _same_runs(before: Case, after: Case) -> list[tuple[Run, Run]]:
    """Runs of the same side on the same number of cards, shared in the same way. If both cases have one run, these."""
    if len(before.runs) == len(after.runs) == 1:
        return [(before.runs[0], after.runs[0])]
    found = {_identity(run): run for run in after.runs}
    return [(run, found[_identity(run)]) for run in before.runs if _identity(run) in found]


def _identity(run: Run) -> tuple[object, ...]:
    return run.side, run.parallel, run.cards, run.group_size


def _only_one(has: Profile, lacks: Profile, which: str) -> Iterator[str]:
    digests = {case.workload.digest for case in lacks.cases}
    for case in has.cases:
        if case.workload.digest not in digests:
            yield f"case {case.workload.name} is not in {which}"


def _runs_alone(before: Case, after: Case, pairs: list[tuple[Run, Run]]) -> Iterator[str]:
    name = before.workload.name
    for case, place, which in ((before, 0, "the second"), (after, 1, "the first")):
        taken = [id(pair[place]) for pair in pairs]
        for run in case.runs:
            if id(run) not in taken:
                yield f"{run_label(run)} in case {name} is not in {which}"


def _differences(a: Profile, b: Profile, pairs: list[tuple[Case, Case]]) -> Iterator[tuple[str, str, str]]:
    """What else may explain a change."""
    versions = dict.fromkeys((*a.versions, *b.versions))
    facts = [
        ("commit", a.commit or "unknown", b.commit or "unknown"),
        ("device", where(a), where(b)),
        ("processor", _processor(a), _processor(b)),
        ("model", f"{a.model.name}, {a.model.weights}", f"{b.model.name}, {b.model.weights}"),
        ("caveats", ", ".join(caveats(a)) or "none", ", ".join(caveats(b)) or "none"),
        ("model configuration", _digest(a.model.config), _digest(b.model.config)),
        *((name, a.versions.get(name, "absent"), b.versions.get(name, "absent")) for name in versions),
    ]
    for before, after in pairs:
        for old, new in _same_runs(before, after):
            facts += _run_differences(before.workload.name, old, new)
    yield from dict.fromkeys(fact for fact in facts if fact[1] != fact[2])


def _run_differences(case: str, old: Run, new: Run) -> Iterator[tuple[str, str, str]]:
    yield f"side of {case}", run_label(old), run_label(new)
    yield "precision", precision_of(old), precision_of(new)
    yield "attention", old.attn_implementation, new.attn_implementation
    if old.answer_digest and new.answer_digest:
        yield f"answer of {run_label(old)} to {case}", old.answer_digest[:12], new.answer_digest[:12]


def _processor(profile: Profile) -> str:
    return f"{profile.machine.cpu}, {profile.machine.cores} cores"


def _digest(config: dict[str, object]) -> str:
    import hashlib
    import json

    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _names(profile: Profile) -> str:
    return ", ".join(case.workload.name for case in profile.cases) or "nothing"


def _sides(profile: Profile) -> str:
    return ", ".join(dict.fromkeys(run_label(run) for _, run in profile.runs)) or "no side"
