"""What a profile has measured so far: on disk after every repeat, so that an interrupted run keeps what is finished."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ms_omni.files import write_text

if TYPE_CHECKING:  # pydantic, which --help need not wait for
    from ms_omni.profiling.document import Case, Profile

NAME = "profile"
INTERRUPTED = "interrupted"


class Record:
    """header: the profile without its cases. out: the directory of `profile.json`; None where nothing is written."""

    def __init__(self, header: Profile, out: Path | None) -> None:
        self._header, self._out = header, out
        self._cases: dict[str, Case] = {}
        self._skipped: dict[tuple[str, str | None], str] = {}

    @property
    def is_empty(self) -> bool:
        """Nothing was measured."""
        return not self._cases

    @property
    def reasons(self) -> list[str]:
        """Why cases were skipped."""
        return list(self._skipped.values())

    def keep(self, case: Case) -> None:
        """`case` as it stands, in the place of what was known of it."""
        self._cases[case.workload.name] = case
        self._write(self.profile(complete=False))

    def skip(self, workload: str, side: str | None, reason: str) -> None:
        """A case, or one side of it, cannot be measured."""
        self._skipped[workload, side] = reason

    def finish(self, complete: bool) -> Profile:
        """The profile, which is also in the file."""
        profile = self.profile(complete)
        if self._cases:
            self._write(profile)
        return profile

    def profile(self, complete: bool) -> Profile:
        """The header with the cases so far; marked as interrupted if it is not complete."""
        from ms_omni.profiling.document import Skipped

        caveats = self._header.caveats + ([] if complete else [INTERRUPTED])
        skipped = [Skipped(workload=w, side=s, reason=reason) for (w, s), reason in self._skipped.items()]
        update = {"cases": list(self._cases.values()), "skipped": skipped, "complete": complete, "caveats": caveats}
        return self._header.model_copy(update=update)

    def _write(self, profile: Profile) -> None:
        if self._out is not None:
            write_text(self._out / f"{NAME}.json", profile.model_dump_json(indent=1) + "\n")


def shown(profile: Profile, figures: tuple[str, ...]) -> Profile:
    """With these figures alone; all of them where none is named."""
    if not figures:
        return profile
    cases = []
    for case in profile.cases:
        runs = [
            run.model_copy(update={"figures": {name: run.figures[name] for name in figures if name in run.figures}})
            for run in case.runs
        ]
        ratios = [ratio for ratio in case.ratios if ratio.figure in figures]
        cases.append(case.model_copy(update={"runs": runs, "ratios": ratios, "shown": list(figures)}))
    return profile.model_copy(update={"cases": cases})
