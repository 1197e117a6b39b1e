"""Builds a MindSpore model without drawing the random weights that a checkpoint overwrites anyway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def skip_init(dtype: Any = None) -> Iterator[None]:
    """While this is active, a Parameter made from an initializer gets its shape and arbitrary values in untouched
    memory: this costs neither time nor pages. Load every weight afterwards.

    dtype: MindSpore type for the float ones among them (default: as the initializer says), so that a bfloat16 model
    needs no float32 copy on the way. Parameters made from tensors are left alone. Not thread-safe.

    Hooks `Parameter._get_parameter_new_args` of mindspore 2.7.1, the one place where an initializer turns into data.
    """
    import mindspore as ms
    import numpy as np

    floats = (ms.float32, ms.float16, ms.bfloat16)
    original = ms.Parameter._get_parameter_new_args

    def without_values(data: Any, *args: Any, **kwargs: Any) -> Any:
        if not (isinstance(data, ms.Tensor) and data.has_init):
            return original(data, *args, **kwargs)
        wanted = dtype if dtype is not None and data.dtype in floats else data.dtype
        empty = np.empty(data.shape, ms.common.dtype._dtype_to_nptype(wanted))
        return ms.Tensor, ms.Tensor.from_numpy(empty)

    ms.Parameter._get_parameter_new_args = staticmethod(without_values)
    try:
        yield
    finally:
        ms.Parameter._get_parameter_new_args = staticmethod(original)
