"""Legacy operators (aclop): the operator's registration, as far as a call can be checked against it.

A registration says how many inputs and outputs there are, of which dtypes, and which attributes. GE compiles the
operator for these; a call that does not fit is refused with the status that ACL documents for the mismatch, and any
other broken limit with that of a compilation that GE refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import INT32, INT64, DeviceTensor, require_dtype
from ascend_emulator.promotion import COMPLEXES, INTEGERS, MAX_RANK, REALS, UNSIGNED
from ascend_emulator.refusal import INVALID_PARAMETER, RUNTIME_ERROR, Refused, require
from ascend_emulator.table import Operator, aclop

# acl_base_rt.h
INPUT_NOT_MATCH = 100021  # ACL_ERROR_OP_INPUT_NOT_MATCH
OUTPUT_NOT_MATCH = 100022  # ACL_ERROR_OP_OUTPUT_NOT_MATCH
ATTRIBUTE_NOT_MATCH = 100023  # ACL_ERROR_OP_ATTR_NOT_MATCH
GE_FAILURE = 500002  # ACL_ERROR_GE_FAILURE
DEVICE_EXCEPTION = 507015  # ACL_ERROR_RT_AICORE_EXCEPTION

# The sets of graph/types.h, as far as they are emulated
BASIC = (*REALS, *INTEGERS, *UNSIGNED, *COMPLEXES)
REAL_NUMBERS = (*REALS, *INTEGERS, *UNSIGNED)
INDEX = (INT32, INT64)
ANY_COUNT = range(1, 1 << 16)

Check = Callable[[Any], None]


def legacy(
    name: str,
    inputs: Collection[int],
    attributes: Collection[str] = (),
    *,
    required: Collection[str] = (),
    outputs: Collection[int] = (1,),
    dtypes: tuple[tuple[np.dtype, ...], ...] = (),
) -> Callable[[Callable[[Any], None]], Operator]:
    """Decorator for the function that computes the operator. inputs, outputs: the counts that are allowed. attributes:
    names of optional ones. dtypes: allowed for each input; inputs beyond have those of the last."""

    def check(a: Any) -> None:
        check_counts(a, inputs, outputs, {*attributes, *required}, required)
        for i, tensor in enumerate(a.inputs):
            require(tensor is not None, f"input {i}: without memory", INPUT_NOT_MATCH)
            if dtypes:
                require_dtype(tensor, *dtypes[min(i, len(dtypes) - 1)])
            require(tensor.ndim <= MAX_RANK, f"input {i}: shape {tensor.shape}, allowed: at most {MAX_RANK} dimensions")

    def decorate(compute: Callable[[Any], None]) -> Operator:
        operator = aclop(name, doc=f"registration of {name}")(with_status(compute, RUNTIME_ERROR, DEVICE_EXCEPTION))
        operator.check = with_status(check, INVALID_PARAMETER, GE_FAILURE)
        return operator

    return decorate


def further(operator: Operator) -> Callable[[Check], Check]:
    """Decorator: the function checks what the registration does not say."""

    def decorate(function: Check) -> Check:
        registered = operator.check

        def both(a: Any) -> None:
            registered(a)
            with_status(function, INVALID_PARAMETER, GE_FAILURE)(a)

        operator.check = both
        return function

    return decorate


def with_status(function: Check, aclnn_status: int, acl_status: int) -> Check:
    """The function, with a status of ACL in the place of one of aclnn."""

    def refusing(a: Any) -> None:
        try:
            function(a)
        except Refused as refusal:
            if refusal.status == aclnn_status:
                refusal.status = acl_status
            raise

    return refusing


def check_counts(
    a: Any, inputs: Collection[int], outputs: Collection[int], known: Collection[str], required: Collection[str]
) -> None:
    require(len(a.inputs) in inputs, f"{len(a.inputs)} inputs, allowed: {_counts(inputs)}", INPUT_NOT_MATCH)
    require(len(a.outputs) in outputs, f"{len(a.outputs)} outputs, allowed: {_counts(outputs)}", OUTPUT_NOT_MATCH)
    unknown, names = sorted(set(a.attributes) - set(known)), ", ".join(sorted(known)) or "none"
    require(not unknown, f"attributes {', '.join(unknown)}: unknown, there are: {names}", ATTRIBUTE_NOT_MATCH)
    missing = sorted(set(required) - set(a.attributes))
    require(not missing, f"attributes {', '.join(missing)}: missing", ATTRIBUTE_NOT_MATCH)


def require_output(a: Any, shape: tuple[int, ...], dtype: np.dtype, place: int = 0) -> None:
    """The output has the shape that the operator infers, and its dtype."""
    out = a.outputs[place]
    require(out.shape == tuple(shape), f"output {place}: shape {out.shape}, inferred: {tuple(shape)}")
    require(out.dtype == dtype, f"output {place}: dtype {out.dtype}, expected {dtype}")


def numbers(tensor: DeviceTensor) -> list[int]:
    """The values of a constant input."""
    return [int(value) for value in tensor.array.reshape(-1)]


def number(tensor: DeviceTensor) -> int:
    require(tensor.size == 1, f"{tensor.name}: shape {tensor.shape}, allowed: one value")
    return numbers(tensor)[0]


def _counts(counts: Collection[int]) -> str:
    return f"at least {counts[0]}" if isinstance(counts, range) else " or ".join(str(count) for count in counts)
