"""One valid call of each basic operator of the aclnn interface, for tests that then break one limit after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ascend_emulator.device_tensor import BOOL, FLOAT32, INT32, INT64
from emulated_calls import empty, tensor

Call = dict[str, Any]
CASES: dict[str, Callable[[], Call]] = {}


def ones(*shape: int, dtype: np.dtype = FLOAT32) -> Any:
    return tensor(np.ones(shape), dtype)


def integers(*shape: int) -> Any:
    return ones(*shape, dtype=INT64)


def outputs(**shapes: tuple[int, ...]) -> Call:
    return {name: empty(shape, FLOAT32, name) for name, shape in shapes.items()}


def case(names: str, make: Callable[[], Call]) -> None:
    for name in names.split():
        CASES[f"aclnn{name}"] = make


# ---- element-wise ----------------------------------------------------------------------------------------------------
case(
    "Neg Exp Log Sqrt Rsqrt Sin Cos Tanh Reciprocal Floor Ceil Trunc Sign Abs Erf",
    lambda: {"self": ones(2, 3), **outputs(out=(2, 3))},
)
case("InplaceExp InplaceLog InplaceTanh InplaceFloor InplaceZero InplaceOne", lambda: {"selfRef": ones(2, 3)})
case("IsFinite IsInf LogicalNot", lambda: {"self": ones(2, 3), "out": empty((2, 3), BOOL)})
case("BitwiseNot", lambda: {"self": integers(2, 3), "out": empty((2, 3), INT64)})
case("Add Sub", lambda: {"self": ones(2, 3), "other": ones(2, 1), "alpha": 1, **outputs(out=(2, 3))})
case("Adds Subs", lambda: {"self": ones(2, 3), "other": 1, "alpha": 1, **outputs(out=(2, 3))})
case("InplaceAdd InplaceSub", lambda: {"selfRef": ones(2, 3), "other": ones(2, 1), "alpha": 1})
case("InplaceAdds InplaceSubs", lambda: {"selfRef": ones(2, 3), "other": 1, "alpha": 1})
case(
    "Mul Div FloorDivide RemainderTensorTensor Maximum Minimum DivMod",
    lambda: {"self": ones(2, 3), "other": ones(2, 1), **outputs(out=(2, 3))},
)
case(
    "Muls Divs FloorDivides RemainderTensorScalar DivMods",
    lambda: {"self": ones(2, 3), "other": 1.0, **outputs(out=(2, 3))},
)
case(
    "InplaceMul InplaceDiv InplaceFloorDivide InplaceRemainderTensorTensor InplaceDivMod",
    lambda: {"selfRef": ones(2, 3), "other": ones(2, 1)},
)
case(
    "InplaceMuls InplaceDivs InplaceFloorDivides InplaceRemainderTensorScalar InplaceDivMods",
    lambda: {"selfRef": ones(2, 3), "other": 1.0},
)
case("PowTensorTensor", lambda: {"self": ones(2, 3), "exponent": ones(2, 1), **outputs(out=(2, 3))})
case("PowTensorScalar", lambda: {"self": ones(2, 3), "exponent": 2, **outputs(out=(2, 3))})
case("PowScalarTensor", lambda: {"self": 2.0, "exponent": ones(2, 3), **outputs(out=(2, 3))})
case(
    "BitwiseAndTensor BitwiseOrTensor BitwiseXorTensor",
    lambda: {"self": integers(2, 3), "other": integers(2, 1), "out": empty((2, 3), INT64)},
)
case("BitwiseAndScalar BitwiseOrScalar", lambda: {"self": integers(2, 3), "other": 1, "out": empty((2, 3), INT64)})
case("Clamp", lambda: {"self": ones(2, 3), "clipValueMin": 0.0, "clipValueMax": 1.0, **outputs(out=(2, 3))})
case(
    "ClampTensor",
    lambda: {"self": ones(2, 3), "clipValueMin": ones(2, 1), "clipValueMax": ones(3), **outputs(out=(2, 3))},
)

# ---- comparison ------------------------------------------------------------------------------------------------------
case(
    "EqTensor NeTensor GtTensor GeTensor LtTensor LeTensor LogicalAnd LogicalOr LogicalXor",
    lambda: {"self": ones(2, 3), "other": ones(2, 1), "out": empty((2, 3), BOOL)},
)
case("EqScalar NeScalar GeScalar", lambda: {"self": ones(2, 3), "other": 1.0, "out": empty((2, 3), BOOL)})
case(
    "SWhere", lambda: {"condition": ones(3, dtype=BOOL), "self": ones(2, 3), "other": ones(2, 1), **outputs(out=(2, 3))}
)
case("InplaceMaskedFillScalar", lambda: {"selfRef": ones(2, 3), "mask": ones(3, dtype=BOOL), "value": 1.0})
case("InplaceMaskedFillTensor", lambda: {"selfRef": ones(2, 3), "mask": ones(3, dtype=BOOL), "value": ones()})

# ---- reduction -------------------------------------------------------------------------------------------------------
case("ReduceSum", lambda: {"self": ones(2, 3), "dims": [1], "keepDims": True, "dtype": FLOAT32, **outputs(out=(2, 1))})
case("Mean", lambda: {"self": ones(2, 3), "dim": [1], "keepDim": True, "dtype": FLOAT32, **outputs(out=(2, 1))})
case("Amax Amin", lambda: {"self": ones(2, 3), "dim": [1], "keepDim": True, **outputs(out=(2, 1))})
case("Max Min", lambda: {"self": ones(2, 3), **outputs(out=(1,))})
case(
    "MaxDim MinDim",
    lambda: {"self": ones(2, 3), "dim": 1, "keepdim": True, **outputs(out=(2, 1)), "indices": empty((2, 1), INT32)},
)
case("ArgMax ArgMin", lambda: {"self": ones(2, 3), "dim": 1, "keepdim": True, "out": empty((2, 1), INT64)})
case("All Any", lambda: {"self": ones(2, 3), "dim": [1], "keepdim": True, "out": empty((2, 1), BOOL)})
case("Prod", lambda: {"self": ones(2, 3), "dtype": FLOAT32, **outputs(out=())})
case("ProdDim", lambda: {"self": ones(2, 3), "dim": 1, "keepDim": True, "dtype": FLOAT32, **outputs(out=(2, 1))})
case("Std", lambda: {"self": ones(2, 3), "dim": [1], "correction": 1, "keepdim": True, **outputs(out=(2, 1))})

# ---- ordering --------------------------------------------------------------------------------------------------------
case("Sort", lambda: {"self": ones(2, 3), "dim": 1, **outputs(valuesOut=(2, 3)), "indicesOut": empty((2, 3), INT64)})
case(
    "Topk",
    lambda: {
        "self": ones(2, 3),
        "k": 2,
        "dim": 1,
        "sorted": True,
        **outputs(valuesOut=(2, 2)),
        "indicesOut": empty((2, 2), INT64),
    },
)
case("Cumsum", lambda: {"self": ones(2, 3), "dim": 1, "dtype": FLOAT32, **outputs(out=(2, 3))})
case(
    "SearchSorted",
    lambda: {
        "sortedSequence": ones(2, 3),
        "self": ones(2, 4),
        "sorter": tensor(np.zeros((2, 3)), INT64),
        "out": empty((2, 4), INT64),
    },
)

# ---- indexing --------------------------------------------------------------------------------------------------------
case("Embedding", lambda: {"weight": ones(4, 3), "indices": integers(2), **outputs(out=(2, 3))})
case("IndexSelect", lambda: {"self": ones(4, 3), "dim": 0, "index": integers(2), **outputs(out=(2, 3))})
case("Gather", lambda: {"self": ones(4, 3), "dim": 0, "index": integers(2, 3), **outputs(out=(2, 3))})
case("Nonzero", lambda: {"self": ones(2, 3), "out": empty((6, 2), INT64)})
case("NonzeroV2", lambda: {"self": ones(2, 3), "out": empty((2, 6), INT64)})
case("MaskedSelect", lambda: {"self": ones(2, 3), "mask": ones(3, dtype=BOOL), **outputs(out=(6,))})
case(
    "Scatter", lambda: {"self": ones(4, 3), "dim": 0, "index": integers(2, 3), "src": ones(2, 3), **outputs(out=(4, 3))}
)
case("InplaceScatter", lambda: {"selfRef": ones(4, 3), "dim": 0, "index": integers(2, 3), "src": ones(2, 3)})
case(
    "ScatterValue", lambda: {"self": ones(4, 3), "dim": 0, "index": integers(2, 3), "value": 1.0, **outputs(out=(4, 3))}
)
case("InplaceScatterValue", lambda: {"selfRef": ones(4, 3), "dim": 0, "index": integers(2, 3), "value": 1.0})
case(
    "ScatterAdd",
    lambda: {"self": ones(4, 3), "dim": 0, "index": integers(2, 3), "src": ones(2, 3), **outputs(out=(4, 3))},
)
case(
    "IndexAdd",
    lambda: {
        "self": ones(4, 3),
        "dim": 0,
        "index": integers(2),
        "source": ones(2, 3),
        "alpha": 1,
        **outputs(out=(4, 3)),
    },
)
case("Index", lambda: {"self": ones(4, 3), "indices": [integers(2)], **outputs(out=(2, 3))})
case("IndexPutImpl", lambda: {"selfRef": ones(4, 3), "indices": [integers(2)], "values": ones(2, 3)})
case(
    "OneHot",
    lambda: {
        "self": integers(2),
        "numClasses": 3,
        "onValue": ones(1),
        "offValue": ones(1),
        "axis": -1,
        **outputs(out=(2, 3)),
    },
)

# ---- creation and random ---------------------------------------------------------------------------------------------
case("Arange", lambda: {"start": 0, "end": 3, "step": 1, **outputs(out=(3,))})
case("Linspace", lambda: {"start": 0, "end": 3, "steps": 3, **outputs(out=(3,))})
case("InplaceFillScalar", lambda: {"selfRef": ones(2, 3), "value": 1.0})
case("InplaceFillTensor", lambda: {"selfRef": ones(2, 3), "value": ones(1)})
case("Eye", lambda: {"n": 2, "m": 3, **outputs(out=(2, 3))})
case("Triu Tril", lambda: {"self": ones(2, 3), "diagonal": 0, **outputs(out=(2, 3))})
case("InplaceUniform", lambda: {"selfRef": ones(2, 3), "from_": 0.0, "to": 1.0})
case("InplaceNormal", lambda: {"selfRef": ones(2, 3), "mean": 0.0, "std": 1.0})
case("InplaceRandom", lambda: {"selfRef": ones(2, 3), "from_": 0, "to": 2})
case("InplaceBernoulli", lambda: {"selfRef": ones(2, 3), "prob": 0.5})
case("Multinomial", lambda: {"self": ones(2, 3), "numsamples": 4, "replacement": True, "out": empty((2, 4), INT64)})
case("Randperm", lambda: {"n": 3, "out": empty((3,), INT64)})

# ---- layout ----------------------------------------------------------------------------------------------------------
case("Permute", lambda: {"self": ones(2, 3), "dims": [1, 0], **outputs(out=(3, 2))})
case("Cast", lambda: {"self": ones(2, 3), "dtype": FLOAT32, **outputs(out=(2, 3))})
case("InplaceCopy", lambda: {"selfRef": ones(2, 3), "src": ones(3)})
case("Expand", lambda: {"self": ones(2, 1), "size": [2, 3], **outputs(out=(2, 3))})
case("Flip", lambda: {"self": ones(2, 3), "dims": [0], **outputs(out=(2, 3))})
case("Roll", lambda: {"x": ones(2, 3), "shifts": [1], "dims": [0], **outputs(out=(2, 3))})
case("Cat", lambda: {"tensors": [ones(2, 3), ones(1, 3)], "dim": 0, **outputs(out=(3, 3))})
case("Stack", lambda: {"tensors": [ones(2, 3), ones(2, 3)], "dim": 0, **outputs(out=(2, 2, 3))})
case(
    "SplitWithSize",
    lambda: {
        "self": ones(3, 2),
        "splitSize": [1, 2],
        "dim": 0,
        "out": [empty((1, 2), FLOAT32), empty((2, 2), FLOAT32)],
    },
)
case(
    "SplitTensor",
    lambda: {"self": ones(3, 2), "splitSections": 2, "dim": 0, "out": [empty((2, 2), FLOAT32), empty((1, 2), FLOAT32)]},
)
case("Repeat", lambda: {"self": ones(2, 3), "repeats": [2, 1], **outputs(out=(4, 3))})
case(
    "RepeatInterleave",
    lambda: {"self": ones(2, 3), "repeats": ones(1, dtype=INT32), "outputSize": 6, **outputs(out=(6,))},
)
case("RepeatInterleaveInt", lambda: {"self": ones(2, 3), "repeats": 1, "outputSize": 6, **outputs(out=(6,))})
case(
    "RepeatInterleaveWithDim",
    lambda: {"self": ones(2, 3), "repeats": ones(1, dtype=INT32), "dim": 0, "outputSize": 2, **outputs(out=(2, 3))},
)
case(
    "RepeatInterleaveIntWithDim",
    lambda: {"self": ones(2, 3), "repeats": 1, "dim": 0, "outputSize": 2, **outputs(out=(2, 3))},
)
case("Slice", lambda: {"self": ones(4, 3), "dim": 0, "start": 1, "end": 3, "step": 1, **outputs(out=(2, 3))})
case("ConstantPadNd", lambda: {"self": ones(2, 3), "pad": [1, 0], "value": 0, **outputs(out=(2, 4))})
