"""An argparse parser whose errors are one line: the flag, the value, what is allowed."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

from ms_omni.errors import OmniError, did_you_mean


class LineParser(argparse.ArgumentParser):
    """Takes no abbreviated flags; a mistake raises OmniError, one line with a suggestion."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """argparse's own messages, as OmniError."""
        # argparse writes "argument --flag: what" or "argument -s/--seed: what"; ours starts with the flag itself.
        message = re.sub(r"^argument (\S+): ", r"\1: ", message)
        message = message.replace("the following arguments are required:", "missing:")
        if message.endswith("expected one argument"):
            message += " (a value that starts with - is written --flag=VALUE)"
        raise OmniError(f"{message}; see {self.prog} --help")

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        """As argparse's; a word that no flag takes raises OmniError."""
        parsed, extra = self.parse_known_args(args, namespace)
        if extra:
            raise OmniError(self._explain(extra[0]))
        return parsed

    def parse_leading(self, argv: list[str]) -> str:
        """Handle the flags before the first word, and return that word ("" when there is none)."""
        count = next((i for i, arg in enumerate(argv) if not arg.startswith("-")), len(argv))
        # --debug may stand anywhere; main() has already seen it
        self.parse_args([arg for arg in argv[:count] if arg != "--debug"])
        return argv[count] if count < len(argv) else ""

    def _explain(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected argument {word!r}; see {self.prog} --help"
        flag = word.split("=", 1)[0]
        known = [option for option in self._option_string_actions if option.startswith("--")]
        guess = did_you_mean(flag, known) or f"; allowed: {', '.join(known)}"
        return f"unknown flag {flag}{guess}; see {self.prog} --help"


def whole_number(low: int | None = None) -> Callable[[str], int]:
    """An argparse type: an int, at least `low`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if low is not None and value < low:
            raise argparse.ArgumentTypeError(f"{text} is too small; expected a whole number of at least {low}")
        return value

    return parse


def whole_numbers(text: str) -> tuple[int, ...]:
    """Type of a flag: numbers of at least 1 between commas, each once, in the given order."""
    return tuple(dict.fromkeys(whole_number(1)(part.strip()) for part in text.split(",")))


def decimal_number(above: float | None = None) -> Callable[[str], float]:
    """An argparse type: a finite float, greater than `above`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number")
        if above is not None and value <= above:
            raise argparse.ArgumentTypeError(f"{text} is too small; expected a number above {above:g}")
        return value

    return parse


def one_of(*allowed: str) -> Callable[[str], str]:
    """An argparse type: one of these words. (argparse's `choices` would print Python lists and no suggestion.)"""

    def parse(text: str) -> str:
        if text not in allowed:
            guess = did_you_mean(text, allowed)
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed{guess}; expected one of {', '.join(allowed)}")
        return text

    return parse


def choice(*allowed: str) -> dict[str, Any]:
    """Keywords of `add_argument` for a flag that takes one of these words."""
    return {"type": one_of(*allowed), "metavar": "|".join(allowed)}
