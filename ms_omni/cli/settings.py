"""The settings of a command: its flags over those of a `--config` file."""

from __future__ import annotations

import argparse
from typing import Any

from ms_omni.cli.commands import command_parser
from ms_omni.cli.flags import TASK_KEYS, TURN_KEYS
from ms_omni.config import load_yaml
from ms_omni.errors import OmniError

# A prompt on the command line replaces the whole prompt of a YAML file.
PROMPT_KEYS = ("conversation", "workload", *TURN_KEYS)
# Not in a YAML file: it cannot name a further file, tracebacks are wanted before any file is read, and a file that is
# used twice must not delete the first answers.
COMMAND_LINE_ONLY = {"config", "debug", "help", "restart"}


def yaml_keys(command: str) -> set[str]:
    """Every key that a `--config` file of this command may hold: its flags, with underscores."""
    return {action.dest for action in command_parser(command)._actions} - COMMAND_LINE_ONLY


def merge_settings(args: argparse.Namespace, command: str) -> dict[str, Any]:
    """The given flags over the values of `--config`, keys with underscores. Unset settings are absent. Raises OmniError
    for what is wrong with the file."""
    given = {key: value for key, value in vars(args).items() if key not in COMMAND_LINE_ONLY}
    path = getattr(args, "config", None)
    if path is None:
        return given
    below = read_settings(path, command)
    if any(key in given for key in PROMPT_KEYS):
        # A task of the file goes with another turn, not with a whole conversation
        replaced = {*PROMPT_KEYS, *(TASK_KEYS if "conversation" in given else ())}
        below = {key: value for key, value in below.items() if key not in replaced}
    return {**below, **given}


def read_settings(path: str, command: str) -> dict[str, Any]:
    """Settings of a YAML file, read as if they had been flags, so that a bad value fails with the flag's own message.

    Raises OmniError naming the file. A key set to null counts as unset."""
    parser = command_parser(command)
    content = load_yaml(path, yaml_keys(command))
    try:
        words = [word for key, value in content.items() for word in _as_words(parser, key, value)]
        settings = vars(parser.parse_args(words))
    except OmniError as error:
        raise OmniError(f"--config {path}: {error}") from None
    return {key: value for key, value in settings.items() if key not in COMMAND_LINE_ONLY}


def _as_words(parser: argparse.ArgumentParser, key: str, value: Any) -> list[str]:
    flag = "--" + key.replace("_", "-")
    action = next(action for action in parser._actions if action.dest == key)
    if value is None:
        return []
    if isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise OmniError(f"{key}: {value!r} is not allowed; expected true or false")
        return [flag if value else "--no-" + flag[2:]]
    repeats = isinstance(action, argparse._AppendAction)
    values = value if repeats and isinstance(value, list) else [value]
    for item in values:
        if isinstance(item, (bool, dict, list)) or item is None:
            what = "a text or a list of texts" if repeats else "a single value"
            raise OmniError(f"{key}: {item!r} is not allowed; expected {what}")
    return [f"{flag}={item}" for item in values]
