"""`ms-omni`: picks the subcommand and turns every failure into one line on stderr and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from contextlib import suppress
from typing import Any

from ms_omni.cli.commands import COMMANDS, command_module, command_parser
from ms_omni.cli.interrupt import interrupts_raise
from ms_omni.cli.parser import LineParser
from ms_omni.errors import OmniError, OmniErrors, did_you_mean

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

_EPILOG = """\
first steps:
  ms-omni understand --text "What is your name?"        answer a conversation, here with the built-in tiny model
  ms-omni tasks                                         what --task asks, as the model's documents do
  ms-omni doctor                                        check this machine
  ms-omni plan --cards 2                                what the released model needs on two cards
  ms-omni launch --cards 2 -- understand --model ...    answer on two cards that share the model
  ms-omni accept                                        check that a card computes what it should

exit codes: 0 done, 1 internal error (or doctor found a miss, batch a conversation that fails, report a regression,
            accept a difference, serve an engine that has stopped),
            2 wrong input, 130 interrupted
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command line (default: the process's own arguments) and return its exit code; never raises for a
    user's mistake, an interrupt or a closed pipe. With `--debug` the traceback is printed as well."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    try:
        try:
            code = _dispatch(argv, debug)
        except SystemExit:  # argparse, after --help and --version
            code = EXIT_OK
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _abandon_stdout()
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as stop:
        return _fail(f"interrupted; {stop}" if str(stop) else "interrupted", EXIT_INTERRUPTED, debug)
    except OmniErrors as errors:
        for line in errors.lines[:-1]:
            print(f"ms-omni: {' '.join(line.split())}", file=sys.stderr)
        return _fail(errors.lines[-1], EXIT_USER_ERROR, debug)
    except OmniError as error:
        return _fail(_one_line(error), EXIT_USER_ERROR, debug)
    except ImportError as error:
        return _fail(f"{_one_line(error)}; ms-omni doctor names what this machine lacks", EXIT_INTERNAL, debug)
    except Exception as error:
        hint = "" if debug else " (run with --debug for the traceback)"
        line = f"internal error: {type(error).__name__}: {_one_line(error)}{hint}"
        return _fail(line, EXIT_INTERNAL, debug)


def _dispatch(argv: list[str], debug: bool) -> int:
    command = _TopParser().parse_leading(argv)
    if command not in COMMANDS:
        what = f"unknown command {command!r}" if command else "no command given"
        raise OmniError(f"{what}{did_you_mean(command, COMMANDS)}; expected one of {', '.join(COMMANDS)}")
    args = command_parser(command).parse_args(argv[argv.index(command) + 1 :])
    args.debug = debug  # also when --debug stands before the command
    with interrupts_raise(debug):
        return command_module(command).run(args)


class _TopParser(LineParser):
    """The flags before a command. The commands are imported for their list, and the version is read, only when asked
    for: no other run waits for them."""

    def __init__(self) -> None:
        super().__init__(
            prog="ms-omni",
            usage="ms-omni COMMAND [flags]      (ms-omni COMMAND --help lists the flags of one command)",
            description="Qwen3-Omni on Ascend NPUs with MindSpore, and on a CPU to try it.",
        )
        self.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")

    def format_help(self) -> str:
        """With the list of commands."""
        commands = "\n".join(f"  {name:<12}{command_module(name).HELP}" for name in COMMANDS)
        self.epilog = f"commands:\n{commands}\n\n{_EPILOG}"
        return super().format_help()


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ms_omni import __version__

        print(f"ms-omni {__version__}")
        parser.exit()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _fail(line: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc(file=sys.stderr)
    print(f"ms-omni: {line}", file=sys.stderr)
    return code


def _abandon_stdout() -> None:
    """Nobody reads stdout any more: without this, Python's flush at exit would complain about the pipe again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
