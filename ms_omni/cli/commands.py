"""The commands of `ms-omni`: which there are, and the parser of each.

A command is a module or package of `ms_omni.cli` with USAGE, HELP, add_arguments(parser), which adds its flags, and
run(args), which returns the exit code."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ms_omni.cli.parser import LineParser

COMMANDS = (
    "understand",
    "batch",
    "serve",
    "demo",
    "example",
    "tiny",
    "doctor",
    "tasks",
    "launch",
    "plan",
    "quantize",
    "profile",
    "report",
    "eval",
    "accept",
)


def command_module(name: str) -> ModuleType:
    """The module of a command. Heavy libraries are imported when it runs, not here."""
    return import_module(f"ms_omni.cli.{name}")


def command_parser(name: str) -> LineParser:
    """The parser of a command's own words."""
    module = command_module(name)
    parser = LineParser(prog=f"ms-omni {name}", usage=module.USAGE, description=module.HELP)
    module.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show tracebacks and the libraries' own messages")
    return parser
