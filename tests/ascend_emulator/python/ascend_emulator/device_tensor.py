"""A tensor in emulated device memory, as an operator sees it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from ascend_emulator.refusal import require

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
INT8, INT16, INT32, INT64 = (np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64))
UINT8, UINT16, UINT32, UINT64 = (np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))
BOOL, COMPLEX64, COMPLEX128 = np.dtype(np.bool_), np.dtype(np.complex64), np.dtype(np.complex128)
HALVES = (FLOAT16, BFLOAT16)
FLOATS = (FLOAT32, FLOAT16, BFLOAT16)

# aclDataType of acl_base.h
ACL_DTYPES = {
    0: FLOAT32, 1: FLOAT16, 2: INT8, 3: INT32, 4: UINT8, 6: INT16, 7: UINT16, 8: UINT32, 9: INT64, 10: UINT64,
    11: FLOAT64, 12: BOOL, 16: COMPLEX64, 17: COMPLEX128, 27: BFLOAT16,
}  # fmt: skip
# aclFormat of acl_base.h
FORMATS = {
    -1: "UNDEFINED", 0: "NCHW", 1: "NHWC", 2: "ND", 3: "NC1HWC0", 4: "FRACTAL_Z", 29: "FRACTAL_NZ", 30: "NCDHW",
    47: "NCL",
}  # fmt: skip


@dataclass(frozen=True)
class DeviceTensor:
    """array: a writable view of device memory with the tensor's shape and strides. storage: elements behind the address
    that the tensor was made with; offset: elements before its first one. argument: the struct that it was read from."""

    name: str
    array: np.ndarray
    format: str = "ND"
    offset: int = 0
    storage: int = 0
    argument: Any = None

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def size(self) -> int:
        return self.array.size

    @property
    def is_contiguous(self) -> bool:
        return self.array.flags.c_contiguous

    def wide(self) -> np.ndarray:
        """The values to compute with: half precision as float32, everything else as it is."""
        return self.array.astype(np.float32) if self.dtype in HALVES else self.array

    def put_first(self, values: np.ndarray) -> None:
        """Write an output whose size depends on the data: the values at its beginning, and their shape as the tensor's
        (aclGetViewShape). The tensor is contiguous and its storage has room for the largest result. An executor that
        is run again still has the last result's shape, so it is the storage that counts."""
        flat = self.array.reshape(-1)
        if self.argument is not None and self.argument.data:
            room = (ctypes.c_char * (values.size * self.dtype.itemsize)).from_address(
                self.argument.data + self.offset * self.dtype.itemsize
            )
            flat = np.frombuffer(room, np.uint8).view(self.dtype)
            require(
                self.offset + values.size <= self.storage,
                f"{self.name}: storage of {self.storage} elements, the result has {values.size}",
            )
        flat[: values.size] = values.reshape(-1)
        if self.argument is not None:
            self.argument.dims[: values.ndim] = values.shape

    def put(self, values: object) -> None:
        """Write values of any dtype, rounded once to this tensor's. Their shape must be this tensor's, or broadcast to
        it."""
        values = np.asarray(values)
        if self.dtype == BOOL:
            values = values != 0
        with np.errstate(all="ignore"):
            self.array[...] = values.astype(self.dtype) if values.dtype != self.dtype else values


def require_dtype(tensor: DeviceTensor, *allowed: np.dtype) -> None:
    require(
        tensor.dtype in allowed,
        f"{tensor.name}: dtype {tensor.dtype}, allowed: {', '.join(str(dtype) for dtype in allowed)}",
    )


def require_rank(tensor: DeviceTensor, lowest: int, highest: int | None = None) -> None:
    highest = lowest if highest is None else highest
    allowed = str(lowest) if lowest == highest else f"{lowest} to {highest}"
    require(lowest <= tensor.ndim <= highest, f"{tensor.name}: shape {tensor.shape}, allowed: {allowed} dimensions")


def require_shape(tensor: DeviceTensor, expected: tuple[int, ...]) -> None:
    require(tensor.shape == tuple(expected), f"{tensor.name}: shape {tensor.shape}, expected {tuple(expected)}")


def require_same_dtype(*tensors: DeviceTensor) -> None:
    first = tensors[0]
    for other in tensors[1:]:
        require(
            other.dtype == first.dtype,
            f"{other.name}: dtype {other.dtype}, expected that of {first.name}, {first.dtype}",
        )


def require_contiguous(*tensors: DeviceTensor) -> None:
    """For the tensors whose column "non-contiguous" in CANN's document says no."""
    for tensor in tensors:
        require(tensor.is_contiguous, f"{tensor.name}: not contiguous, which the operator does not support")
