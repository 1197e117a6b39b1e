"""The operators that a process on the emulated card launches, in their order, with the dtypes of their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple


class Launch(NamedTuple):
    """kind: aclnn, internal or aclop. dtypes: by the argument's name in CANN's document, of tensors and of lists of one
    tensor; without results (y, out, yOut ...)."""

    kind: str
    name: str
    dtypes: dict[str, str]


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """What is launched until the end, in a list that fills."""
    import mindspore as ms
    from ascend_emulator import dispatch

    launches: list[Launch] = []
    plain = dispatch.find

    def find(kind: str, name: str) -> Any:
        operator = plain(kind, name)
        if operator is None:
            return None

        def compute(given: SimpleNamespace) -> None:
            launches.append(Launch(kind, name, dtypes_of(given)))
            operator.compute(given)

        return replace(operator, compute=compute)

    ms.runtime.synchronize()
    dispatch.find = find
    try:
        yield launches
        ms.runtime.synchronize()
    finally:
        dispatch.find = plain


def dtypes_of(given: SimpleNamespace) -> dict[str, str]:
    from ascend_emulator.device_tensor import DeviceTensor

    found = {}
    for name, value in vars(given).items():
        tensor = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(tensor, DeviceTensor) and name != "y" and "out" not in name.lower():
            found[name] = str(tensor.dtype)
    return found
