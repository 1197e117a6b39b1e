"""Runs the steps in this process: that of a single card, or each rank of a job.

python -m ms_omni.acceptance.work JOURNAL QUICK STEPS
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ms_omni.acceptance.bench import Bench
from ms_omni.acceptance.findings import ERROR, Check, message_of
from ms_omni.acceptance.journal import CARD, END, NO_CARD, STEP, Journal, checks_of, read_journal
from ms_omni.acceptance.steps import STEPS
from ms_omni.kernels.device import num_ascend_cards, setup_device
from ms_omni.parallel.start import start_world
from ms_omni.parallel.world import World, is_scheduler, is_under_msrun
from ms_omni.runtime.card import card_name, start_card

EXIT_NO_CARD = 2


def main(argv: list[str]) -> int:
    """Entry of the process that a Supervisor watches and restarts. Returns its exit code."""
    from ms_omni.parallel.rank_program import die_with_parent

    die_with_parent()
    journal = Journal(Path(argv[0]))
    world = work(journal, quick=argv[1] == "quick", names=tuple(argv[2].split(",")), restarts=True)
    return EXIT_NO_CARD if world is None else 0


def work(
    journal: Journal,
    quick: bool,
    names: tuple[str, ...],
    restarts: bool = False,
    after_step: Callable[[World], None] = lambda world: None,
) -> World | None:
    """Runs the steps of these names and calls after_step after each. Returns this process's World; None where there is
    no card."""
    if num_ascend_cards() == 0:
        journal.note(NO_CARD)
        return None
    device = setup_device("Ascend")
    journal.note(CARD, soc=card_name())
    done = frozenset((check.step, check.name) for check in checks_of(read_journal(journal.path)))
    bench = Bench(journal, device, quick, done=done, restarts=restarts)
    bench = replace(bench, world=_connect(bench))
    start_card()
    run_steps(bench, names, after_step)
    journal.note(END)
    return bench.world


def run_steps(bench: Bench, names: tuple[str, ...], after_step: Callable[[World], None] = lambda world: None) -> None:
    """A step that cannot begin is noted as an error."""
    for step in STEPS:
        if step.name not in names:
            continue
        bench.step = step.name
        try:
            step.load()(bench)
        except Exception as error:
            bench.journal.check(Check(step.name, "preparation", ERROR, 0.0, message=message_of(error)))
        bench.journal.note(STEP, step=step.name)
        after_step(bench.world)


def _connect(bench: Bench) -> World:
    """Connects the ranks of the job; this card alone if that fails."""
    if not is_under_msrun():
        return World(device=bench.device)
    if is_scheduler():
        return start_world(bench.device)  # which does not return
    try:
        return start_world(bench.device, group_size=None)
    except Exception as error:
        bench.journal.check(Check("collectives", "meeting of the ranks", ERROR, 0.0, message=message_of(error)))
        return World(device=bench.device)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
