"""From the words of a call, as the C++ side hands them over, to the objects that an operator works on."""

from __future__ import annotations

import ctypes
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np

from ascend_emulator.device_tensor import ACL_DTYPES, FORMATS, DeviceTensor
from ascend_emulator.refusal import INNER_ERROR, NULL_POINTER, Refused, require
from ascend_emulator.signature import Parameter, Signature

# The tags of src/argument.h
NONE, TENSOR, SCALAR, INTS, FLOATS, BOOLS, TENSORS, WORD = range(8)
NUMBER_INT, NUMBER_REAL, STRING, NUMBERS_INT, NUMBERS_REAL = range(8, 13)
SCALARS = 15
KINDS = {"tensor": TENSOR, "scalar": SCALAR, "ints": INTS, "floats": FLOATS, "bools": BOOLS, "tensors": TENSORS,
         "scalars": SCALARS}  # fmt: skip


class Argument(ctypes.Structure):
    """struct Argument of src/argument.h."""


Argument._fields_ = [
    ("tag", ctypes.c_int32),
    ("dtype", ctypes.c_int32),
    ("ndim", ctypes.c_int32),
    ("format", ctypes.c_int32),
    ("dims", ctypes.c_int64 * 8),
    ("strides", ctypes.c_int64 * 8),
    ("offset", ctypes.c_int64),
    ("data", ctypes.c_void_p),
    ("size", ctypes.c_int64),
    ("integer", ctypes.c_int64),
    ("real", ctypes.c_double),
    ("items", ctypes.POINTER(Argument)),
    ("num_items", ctypes.c_int64),
    ("name", ctypes.c_char_p),
]


def of_aclnn(
    signature: Signature, words: Any, num_words: int, reals: Any, may_lack_memory: bool = False
) -> SimpleNamespace:
    """words: Argument array of the integer-class arguments, in order. reals: double pointer to the floating-point
    registers, two doubles each. may_lack_memory: tensors without an address are allowed, as they are where the
    workspace is asked for; they read as zeros. Raises Refused for another number of words than documented, a null
    pointer where none is allowed, or an object of another kind."""
    require(
        num_words == signature.num_words,
        f"called with {num_words} arguments in integer registers and on the stack, CANN's header has "
        f"{signature.num_words}: ({', '.join(p.name for p in signature.parameters)})",
        INNER_ERROR,
    )
    values, word, real = {}, 0, 0
    for parameter in signature.parameters:
        if parameter.is_real:
            values[parameter.name] = _real(parameter, reals, real)
            real += 1
        else:
            values[parameter.name] = _word(parameter, words[word], may_lack_memory)
            word += 1
    return SimpleNamespace(**values)


def of_kernel(words: Any, num_words: int) -> SimpleNamespace:
    """Of an aclop or internal operator: inputs, outputs and attributes in one array, told apart by tag and name."""
    inputs, outputs, attributes = [], [], {}
    for i in range(num_words):
        argument = words[i]
        if argument.tag in (TENSOR, WORD, NONE):
            group, what = (outputs, "output") if argument.integer else (inputs, "input")
            group.append(tensor(argument, f"{what} {len(group)}") if argument.tag == TENSOR else None)
        else:
            attributes[argument.name.decode()] = _attribute(argument)
    return SimpleNamespace(inputs=inputs, outputs=outputs, attributes=attributes)


def tensor(argument: Argument, name: str, may_lack_memory: bool = False) -> DeviceTensor:
    dtype = ACL_DTYPES.get(argument.dtype)
    if dtype is None:
        raise Refused(f"{name}: aclDataType {argument.dtype} is not emulated")
    shape = tuple(argument.dims[: argument.ndim])
    strides = tuple(argument.strides[: argument.ndim])
    form = FORMATS.get(argument.format, str(argument.format))
    if 0 in shape:
        return DeviceTensor(name, np.zeros(shape, dtype), form, argument.offset, argument.size, argument)
    require(argument.data or may_lack_memory, f"{name}: a tensor of shape {shape} without memory", NULL_POINTER)
    last = argument.offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    require(
        last < max(argument.size, 1),
        f"{name}: shape {shape}, strides {strides} and offset {argument.offset} reach element {last}, the storage "
        f"has {argument.size}",
    )
    num_bytes = (last + 1) * dtype.itemsize
    memory = (ctypes.c_char * num_bytes).from_address(argument.data) if argument.data else np.zeros(num_bytes, np.uint8)
    flat = np.frombuffer(memory, np.uint8).view(dtype)[argument.offset :]
    steps = tuple(step * dtype.itemsize for step in strides)
    view = np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=True)
    return DeviceTensor(name, view, form, argument.offset, argument.size, argument)


def _word(parameter: Parameter, argument: Argument, may_lack_memory: bool) -> Any:
    name, kind = parameter.name, parameter.kind
    if kind in KINDS:
        if (argument.tag == WORD and argument.integer == 0) or argument.tag == NONE:
            require(parameter.is_optional, f"{name}: null pointer", NULL_POINTER)
            return None
        require(argument.tag == KINDS[kind], f"{name}: not a {kind} (object of kind {argument.tag})", INNER_ERROR)
        return _object(kind, argument, name, may_lack_memory)
    require(argument.tag == WORD, f"{name}: an object of kind {argument.tag} where {kind} is documented", INNER_ERROR)
    word = argument.integer
    if kind == "string":
        if word == 0:
            require(parameter.is_optional, f"{name}: null pointer", NULL_POINTER)
            return None
        return ctypes.string_at(word).decode()
    if kind == "int8":
        return ctypes.c_int8(word & 0xFF).value
    if kind == "bool":
        return bool(word & 0xFF)
    if kind == "int32":
        return ctypes.c_int32(word & 0xFFFFFFFF).value
    if kind == "dtype":
        number = ctypes.c_int32(word & 0xFFFFFFFF).value
        require(number in ACL_DTYPES, f"{name}: aclDataType {number} is not emulated")
        return ACL_DTYPES[number]
    return word


def _object(kind: str, argument: Argument, name: str, may_lack_memory: bool) -> Any:
    if kind == "tensor":
        return tensor(argument, name, may_lack_memory)
    if kind == "scalar":
        return scalar(argument, name)
    if kind == "ints":
        return np.frombuffer(ctypes.string_at(argument.data, argument.size * 8), np.int64).tolist()
    if kind == "floats":
        return np.frombuffer(ctypes.string_at(argument.data, argument.size * 4), np.float32).tolist()
    if kind == "bools":
        return [bool(byte) for byte in ctypes.string_at(argument.data, argument.size)]
    items = [(argument.items[i], f"{name}[{i}]") for i in range(argument.num_items)]
    if kind == "tensors":
        return [tensor(item, item_name, may_lack_memory) for item, item_name in items]
    return [scalar(item, item_name) for item, item_name in items]


def scalar(argument: Argument, name: str) -> Any:
    dtype = ACL_DTYPES.get(argument.dtype)
    if dtype is None:
        raise Refused(f"{name}: aclDataType {argument.dtype} is not emulated")
    # a numpy scalar: the number, and the dtype that it was made with
    return np.frombuffer(ctypes.string_at(argument.data, dtype.itemsize), np.uint8).view(dtype)[0]


def _real(parameter: Parameter, reals: Any, place: int) -> float:
    word = struct.pack("<d", reals[2 * place])
    return struct.unpack("<f", word[:4])[0] if parameter.kind == "float" else struct.unpack("<d", word)[0]


def _attribute(argument: Argument) -> Any:
    if argument.tag == NUMBER_INT:
        return argument.integer
    if argument.tag == NUMBER_REAL:
        return argument.real
    if argument.tag == STRING:
        return ctypes.string_at(argument.data).decode()
    kind = np.int64 if argument.tag == NUMBERS_INT else np.float32
    return np.frombuffer(ctypes.string_at(argument.data, argument.size * np.dtype(kind).itemsize), kind).tolist()
