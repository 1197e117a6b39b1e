"""Which answer belongs to which reference: by id, and nothing left out unasked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ms_omni.errors import OmniError
from ms_omni.evaluation.lines import some_of
from ms_omni.evaluation.metric import Pair
from ms_omni.evaluation.reference import Reference
from ms_omni.evaluation.results import Result


@dataclass(frozen=True)
class Pairs:
    """pairs: in the reference's order. unanswered: ids of references without a result. unexpected: ids of results
    without a reference."""

    pairs: tuple[Pair, ...]
    unanswered: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()


def paired(references: Iterable[Reference], results: dict[str, Result], allow_missing: bool, name: str) -> Pairs:
    """name: what errors call the results. Raises OmniError where one side has ids that the other has not, unless
    allow_missing, and where they have none in common."""
    by_id = {reference.id: reference for reference in references}
    unanswered = tuple(key for key in by_id if key not in results)
    unexpected = tuple(key for key in results if key not in by_id)
    pairs = tuple(Pair(reference, results[key]) for key, reference in by_id.items() if key in results)
    faults = []
    if unanswered:
        faults.append(f"{len(unanswered)} of {len(by_id)} ids of --reference have no result ({some_of(unanswered)})")
    if unexpected:
        faults.append(f"{len(unexpected)} of {len(results)} results have no reference ({some_of(unexpected)})")
    if not pairs:
        raise OmniError(f"{name}: no id in common with --reference: {'; '.join(faults)}")
    if faults and not allow_missing:
        raise OmniError(f"{name}: {'; '.join(faults)}; --allow-missing if only what both have is meant")
    return Pairs(pairs, unanswered, unexpected)
