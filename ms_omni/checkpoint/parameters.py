"""Arrays to tensors and Parameters of MindSpore on the device, without copies on the host."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np


@cache
def numpy_dtype(dtype: Any) -> np.dtype:
    """numpy's dtype for a MindSpore type or the name of one. bfloat16 is ml_dtypes': numpy may know MindSpore's own by
    that name, to which nothing can be cast."""
    name = str(dtype).lower()
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def device_tensor(array: np.ndarray) -> Any:
    """A tensor that takes over `array`. On Ascend the values are moved to the card at once, not at their first use, so
    that the host's memory is free; on a CPU the tensor shares the array's memory.

    (`Tensor(array)` copies it, ten times slower than this reads memory.)"""
    import mindspore as ms

    tensor = ms.Tensor.from_numpy(array)
    return tensor.move_to("Ascend") if ms.get_context("device_target") == "Ascend" else tensor


def parameter(values: Any, name: str) -> Any:
    """A Parameter that takes over an array, or a tensor.

    (`Parameter(tensor)` copies the values through the host; a Parameter whose data are set does not.)"""
    import mindspore as ms

    tensor = device_tensor(values) if isinstance(values, np.ndarray) else values
    made = ms.Parameter(ms.Tensor([0], tensor.dtype), name=name, requires_grad=False)
    return made.set_data(tensor, slice_shape=True)
