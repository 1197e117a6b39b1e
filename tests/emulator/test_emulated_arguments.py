"""Arguments as the C++ side hands them over: what is read of them, and what is refused before an operator sees them."""

import ctypes

import numpy as np
import pytest
from ascend_emulator.arguments import SCALAR, TENSOR, WORD, Argument, of_aclnn
from ascend_emulator.device_tensor import BFLOAT16
from ascend_emulator.refusal import INNER_ERROR, INVALID_PARAMETER, NULL_POINTER
from ascend_emulator.signature import parse
from emulated_calls import refused

MEMORY = np.arange(6, dtype=np.float32)
LAYOUT = ctypes.c_char_p(b"BSND")


def struct(**change):
    """Of a tensor (2, 3)."""
    plain = {"tag": TENSOR, "dtype": 0, "ndim": 2, "format": 2, "data": MEMORY.ctypes.data, "size": 6}
    made = Argument(**(plain | change))
    made.dims[:2], made.strides[:2] = (2, 3), (3, 1)
    return made


def word(number=0):
    return Argument(tag=WORD, integer=number)


def read(kind, argument):
    return of_aclnn(parse(f"aclnnAny(x: {kind})"), (Argument * 1)(argument), 1, None).x


def test_what_is_read():
    assert read("tensor", struct()).array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read("dtype", word(27)) == BFLOAT16
    assert read("int", word(-3)) == -3
    assert read("string", word(ctypes.cast(LAYOUT, ctypes.c_void_p).value)) == "BSND"
    assert read("tensor?", word()) is None and read("string?", word()) is None


@pytest.mark.parametrize(
    "kind, argument, message, status",
    [
        ("tensor", word(), "x: null pointer", NULL_POINTER),
        ("string", word(), "x: null pointer", NULL_POINTER),
        ("tensor", struct(data=None), "x: a tensor of shape .2, 3. without memory", NULL_POINTER),
        ("tensor", struct(size=5), "offset 0 reach element 5, the storage has 5", INVALID_PARAMETER),
        ("tensor", struct(offset=1), "offset 1 reach element 6, the storage has 6", INVALID_PARAMETER),
        ("tensor", struct(dtype=36), "x: aclDataType 36 is not emulated", INVALID_PARAMETER),
        ("dtype", word(36), "x: aclDataType 36 is not emulated", INVALID_PARAMETER),
        ("tensor", struct(tag=SCALAR), "x: not a tensor .object of kind 2.", INNER_ERROR),
        ("int", struct(), "x: an object of kind 1 where int is documented", INNER_ERROR),
    ],
)
def test_what_is_refused(kind, argument, message, status):
    with refused(message, status):
        read(kind, argument)
