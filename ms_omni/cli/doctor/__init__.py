"""`ms-omni doctor`: does this machine match the supported stack, and what to do where it does not."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ms_omni.cli.doctor.diagnosis import Check
    from ms_omni.hardware.machine import Machine

USAGE = "ms-omni doctor [--model DIR] [--json] [--run-check]"
HELP = "compare this machine's software, cards and memory with the supported stack"
_COLOURS = {"ok": "green", "warn": "yellow", "miss": "bold red", "n/a": "dim"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What else is examined, and the format."""
    parser.add_argument("--model", metavar="DIR", help="also say what this checkpoint can do")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--run-check", action="store_true", help="also run MindSpore's own installation check")


def run(args: argparse.Namespace, machine: Machine | None = None) -> int:
    """Print the report. Exit code 1 when something that is needed is missing, else 0 (also without a card)."""
    from ms_omni.cli.doctor.capabilities import Capabilities
    from ms_omni.cli.doctor.diagnosis import MISS, diagnose, mindspore_run_check
    from ms_omni.cli.doctor.readiness import readiness
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.hardware.machine import Machine

    machine = machine or Machine()
    checks = diagnose(machine)
    if args.run_check:
        checks.append(mindspore_run_check(machine))
    misses = sum(check.verdict == MISS for check in checks)
    with results_only_on_stdout(args.debug):
        ready_for = readiness(machine, checks)
        capabilities = None if args.model is None else Capabilities.of(args.model)
    if args.json:
        document = {"ready": misses == 0, "ready_for": ready_for, "checks": [asdict(check) for check in checks]}
        if capabilities is not None:
            document["checkpoint"] = asdict(capabilities)
        print(json.dumps(document, ensure_ascii=False))
    else:
        _print_table(checks, [*ready_for, *(capabilities.lines() if capabilities else ())], sys.stdout)
    return 1 if misses else 0


def _print_table(checks: list[Check], ready_for: list[str], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("what", "found", "supported", "verdict"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        colour = _COLOURS[check.verdict]
        table.add_row(check.name, check.found, check.supported, f"[{colour}]{check.verdict}[/{colour}]")
    console = Console(file=out)
    console.print(table)
    for check in checks:
        if check.advice:
            console.print(f"{check.verdict:<5}{check.name}: {check.advice}", markup=False, soft_wrap=True)
    misses = [check.name for check in checks if check.verdict == "miss"]
    console.print()
    for line in [f"missing: {', '.join(misses)}"] * bool(misses) + ready_for:
        console.print(line, markup=False, soft_wrap=True)
