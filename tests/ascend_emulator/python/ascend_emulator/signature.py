"""Argument lists of aclnn operators: parsed from one line each, and applied to the words that a call was made with.

A signature is written as `aclnnAdd(self: tensor, other: tensor, alpha: scalar, out: tensor)`, in the order of CANN's
header. A `?` after the kind allows a null pointer. The two arguments that every operator ends with (workspace size,
executor) are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

POINTERS = ("tensor", "scalar", "ints", "floats", "bools", "scalars", "tensors", "string")
INTEGERS = ("int", "int32", "int8", "bool", "dtype")
REALS = ("float", "double")


@dataclass(frozen=True)
class Parameter:
    """One argument. kind: of POINTERS, INTEGERS or REALS."""

    name: str
    kind: str
    is_optional: bool

    @property
    def is_real(self) -> bool:
        return self.kind in REALS


@dataclass(frozen=True)
class Signature:
    name: str
    parameters: tuple[Parameter, ...]

    @property
    def num_words(self) -> int:
        """Arguments that travel in integer registers or on the stack; the others are in floating-point registers."""
        return sum(not parameter.is_real for parameter in self.parameters)


def parse(text: str) -> Signature:
    """Raises ValueError for a text that is not a signature."""
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", text, re.S)
    if not match:
        raise ValueError(f"not a signature: {text!r}")
    name, inside = match.groups()
    return Signature(name, tuple(_parameter(part) for part in inside.split(",") if part.strip()))


def _parameter(text: str) -> Parameter:
    match = re.fullmatch(r"\s*(\w+)\s*:\s*(\w+)(\??)\s*", text)
    if not match or match[2] not in POINTERS + INTEGERS + REALS:
        raise ValueError(f"not a parameter: {text!r}; kinds: {', '.join(POINTERS + INTEGERS + REALS)}")
    return Parameter(match[1], match[2], match[3] == "?")
