"""A Python function on numpy arrays as an operator of a compiled graph, on the CPU."""

from __future__ import annotations

import hashlib
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mindspore.ops.operations.other_ops import PyFunc, add_pyfunc

_made: Counter[str] = Counter()

Spec = tuple[Any, tuple[int, ...]]  # MindSpore dtype, shape


def host_kernel(
    function: Callable[..., Any],
    inputs: Sequence[Spec],
    outputs: Sequence[Spec],
    name: str,
    *,
    has_effects: bool = True,
) -> Any:
    """The operator, to be called with the tensors one by one (MindSpore 2.7.2 and later take no tuple, whatever their
    documents say); returns a tuple. `function`, an object of some class, gets copies of the tensors and Python
    numbers for those of shape (). MindSpore keeps every function that it was ever given; of this one only the operator
    keeps hold, and with it the weights that it reads. For graphs alone: outside them MindSpore 2.7.1 has called the
    function of an operator that was gone, in a process with several engines.

    has_effects: whether the function does more than return something; calls then stay in their order. name: what a
    graph out of MindSpore's compile cache finds the function by; the same one again counts on."""
    held = weakref.ref(function)

    def call(*arrays: Any) -> Any:
        return held()(*arrays)  # type: ignore[misc]

    types, shapes = zip(*inputs, strict=True)
    out_types, out_shapes = zip(*outputs, strict=True)
    kernel = PyFunc(call, list(types), list(shapes), list(out_types), list(out_shapes), stateful=has_effects)
    kernel.function = function
    kernel.number = give_number(kernel, call, name)
    return kernel


def give_number(operator: Any, function: Callable[..., Any], name: str) -> int:
    """Makes an operator's graph find `function` by a number that is the same in every process for the n-th function of
    a name. MindSpore's own is an address, which a graph out of its compile cache would look for in vain."""
    _made[name] += 1
    number = int.from_bytes(hashlib.sha256(f"{name} {_made[name]}".encode()).digest()[:6], "big")
    add_pyfunc(number, function)
    operator.add_prim_attr("fn_id", number)
    return number
