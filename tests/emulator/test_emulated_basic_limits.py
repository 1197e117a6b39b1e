"""Every basic operator of the table: one call that CANN takes, and what is refused when one thing of it is changed."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
from ascend_emulator import dispatch
from ascend_emulator.device_tensor import ACL_DTYPES, DeviceTensor
from ascend_emulator.refusal import INVALID_PARAMETER, Refused
from ascend_emulator.table import OPERATORS
from emulated_calls import call, operator, tensor
from emulated_cases import CASES

MODULES = (
    *("arithmetic", "clamping", "comparison", "creation", "elementwise", "indexing", "layout", "ordering", "random"),
    *("reduction", "repeating", "scattering", "slicing"),
)
# Documents without a maximum of dimensions, or where the tensor's own limit is of another kind
WITHOUT_MAX_RANK = {"aclnnInplaceZero", "aclnnInplaceOne"}
# Tensors whose documents list every dtype that is emulated
EVERY_DTYPE = {
    ("aclnnGtTensor", "out"),
    ("aclnnGeTensor", "out"),
    ("aclnnLtTensor", "out"),
    ("aclnnLeTensor", "out"),
    ("aclnnGeScalar", "out"),
    ("aclnnSWhere", "out"),
    ("aclnnInplaceFillScalar", "selfRef"),
    ("aclnnCast", "self"),
    ("aclnnInplaceCopy", "src"),
}


def tensors_of(values):
    """(name, place in a list or None, tensor) of a call."""
    for name, value in values.items():
        for place, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(item, DeviceTensor):
                yield name, place, item


def changed(name, parameter, place, tensor):
    """A fresh call of the operator with one tensor replaced."""
    values = CASES[name]()
    if place is None:
        values[parameter] = tensor
    else:
        values[parameter][place] = tensor
    return values


def status_of(name, values):
    """0, or the status of the refusal. Whatever else is raised is a fault of the emulator."""
    found = operator("aclnn", name)
    given = {p.name: values.get(p.name, None if p.is_optional else 0) for p in found.signature.parameters}
    try:
        dispatch.check(found, type("Arguments", (), given))
    except Refused as refusal:
        return refusal.status
    return 0


PARAMETERS = [(name, p, place) for name in CASES for p, place, _ in tensors_of(CASES[name]())]


def test_every_basic_operator_has_a_case():
    modules = {f"ascend_emulator.operators.{name}" for name in MODULES}
    names = {
        name for (kind, name), found in OPERATORS.items() if found.compute.__module__ in modules and kind == "aclnn"
    }
    assert names == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_case_is_taken(name):
    call(name, **CASES[name]())


def test_null_pointers_are_optional_where_documented():
    optional = {(name, p.name) for name in CASES for p in operator("aclnn", name).signature.parameters if p.is_optional}
    assert optional == {
        ("aclnnClamp", "clipValueMin"),
        ("aclnnClamp", "clipValueMax"),
        ("aclnnSearchSorted", "sorter"),
        ("aclnnStd", "dim"),
    }


@pytest.mark.parametrize("name, parameter, place", PARAMETERS)
def test_a_wrong_dtype_is_refused(name, parameter, place):
    original = {(p, i): tensor for p, i, tensor in tensors_of(CASES[name]())}[parameter, place]
    statuses = {}
    for dtype in ACL_DTYPES.values():
        other = dataclasses.replace(original, array=original.array.astype(dtype))
        statuses[dtype] = status_of(name, changed(name, parameter, place, other))
    assert set(statuses.values()) == ({0} if (name, parameter) in EVERY_DTYPE else {0, INVALID_PARAMETER})
    assert statuses[original.dtype] == 0


# aclDataType has it; no document here lists it for A2 and A3 cards
FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)


@pytest.mark.parametrize("name, parameter, place", PARAMETERS)
def test_a_dtype_of_newer_cards_is_refused(name, parameter, place):
    original = {(p, i): tensor for p, i, tensor in tensors_of(CASES[name]())}[parameter, place]
    other = dataclasses.replace(original, array=original.array.astype(FLOAT8))
    assert status_of(name, changed(name, parameter, place, other)) == INVALID_PARAMETER


SCALARS = [
    (name, parameter.name)
    for name in CASES
    for parameter in operator("aclnn", name).signature.parameters
    if parameter.kind == "scalar"
]


@pytest.mark.parametrize("name, parameter", SCALARS)
def test_a_scalar_of_a_wrong_dtype_is_refused(name, parameter):
    statuses = set()
    for dtype in ACL_DTYPES.values():
        values = CASES[name]()
        values[parameter] = np.asarray(values[parameter]).astype(dtype)[()]
        statuses.add(status_of(name, values))
    # the document of InplaceFillScalar lists every dtype
    assert statuses == ({0} if name == "aclnnInplaceFillScalar" else {0, INVALID_PARAMETER})


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_MAX_RANK])
def test_nine_dimensions_are_refused(name):
    values = CASES[name]()
    for parameter, place, given in list(tensors_of(values)):
        deep = dataclasses.replace(given, array=given.array.reshape((1,) * (9 - given.ndim) + given.shape))
        values[parameter] = (
            deep if place is None else [*values[parameter][:place], deep, *values[parameter][place + 1 :]]
        )
    assert status_of(name, values) == INVALID_PARAMETER


OUTPUTS = [row for row in PARAMETERS if row[1] in ("out", "valuesOut", "indicesOut")]
OUTPUTS += [(name, "indices", None) for name in ("aclnnMaxDim", "aclnnMinDim")]


@pytest.mark.parametrize("name, parameter, place", OUTPUTS)
def test_another_shape_of_the_output_is_refused(name, parameter, place):
    original = {(p, i): tensor for p, i, tensor in tensors_of(CASES[name]())}[parameter, place]
    for shape in ((*original.shape, 2), (7, 5), (0,)):
        other = dataclasses.replace(original, array=np.zeros(shape, original.dtype))
        assert status_of(name, changed(name, parameter, place, other)) == INVALID_PARAMETER, shape


def refuses(name, **values):
    return status_of(name, CASES[name]() | values) == INVALID_PARAMETER


def test_limits_that_few_operators_have():
    flat = tensor(np.ones((2, 3)), np.float32)
    turned = tensor(np.zeros((2, 6), np.int64).T, None, "out")
    assert refuses("aclnnNonzero", out=turned)
    assert refuses("aclnnMaskedSelect", out=tensor(np.zeros(12, np.float32)[::2], None, "out"))
    assert refuses("aclnnIndexAdd", index=tensor([[0, 1]], np.int64))
    assert refuses("aclnnScatter", src=tensor(np.ones((1, 2, 3)), np.float32))
    assert refuses("aclnnCat", tensors=[])
    assert refuses("aclnnRepeatInterleaveInt", repeats=-1, outputSize=-6)
    assert refuses("aclnnRepeatInterleave", repeats=tensor([[1]], np.int32))
    assert refuses("aclnnSearchSorted", sorter=tensor(np.zeros((2, 2)), np.int64))
    assert refuses("aclnnSearchSorted", self=tensor(np.ones((3, 4)), np.float32), out=tensor(np.ones((3, 4)), np.int64))
    assert refuses("aclnnInplaceUniform", selfRef=tensor([1], np.uint8), from_=-1.0, to=1.0)
    assert refuses("aclnnInplaceRandom", selfRef=tensor([1], np.uint8), from_=-1, to=1)
    assert refuses("aclnnMean", dtype=np.dtype(np.bool_))
    assert refuses("aclnnInplaceFillScalar", value=FLOAT8.type(1))
    empty = tensor(np.ones((2, 0)), np.float32)
    complex_out = tensor([[0], [0]], np.complex64, "out")
    complex64 = np.dtype(np.complex64)
    assert refuses("aclnnMean", self=empty, dtype=complex64, out=complex_out)
    assert refuses("aclnnProdDim", self=empty, dtype=complex64, out=complex_out)
    assert refuses("aclnnArgMax", self=empty)
    assert refuses("aclnnMax", self=tensor([1], np.complex64), out=tensor([1], np.complex64))
    assert refuses(
        "aclnnEmbedding", indices=tensor(np.ones((1,) * 8), np.int64), out=tensor(np.ones((1,) * 8 + (3,)), np.float32)
    )
    assert not refuses("aclnnScatter", src=flat)
