"""Decoders on the CPU: layers are numpy kernels (`numpy_blocks`), and tokens are picked in numpy. float32, whatever the
model's dtype: numpy has no fast products of others."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ms_omni.kernels.host_kernel import host_kernel
from ms_omni.kernels.mindspore_internals import _run_in_jit
from ms_omni.kernels.numpy_sampling import sample_rows

JIT_OPTIONS = {"jit_level": "O0"}
IN_NUMPY = True
ONE_TOKEN_A_GRAPH = False


def scale_dtype(quantize: str, dtype: Any) -> Any:
    """The MindSpore type of int8 weights' scales."""
    return ms.float32


def num_kept(largest_top_k: int, vocabulary: int) -> int:
    """The vocabulary: one kernel serves all settings."""
    return vocabulary


def rows_of(x: Tensor, count: int) -> tuple[Tensor, ...]:
    """x: (count, n). Its rows, (n,) each."""
    rows: tuple[Tensor, ...] = ()
    for i in range(count):
        rows = (*rows, x[i])
    return rows


class Sampler(nn.Cell):
    """Picks a token for each row. kernel_numbers: by which graphs find the kernel."""

    def __init__(self, rows: int, vocabulary: int, num_kept: int, name: str):
        """name: of the graph, and of what is picked there."""
        super().__init__()
        many, whole = (ms.float32, (rows,)), (ms.int32, (rows,))
        inputs = ((ms.float32, (rows, vocabulary)), many, many, whole, many)
        self.kernel = host_kernel(_Sample(), inputs, (whole,), f"{name} sampler", has_effects=False)
        self.kernel_numbers = (self.kernel.number,)

    def construct(self, logits: Tensor, uniform: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Any:
        """logits: float32 (rows, vocab). uniform: float32 (rows,), from [0, 1). The others: of SamplingTensors. int32
        (rows,)."""
        if _run_in_jit():  # @jit.cond: True
            return self.kernel(logits, uniform, temperature, top_k, top_p)[0]
        arrays = [x.asnumpy() for x in (logits, uniform, temperature, top_k, top_p)]
        return Tensor.from_numpy(self.kernel.function(*arrays)[0])


class _Sample:
    def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray]:
        return (sample_rows(*arrays),)
