"""A Python function on numpy arrays as an operator of a compiled graph, on the CPU."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from mindspore.ops.operations.other_ops import PyFunc

Spec = tuple[Any, tuple[int, ...]]  # MindSpore dtype, shape


def host_kernel(function: Callable[..., Any], inputs: Sequence[Spec], outputs: Sequence[Spec]) -> Any:
    """The operator, to be called with a tuple of tensors; returns a tuple. `function`, an object of some class, gets
    copies of the tensors and Python numbers for those of shape (). It may have effects beyond what it returns: calls
    stay in their order. MindSpore keeps every function that it was ever given; of this one only the operator keeps
    hold, and with it the weights that it reads."""
    held = weakref.ref(function)

    def call(*arrays: Any) -> Any:
        return held()(*arrays)  # type: ignore[misc]

    types, shapes = zip(*inputs, strict=True)
    out_types, out_shapes = zip(*outputs, strict=True)
    kernel = PyFunc(call, list(types), list(shapes), list(out_types), list(out_shapes), stateful=True)
    kernel.function = function
    return kernel
