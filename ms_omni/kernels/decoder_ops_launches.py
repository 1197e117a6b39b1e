"""Marks an operator with the device operators that it launches, so that a layer's launches can be counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


def launches(*operators: str) -> Callable[[Function], Function]:
    """Declare the operators, in order, that a call launches for one token. The function is returned itself: a wrapper
    around it could not be compiled into a graph."""

    def mark(function: Function) -> Function:
        function.launches = operators  # type: ignore[attr-defined]
        return function

    return mark
