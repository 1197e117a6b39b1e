"""Internal kernels of MindSpore: normalisation and rotary embedding."""

from __future__ import annotations

import numpy as np

from ascend_emulator.kernel_dtypes import require_registered
from ascend_emulator.operators.norm import rms
from ascend_emulator.operators.rotary import HALF, INTERLEAVED, rotated
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import internal

DOC = "MindSpore 2.7.1, ms_kernels_internal"


@internal("RmsNorm", doc=DOC)
def rms_norm(a):
    x = a.inputs[0].wide()
    reciprocal = rms(x, (-1,), a.attributes["eps"])
    a.outputs[0].put(x * reciprocal * a.inputs[1].wide())
    if len(a.outputs) > 1 and a.outputs[1] is not None:
        a.outputs[1].put(reciprocal.reshape(a.outputs[1].shape))


@rms_norm.limits
def _(a):
    require_registered("RmsNorm", a.inputs[:2], a.outputs[:2])
    _check_gamma(a.inputs[0], a.inputs[1])


def _check_gamma(x, gamma) -> None:
    require(
        gamma.size == x.shape[-1],
        f"{gamma.name}: shape {gamma.shape}, expected ({x.shape[-1]},), the last of {x.shape}",
    )


@internal("AddRmsNorm", doc=DOC)
def add_rms_norm(a):
    """The float32 sum is normalised; the last output is that sum, rounded."""
    total = a.inputs[0].wide() + a.inputs[1].wide()
    reciprocal = rms(total, (-1,), a.attributes["eps"])
    a.outputs[0].put(total * reciprocal * a.inputs[2].wide().reshape(-1))
    a.outputs[1].put(reciprocal.reshape(a.outputs[1].shape))
    a.outputs[2].put(total)


@add_rms_norm.limits
def _(a):
    """Message of libadd_rms_norm_op.so: inputs 1 and 2 must have one shape."""
    require_registered("AddRmsNorm", a.inputs[:3], a.outputs[:3])
    require(
        a.inputs[0].shape == a.inputs[1].shape,
        f"input 1: shape {a.inputs[1].shape}, expected that of input 0, {a.inputs[0].shape}",
    )
    _check_gamma(a.inputs[0], a.inputs[2])


# cos_format of op_param.h: 0, 1 tables of all positions; 2, 3 one row for each token; 1, 3 pairs lie side by side
ROWS_OF_TOKENS = {2: HALF, 3: INTERLEAVED}


@internal("ApplyRotaryPosEmb", doc=DOC)
def apply_rotary_pos_emb(a):
    """query, key: (tokens, heads * D) or with more axes; cos, sin: (tokens, D); products in float32."""
    cos, sin = (np.asarray(tensor.wide(), np.float32) for tensor in a.inputs[2:4])
    mode = ROWS_OF_TOKENS[int(a.attributes["cos_format"])]
    tokens, dim = cos.shape[0], cos.shape[-1]
    for given, out in zip(a.inputs[:2], a.outputs, strict=True):
        x = given.wide().reshape(tokens, -1, dim)
        out.put((x * cos[:, None] + rotated(x, mode) * sin[:, None]).reshape(out.shape))


@apply_rotary_pos_emb.limits
def _(a):
    """Messages of libapply_rotary_pos_emb_op.so: query has 2 to 4 dimensions, and whole heads."""
    require_registered("ApplyRotaryPosEmb", a.inputs[:5], a.outputs[:2])
    form = int(a.attributes["cos_format"])
    require(form in range(4), f"cos_format: {form}, allowed: 0 to 3")
    require(form in ROWS_OF_TOKENS, f"cos_format {form} (tables of all positions) is not emulated", NOT_EMULATED)
    query, key, cos, sin = a.inputs[:4]
    for tensor in (query, key):
        require(2 <= tensor.ndim <= 4, f"{tensor.name}: shape {tensor.shape}, allowed: 2 to 4 dimensions")
    require(
        cos.shape == sin.shape and cos.ndim == 2,
        f"{cos.name} {cos.shape} and {sin.name} {sin.shape}: expected (tokens, D)",
    )
    tokens, dim = cos.shape
    require(dim % 2 == 0, f"{cos.name}: D {dim} must be even")
    for tensor, out in ((query, a.outputs[0]), (key, a.outputs[1])):
        require(
            tensor.size % max(tokens * dim, 1) == 0 and tensor.size >= tokens * dim,
            f"{tensor.name}: shape {tensor.shape} is not {tokens} tokens of whole heads of {dim}",
        )
        require(out.shape == tensor.shape, f"{out.name}: shape {out.shape}, expected {tensor.shape}")
