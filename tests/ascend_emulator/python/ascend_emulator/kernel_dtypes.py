"""Combinations of dtypes that MindSpore's internal kernels are registered for on A2 and A3 cards.

Source: IsInternalKernelDtypesSupported of libms_kernels_internal.so in the wheel of MindSpore 2.7.1, asked for every
combination. f: float32, h: float16, b: bfloat16, i: int32, l: int64, c: int8, ?: bool, -: left out. MindSpore asks the
same before it chooses an internal kernel; a call outside this table is a fault on the way here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ascend_emulator.device_tensor import (
    BFLOAT16,
    BOOL,
    FLOAT16,
    FLOAT32,
    INT8,
    INT32,
    INT64,
    DeviceTensor,
)
from ascend_emulator.refusal import require

_LETTERS = {FLOAT32: "f", FLOAT16: "h", BFLOAT16: "b", INT32: "i", INT64: "l", INT8: "c", BOOL: "?"}

# Inputs, then outputs
REGISTERED = {
    "Matmul": "hh h,bb b,hhh h,hhf h,bbf b,bbb b",
    "MultiWeightMatmul": "hh hh,bb bb,hh hhh,bb bbb,hhh hh,hhf hh,bbf bb,hhh hhh,hhf hhh,bbf bbb",
    "RmsNorm": "hh hf,bb bf",
    "AddRmsNorm": "hhh hfh,hhf hfh,fff fff,bbf bfb,bbb bfb",
    "ApplyRotaryPosEmb": "hhhhi hh,hhffi hh,bbffi bb,bbbbi bb",
    "SwiGLU": "h h,f f,b b",
    "Swish": "h h,b b",
    "GeLU": "h h,f f,b b",
    "FastGeLU": "h h",
    "Softmax": "h h,f f",
    "Gather": "hi h,hl h,fi f,fl f,ii i,il i,bi b,bl b",
    "Transpose": "h h,l l,b b",
    "Cast": "f h,b h,? h,c h,h f,i f,l f,b f,? f,c f,l i,i l,h b,f b,? b,c b,h c",
    "Add": "hh h,ff f,bb b",
    "Sub": "hh h,ll l,bb b",
    "Mul": "hh h,ff f,bb b",
    "RealDiv": "hh h",
    "NotEqual": "hh ?,ff ?,ii ?",
    "LogicalNot": "c ?",
    "ReduceSum": "h h",
    "ReshapeAndCache": "hhhhi,bbbbi",
    # int8 caches (scale and offset, inputs 5 and 6) are not emulated
    "PagedAttention": "hhhii--- h,hhhii--h h,bbbii--- b,bbbii--b b",
    "FlashAttentionScore": "hhh-- h,bbb-- b",
}
TABLE = {name: {tuple(one.split(" ")) for one in listed.split(",")} for name, listed in REGISTERED.items()}


def letters(tensors: Sequence[DeviceTensor | None]) -> str:
    return "".join("-" if tensor is None else _LETTERS.get(tensor.dtype, "x") for tensor in tensors)


def require_registered(
    name: str, inputs: Sequence[DeviceTensor | None], outputs: Sequence[DeviceTensor | None]
) -> None:
    """outputs: those that have a dtype of their own in the table."""
    given = (letters(inputs), letters(outputs)) if outputs else (letters(inputs),)
    allowed = "; ".join(" -> ".join(one) for one in sorted(TABLE[name]))
    require(
        given in TABLE[name],
        f"dtypes {' -> '.join(given)}, registered (f float32, h float16, b bfloat16, i int32, l int64, c int8): "
        f"{allowed}",
    )
