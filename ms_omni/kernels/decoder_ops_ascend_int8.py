"""Decoder operators on Ascend with 8-bit weights, in bfloat16 or float16. Never run on a card.

"int8": weights alone are int8, multiplied by hidden states as they are. "int8-dynamic": each row of hidden states is
rounded to int8 too before a product, by its largest value. Scales have `scale_dtype`; those of bfloat16 are exact, as
`checkpoint/primitives.py` makes them. Which operators these are, and which were passed over: docs/decode-on-ascend.md.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import Tensor, ops

from ms_omni.kernels import decoder_ops_ascend_primitives as primitives
from ms_omni.kernels.decoder_ops_ascend_experts import check_packed, through_experts


def scale_dtype(quantize: str, dtype: Any) -> Any:
    """The MindSpore type that the weights' scales must have for hidden states of `dtype`. quantize: "int8" or
    "int8-dynamic". Raises ValueError for another one."""
    if quantize not in ("int8", "int8-dynamic"):
        raise ValueError(f"scale_dtype: quantize {quantize!r}; expected int8 or int8-dynamic")
    return ms.float32 if quantize == "int8-dynamic" and dtype == ms.float16 else dtype


def int8_linear(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x: (tokens, in), weight: int8 (out, in), scale: (out,). (tokens, out)."""
    _check_linear("int8_linear", x, weight, scale)
    return primitives.weight_quant_matmul(x, weight, scale)


def dynamic_linear(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """As int8_linear; x is rounded to int8 by rows."""
    _check_linear("dynamic_linear", x, weight, scale)
    rounded, token_scale = _rounded(x, scale)
    return primitives.quant_matmul(rounded, token_scale, weight, scale, x.dtype)


def int8_experts(
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    gate_up: Tensor,
    gate_up_scale: Tensor,
    down: Tensor,
    down_scale: Tensor,
) -> Tensor:
    """x: (tokens, H), weights: float32, experts: int32 (tokens, top_k), gate_up and down: int8, of pack_experts,
    gate_up_scale: (E, 2I), down_scale: (E, H). (tokens, H).

    Raises ValueError for experts' weights that are not packed.
    """
    _check_experts("int8_experts", x, gate_up, gate_up_scale, down, down_scale)

    def network(rows: Tensor, counts: Tensor) -> Tensor:
        hidden = primitives.grouped_weight_quant_matmul(rows, gate_up, gate_up_scale, counts)
        return primitives.grouped_weight_quant_matmul(primitives.swiglu(hidden), down, down_scale, counts)

    return through_experts(network, x, weights, experts, gate_up.shape[0])


def dynamic_experts(
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    gate_up: Tensor,
    gate_up_scale: Tensor,
    down: Tensor,
    down_scale: Tensor,
) -> Tensor:
    """As int8_experts; what goes into a product is rounded to int8 by rows."""
    _check_experts("dynamic_experts", x, gate_up, gate_up_scale, down, down_scale)

    def network(rows: Tensor, counts: Tensor) -> Tensor:
        rounded, token_scale = primitives.dynamic_quant(rows)
        hidden = primitives.grouped_quant_matmul(rounded, token_scale, gate_up, gate_up_scale, counts, x.dtype)
        rounded, token_scale = _rounded(primitives.swiglu(hidden), counts)
        return primitives.grouped_quant_matmul(rounded, token_scale, down, down_scale, counts, x.dtype)

    return through_experts(network, x, weights, experts, gate_up.shape[0])


def _rounded(x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    """x rounded by rows. MindSpore 2.7.1 fuses SwiGLU and the rounding of its output into DequantSwigluQuant, which it
    then fails to compile. A dependence on any tensor, `given`, prevents that and launches nothing."""
    return primitives.dynamic_quant(ops.depend(x, given))


def _check_linear(name: str, x: Tensor, weight: Tensor, scale: Tensor) -> None:
    if x.shape[1] != weight.shape[1] or scale.shape != weight.shape[:1]:
        raise ValueError(f"{name}: expected x (tokens, in), weight (out, in), scale (out,)")


def _check_experts(
    name: str, x: Tensor, gate_up: Tensor, gate_up_scale: Tensor, down: Tensor, down_scale: Tensor
) -> None:
    check_packed(name, x, gate_up, down)
    wanted = (gate_up.shape[0], gate_up.shape[2]), (down.shape[0], down.shape[2])
    if (gate_up_scale.shape, down_scale.shape) != wanted:
        raise ValueError(f"{name}: expected gate_up_scale (E, 2I) and down_scale (E, H)")
