"""`ms-omni tasks`: the tasks of the model's documents, with their prompts and rules."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import TextIO

USAGE = "ms-omni tasks [NAME] [--json]"
HELP = "list the tasks of --task, or one with its prompt, rules and a command line"
_WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One task, and the format."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a task, to see all about it")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Print the list, or the task; OmniError for an unknown one."""
    from ms_omni.tasks.describe import document_of, lines_of
    from ms_omni.tasks.table import TASKS, find_task

    task = find_task(args.name, "tasks") if args.name else None
    if args.json:
        document = [document_of(each) for each in TASKS.values()] if task is None else document_of(task)
        print(json.dumps(document, ensure_ascii=False))
    elif task is None:
        for each in TASKS.values():
            print(f"{each.name:<26}{' or '.join(each.media):<16}{each.summary}")
        print("\nms-omni tasks NAME shows the prompt, the rules and a command line")
    else:
        for what, words in lines_of(task):
            _print_lines(what, words, sys.stdout)
    return 0


def _print_lines(what: str, words: str, out: TextIO) -> None:
    """A command in one line, to be copied; other words in lines of about _WIDTH characters."""
    lines = [words] if what == "command" else []
    for paragraph in words.splitlines() if not lines else ():
        lines += textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
    for index, line in enumerate(lines):
        print(f"{what if index == 0 else '':<11}{line}", file=out)
