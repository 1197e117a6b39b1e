"""The table of emulated operators, and the decorators that fill it.

An operator has a function that computes it and, mostly, one that checks CANN's limits. Both take one object, whose
attributes are the arguments by the names of CANN's document:

    @aclnn("aclnnNeg(self: tensor, out: tensor)", doc="aclnnNeg")
    def neg(a):
        a.out.put(-a.self.wide())

    @neg.limits
    def _(a):
        require_dtype(a.self, *FLOATS, INT32)

What the attributes are: tensor DeviceTensor; scalar and integers Python numbers; ints, floats, bools lists; tensors and
scalars lists; string str; dtype np.dtype; None where a `?` allows a null pointer and one was given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ascend_emulator.signature import Signature, parse


@dataclass
class Operator:
    """kind: aclnn, aclop or internal. doc: the document that the limits are read from. socs: series that the operator
    is documented for, of "A2" and "A3"."""

    kind: str
    name: str
    compute: Callable[[Any], None]
    doc: str
    socs: tuple[str, ...]
    signature: Signature | None = None
    check: Callable[[Any], None] = field(default=lambda arguments: None)

    def limits(self, function: Callable[[Any], None]) -> Callable[[Any], None]:
        """Decorator: the function raises Refused for a call that CANN's document does not allow."""
        self.check = function
        return function


OPERATORS: dict[tuple[str, str], Operator] = {}


def aclnn(signature: str, *, doc: str, socs: tuple[str, ...] = ("A2", "A3")) -> Callable[..., Operator]:
    """An operator of the aclnn interface, with the argument list of CANN's header."""
    parsed = parse(signature)
    return _adder("aclnn", parsed.name, doc, socs, parsed)


def aclop(name: str, *, doc: str, socs: tuple[str, ...] = ("A2", "A3")) -> Callable[..., Operator]:
    """A legacy operator (aclopCompileAndExecute). The argument object has inputs and outputs, lists of DeviceTensor or
    None, and attributes, a dict."""
    return _adder("aclop", name, doc, socs, None)


def internal(name: str, *, doc: str, socs: tuple[str, ...] = ("A2", "A3")) -> Callable[..., Operator]:
    """A kernel of MindSpore's ms_kernels_internal. The argument object is as for aclop; attributes are the fields of
    the kernel's parameter struct."""
    return _adder("internal", name, doc, socs, None)


def find(kind: str, name: str) -> Operator | None:
    return OPERATORS.get((kind, name))


def _adder(
    kind: str, name: str, doc: str, socs: tuple[str, ...], signature: Signature | None
) -> Callable[..., Operator]:
    def add(function: Callable[[Any], None]) -> Operator:
        assert (kind, name) not in OPERATORS, f"{kind} {name} is in the table twice"
        operator = OPERATORS[kind, name] = Operator(kind, name, function, doc, socs, signature)
        return operator

    return add


def arguments(**values: Any) -> SimpleNamespace:
    """The argument object of a call made in a test."""
    return SimpleNamespace(**values)
