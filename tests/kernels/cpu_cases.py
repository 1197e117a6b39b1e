"""Cases for the CPU fills: (fill, expression on MindSpore, expression on numpy that it must equal).

Both see the same names: arrays there, tensors here, made anew for every case. Run as a program, this says in JSON what
MindSpore without the fills makes of every case: "right", "wrong" or the error.
"""

import json
import sys
from math import erf, sqrt

import numpy as np

_rng = np.random.default_rng(0)


def _normal(*shape):
    return _rng.standard_normal(shape).astype(np.float32)


ARRAYS = {
    "x": np.arange(12, dtype=np.float32).reshape(3, 4),
    "i": np.arange(12).reshape(3, 4),
    "b": np.arange(12).reshape(3, 4) > 5,
    "none": np.zeros((3, 4), bool),
    "r": _normal(5, 7),
    "c": _normal(2, 3, 4),
    "v": np.array([3, 1, 2], np.float32),
    "k": np.array([2, 0, 1]),
    "twice": np.array([2, 0, 2]),
    "k32": np.array([2, 0, 1], np.int32),
    "one": np.int64(1),
    "h": np.array([1, 2], np.float16),
    "ties": np.array([[1, 3, 3, 2], [0, 0, 0, 0]], np.float32),
    "gap": np.array([1, np.nan, 3], np.float32),
    "long": np.arange(5000).reshape(2, 2500).astype(np.float32),
    "no": np.zeros((0,), np.float32),
    "weights": np.array([[0, 0, 5, 0], [1, 0, 0, 1]], np.float32),
    "image": _normal(2, 4, 8, 7),
    "clip3d": _normal(2, 4, 5, 6, 7),
    "kernel1": _normal(5, 3, 2),
    "kernel2": _normal(6, 4, 3, 2),
    "grouped2": _normal(8, 2, 3, 2),
    "deep2": _normal(4, 1, 3, 3),
    "kernel3": _normal(6, 4, 2, 3, 2),
    "back2": _normal(4, 6, 3, 2),
    "grouped_back2": _normal(4, 3, 3, 2),
    "b6": _normal(6),
}


def conv(x, w, bias=None, stride=1, pads=0, dilation=1, groups=1):
    """Direct convolution in any number of dimensions; pads: one size, one a dimension, or (before, after) pairs."""
    num_dims = w.ndim - 2
    stride, dilation, pads = (
        np.broadcast_to(np.array(v), num_dims) if np.ndim(v) < 2 else v for v in (stride, dilation, pads)
    )
    pairs = [(p, p) if np.ndim(p) == 0 else tuple(p) for p in pads]
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pairs])
    out_size = [
        (n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[2:], dilation, w.shape[2:], stride, strict=True)
    ]
    out = np.zeros((x.shape[0], w.shape[0], *out_size))
    per_out, per_in = w.shape[0] // groups, w.shape[1]
    for position in np.ndindex(*w.shape[2:]):
        window = tuple(
            slice(p * d, p * d + s * (n - 1) + 1, s)
            for p, d, s, n in zip(position, dilation, stride, out_size, strict=True)
        )
        for g in range(groups):
            part = x[(slice(None), slice(g * per_in, (g + 1) * per_in), *window)]
            kernel = w[(slice(g * per_out, (g + 1) * per_out), slice(None), *position)]
            out[:, g * per_out : (g + 1) * per_out] += np.einsum("bi...,oi->bo...", part, kernel)
    return out if bias is None else out + bias.reshape(-1, *[1] * num_dims)


def conv_back(x, w, bias=None, stride=(1, 1), padding=(0, 0), extra=(0, 0), groups=1, dilation=(1, 1)):
    """Direct transposed convolution in two dimensions: every input element spreads its kernel."""
    sizes = zip(x.shape[2:], stride, dilation, w.shape[2:], strict=True)
    full = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in sizes]
    out = np.zeros((x.shape[0], w.shape[1] * groups, full[0] + extra[0], full[1] + extra[1]))
    per_in, per_out = w.shape[0] // groups, w.shape[1]
    for row, col in np.ndindex(*w.shape[2:]):
        rows = slice(row * dilation[0], row * dilation[0] + stride[0] * (x.shape[2] - 1) + 1, stride[0])
        cols = slice(col * dilation[1], col * dilation[1] + stride[1] * (x.shape[3] - 1) + 1, stride[1])
        for g in range(groups):
            part, kernel = x[:, g * per_in : (g + 1) * per_in], w[g * per_in : (g + 1) * per_in, :, row, col]
            out[:, g * per_out : (g + 1) * per_out, rows, cols] += np.einsum("bihw,io->bohw", part, kernel)
    out = out[:, :, padding[0] : out.shape[2] - padding[0], padding[1] : out.shape[3] - padding[1]]
    return out if bias is None else out + bias.reshape(-1, 1, 1)


def norm(x, num_axes, weight=1.0, bias=0.0, eps=1e-5):
    axes = tuple(range(x.ndim - num_axes, x.ndim))
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps) * weight + bias


def put(a, index, value):
    a = a.copy()
    a[index] = value
    return a


def assigned(t, index, value):
    t[index] = value
    return t


def add_at(a, dim, index, value):
    a = a.copy()
    np.add.at(np.moveaxis(a, dim, 0), index, np.moveaxis(value, dim, 0))
    return a


def put_along(a, index, value, dim):
    a = a.copy()
    np.put_along_axis(a, index, value, dim)
    return a


def after(tensor, _):
    """The tensor as the second argument's in-place call left it."""
    return tensor


gelu = np.vectorize(lambda v: v * 0.5 * (1 + erf(v / sqrt(2))), otypes=[np.float64])
f4, i8 = np.float32, np.int64

CASES = [
    ("mint.arange", "mint.arange(5)", "np.arange(5)"),
    ("mint.arange", "mint.arange(2, 9, 2, dtype=ms.int32)", "np.arange(2, 9, 2).astype(np.int32)"),
    ("mint.arange", "mint.arange(3, 0, -1)", "np.arange(3, 0, -1)"),
    ("mint.arange", "mint.arange(0, 1, 0.1)", "np.arange(0, 1, 0.1)"),
    ("mint.arange", "mint.arange(one + 2)", "np.arange(3)"),
    ("mint.arange", "mint.arange(0)", "np.arange(0)"),
    ("mint.linspace", "mint.linspace(-2, 5, 7)", "np.linspace(-2, 5, 7)"),
    ("mint.linspace", "mint.linspace(0, 1, 1)", "np.zeros(1)"),
    ("mint.zeros", "mint.zeros(())", "np.zeros(())"),
    ("mint.zeros", "mint.zeros((2, 0), dtype=ms.int64)", "np.zeros((2, 0), i8)"),
    ("mint.ones", "mint.ones(())", "np.ones(())"),
    ("mint.ones", "mint.ones(3, dtype=ms.bool_)", "np.ones(3, bool)"),
    ("mint.full", "mint.full((2, 3), float('-inf'))", "np.full((2, 3), -np.inf)"),
    ("mint.full", "mint.full((2,), 7)", "np.full(2, 7)"),
    ("mint.full", "mint.full((), True)", "np.array(True)"),
    ("mint.full_like", "mint.full_like(i, 3)", "np.full_like(i, 3)"),
    ("mint.full_like", "mint.full_like(x, 1, dtype=ms.bool_)", "np.ones((3, 4), bool)"),
    ("mint.zeros_like", "mint.zeros_like(x, dtype=ms.int64)", "np.zeros((3, 4), i8)"),
    ("mint.ones_like", "mint.ones_like(b)", "np.ones((3, 4), bool)"),
    ("mint.empty", "mint.empty((2, 3), dtype=ms.int32).shape", "(2, 3)"),
    ("Tensor.clone", "x.T.clone()", "x.T"),
    ("mint.multinomial", "mint.multinomial(weights[:1], 1)", "np.array([[2]])"),
    ("mint.multinomial", "mint.sort(mint.multinomial(weights[1], 2))[0]", "np.array([0, 3])"),
    ("mint.nonzero", "mint.nonzero(b, as_tuple=True)", "np.nonzero(b)"),
    ("mint.nonzero", "mint.nonzero(none)", "np.argwhere(none)"),
    ("Tensor.nonzero", "none.nonzero(as_tuple=True)", "np.nonzero(none)"),
    ("mint.where", "mint.where(b)", "np.nonzero(b)"),
    ("mint.where", "mint.where(b, x, 0.5)", "np.where(b, x, f4(0.5))"),
    ("mint.topk", "mint.topk(ties, 3)", "(f4([[3, 3, 2], [0, 0, 0]]), np.array([[1, 2, 3], [0, 1, 2]]))"),
    ("mint.topk", "mint.topk(r, 2, dim=0, largest=False)", "(np.sort(r, 0)[:2], np.argsort(r, 0)[:2])"),
    ("mint.topk", "mint.topk(long % 7, 4)[1]", "np.argsort(-(long % 7), -1, kind='stable')[:, :4]"),
    ("mint.topk", "mint.topk(gap, 2)[1]", "np.array([1, 2])"),
    ("mint.sort", "mint.sort(r, dim=0)", "(np.sort(r, 0), np.argsort(r, 0))"),
    ("mint.sort", "mint.sort(ties, descending=True)[1]", "np.array([[1, 2, 3, 0], [0, 1, 2, 3]])"),
    ("mint.argmax", "mint.argmax(ties, dim=-1)", "np.array([1, 0])"),
    ("mint.argmax", "mint.argmax(r)", "np.argmax(r)"),
    ("mint.argmax", "mint.argmax(r, dim=0, keepdim=True)", "np.argmax(r, 0, keepdims=True)"),
    ("mint.index_select", "mint.index_select(r, -1, k)", "r[:, k]"),
    ("mint.stack", "mint.stack([x, i], dim=-1)", "np.stack([x, i.astype(f4)], -1)"),
    ("mint.stack", "mint.stack((one, one))", "np.array([1, 1])"),
    ("mint.cat", "mint.cat([i, k32[:, None]], dim=-1)", "np.concatenate([i, k32[:, None]], -1)"),
    ("mint.cat", "mint.cat([h, v])", "np.concatenate([h, v])"),
    ("mint.cat", "mint.cat([no, c], dim=-2)", "c"),
    ("mint.cat", "mint.cat([x, x])", "np.concatenate([x, x])"),
    ("mint.concat", "mint.concat([b, i], 1)", "np.concatenate([b.astype(i8), i], 1)"),
    ("mint.repeat_interleave", "mint.repeat_interleave(x, k, dim=0)", "np.repeat(x, k, 0)"),
    ("mint.repeat_interleave", "mint.repeat_interleave(x, 2)", "np.repeat(x, 2)"),
    ("Tensor.any", "i.any(0, keepdim=True)", "np.any(i, 0, keepdims=True)"),
    ("Tensor.cumsum", "k32.cumsum(-1)", "np.cumsum(k32.astype(i8))"),
    ("mint.outer", "mint.outer(v, k)", "np.outer(v, k)"),
    ("mint.clamp", "mint.clamp(gap, 0, 2)", "f4([1, np.nan, 2])"),
    ("mint.clip", "mint.clip(i, min=2.5)", "np.clip(i, 2.5, None)"),
    ("Tensor.clamp", "i.clamp(2, 5)", "np.clip(i, 2, 5)"),
    ("Tensor.clip", "x.clip(max=2.0)", "np.clip(x, None, 2)"),
    ("F.embedding", "F.embedding(i % 5, r)", "r[i % 5]"),
    ("F.embedding", "mint.nn.Embedding(5, 7, _weight=r)(k32)", "r[k32]"),
    ("F.layer_norm", "F.layer_norm(c, (4,), c[0, 0], c[0, 1], 1e-3)", "norm(c, 1, c[0, 0], c[0, 1], 1e-3)"),
    ("F.layer_norm", "F.layer_norm(c, (3, 4))", "norm(c, 2)"),
    ("F.layer_norm", "mint.nn.LayerNorm(7)(r)", "norm(r, 1)"),
    ("F.layer_norm", "mint.nn.LayerNorm((3, 4), elementwise_affine=False)(c)", "norm(c, 2)"),
    ("F.gelu", "F.gelu(r * 4)", "gelu(r * 4)"),
    ("F.gelu", "mint.nn.GELU()(r)", "gelu(r)"),
    ("F.gelu", "F.gelu(r, approximate='tanh')", "0.5 * r * (1 + np.tanh(sqrt(2 / np.pi) * (r + 0.044715 * r**3)))"),
    ("F.dropout", "F.dropout(x, 0.3, training=False)", "x"),
    ("F.pad", "F.pad(c, (1, 0, 2, 1), value=3.5)", "np.pad(c, ((0, 0), (2, 1), (1, 0)), constant_values=3.5)"),
    ("F.pad", "F.pad(i, (-1, 2))", "np.pad(i[:, 1:], ((0, 0), (0, 2)))"),
    ("F.pad", "F.pad(b, (1, 1), value=True)", "np.pad(b, ((0, 0), (1, 1)), constant_values=True)"),
    ("F.one_hot", "F.one_hot(i)", "np.eye(12, dtype=i8)[i]"),
    ("F.one_hot", "F.one_hot(k32, 5)", "np.eye(5, dtype=i8)[k32]"),
    ("layer.conv1d_ext_op", "convs.conv1d_ext_op(c, kernel1, None, 2, 1)", "conv(c, kernel1, None, 2, 1)"),
    (
        "layer.conv2d_ext_op",
        "convs.conv2d_ext_op(image, kernel2, b6, (1, 2), (0, 1), (2, 1))",
        "conv(image, kernel2, b6, (1, 2), (0, 1), (2, 1))",
    ),
    (
        "layer.conv2d_ext_op",
        "convs.conv2d_ext_op(image, grouped2, None, 1, 0, 1, 2)",
        "conv(image, grouped2, groups=2)",
    ),
    (
        "layer.conv2d_ext_op",
        "convs.conv2d_ext_op(image, deep2, None, 1, 1, 1, 4)",
        "conv(image, deep2, pads=1, groups=4)",
    ),
    (
        "layer.conv2d_ext_op",
        "convs.conv2d_ext_op(image[:, :, :3, :2], kernel2, b6)",
        "conv(image[:, :, :3, :2], kernel2, b6)",
    ),
    (
        "layer.conv3d_ext_op",
        "convs.conv3d_ext_op(clip3d, kernel3, b6, (1, 2, 1), (0, 1, 2))",
        "conv(clip3d, kernel3, b6, (1, 2, 1), (0, 1, 2))",
    ),
    (
        "layer.conv3d_ext_op",
        "convs.conv3d_ext_op(clip3d[:, :, :2, :3, :2], kernel3)",
        "conv(clip3d[:, :, :2, :3, :2], kernel3)",
    ),
    ("F.conv_transpose2d", "F.conv_transpose2d(image, back2, b6)", "conv_back(image, back2, b6)"),
    (
        "F.conv_transpose2d",
        "F.conv_transpose2d(image, back2, b6, (2, 3), (1, 0), (1, 2))",
        "conv_back(image, back2, b6, (2, 3), (1, 0), (1, 2))",
    ),
    (
        "F.conv_transpose2d",
        "F.conv_transpose2d(image, grouped_back2, b6, 2, groups=2)",
        "conv_back(image, grouped_back2, b6, (2, 2), groups=2)",
    ),
    ("layer.conv1d_ext_op", "layer(mint.nn.Conv1d(3, 5, 2, bias=False), kernel1)(c)", "conv(c, kernel1)"),
    (
        "layer.conv2d_ext_op",
        "layer(mint.nn.Conv2d(4, 6, (3, 2), 2, bias=False), kernel2)(image)",
        "conv(image, kernel2, None, 2)",
    ),
    (
        "layer.conv3d_ext_op",
        "layer(mint.nn.Conv3d(4, 6, (2, 3, 2), bias=False), kernel3)(clip3d)",
        "conv(clip3d, kernel3)",
    ),
    ("Tensor.repeat", "x.repeat(2, 1, 3)", "np.tile(x, (2, 1, 3))"),
    ("Tensor.repeat", "v.repeat((2, 2))", "np.tile(v, (2, 2))"),
    ("Tensor.masked_fill", "x.masked_fill(b[0], 1)", "np.where(b[0], f4(1), x)"),
    ("Tensor.masked_fill", "x.masked_fill(b, float('-inf'))", "np.where(b, f4(-np.inf), x)"),
    ("Tensor.fill_", "after(x, x.fill_(3))", "x * 0 + 3"),
    ("Tensor.masked_fill_", "after(x, x.masked_fill_(b[0] | b, -1))", "np.where(b, f4(-1), x)"),
    ("Tensor.index_add_", "after(x, x.index_add_(0, twice, x))", "add_at(x, 0, twice, x)"),
    ("Tensor.index_add_", "after(x, x.index_add_(1, k, x[:, :3]))", "add_at(x, 1, k, x[:, :3])"),
    ("Tensor.index_put_", "after(x, x.index_put_((k, k), v))", "put(x, (k, k), v)"),
    ("Tensor.scatter_", "after(x, x.scatter_(-1, i % 4, 7.0))", "x * 0 + 7"),
    ("Tensor.scatter_", "after(x, x.scatter_(1, i[:, :2] % 4, x))", "put_along(x, i[:, :2] % 4, x[:, :2], 1)"),
    ("Tensor.__getitem__", "c[c[:, :, 0] > 0, :]", "c[c[:, :, 0] > 0, :]"),
    ("Tensor.__getitem__", "c[0, :, k]", "c[0][:, k]"),
    ("Tensor.__getitem__", "c[one, k32]", "c[1, k32]"),
    ("Tensor.__getitem__", "c[..., k[:0]]", "c[..., k[:0]]"),
    ("Tensor.__getitem__", "x[none]", "x[none]"),
    ("Tensor.__getitem__", "c[None, :, k, 1:]", "c[None][:, :, k, 1:]"),
    ("Tensor.__getitem__", "c[:one, -1]", "c[:1, -1]"),
    ("Tensor.__setitem__", "after(x, assigned(x.view(2, 6), (1, 0), 99.0))", "put(x, (1, 2), 99)"),
    ("Tensor.__setitem__", "assigned(x, b, x[b] * 2)", "put(x, b, x[b] * 2)"),
    (
        "Tensor.__setitem__",
        "assigned(c, (0, slice(None), k), x[:, :3])",
        "np.stack([put(c[0], (slice(None), k), x[:, :3]), c[1]])",
    ),
    ("Tensor.__setitem__", "assigned(c, (c[:, :, 0] > 0, slice(None)), 0)", "put(c, c[:, :, 0] > 0, 0)"),
    ("Tensor.__setitem__", "assigned(i, (Ellipsis, 0), 2.7)", "put(i, (Ellipsis, 0), 2)"),
    ("Tensor.__setitem__", "assigned(x, ([0, 2], [1, 1]), v[:2])", "put(x, ([0, 2], [1, 1]), v[:2])"),
    ("Tensor.to", "(x - 5.7).to(ms.int64)", "(x - f4(5.7)).astype(i8)"),
    ("Tensor.astype", "b.astype(ms.float32)", "b.astype(f4)"),
    ("Tensor.float", "k32.float()", "k32.astype(f4)"),
    ("Tensor.int", "(-x).int()", "(-x).astype(np.int32)"),
    ("Tensor.long", "b.long()", "b.astype(i8)"),
    ("Tensor.bool", "(x - 5).bool()", "x != 5"),
]


def evaluate(expression):
    """A case's MindSpore expression: arrays instead of tensors."""
    import mindspore as ms
    from mindspore import Parameter, Tensor, mint
    from mindspore.mint.nn.layer import conv as convs

    def layer(cell, weight):
        cell.weight = Parameter(weight, name="weight")
        return cell

    names = {name: Tensor(array.copy()) for name, array in ARRAYS.items()}
    helpers = {"ms": ms, "mint": mint, "F": mint.nn.functional, "convs": convs, "np": np}
    helpers |= {"layer": layer, "after": after, "assigned": assigned}
    result = eval(expression, helpers, names)
    parts = result if isinstance(result, tuple | list) else (result,)
    return [part.asnumpy() if isinstance(part, Tensor) else part for part in parts]


def expected(expression):
    result = eval(expression, globals(), dict(ARRAYS))
    parts = result if isinstance(result, tuple | list) else (result,)
    return [np.float32(part) if getattr(part, "dtype", None) == np.float64 else part for part in parts]


def agrees(got, want):
    """Equal shapes and dtypes, values within 2e-5."""
    if not isinstance(want, np.ndarray | np.generic):
        return got == want
    got = np.asarray(got)
    same = got.shape == want.shape and got.dtype == want.dtype
    return same and np.allclose(got, want, rtol=2e-5, atol=2e-5, equal_nan=True)


def verdict(case):
    _, mindspore_expression, numpy_expression = case
    try:
        got = evaluate(mindspore_expression)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[:1]}"
    want = expected(numpy_expression)
    return "right" if len(got) == len(want) and all(map(agrees, got, want)) else "wrong"


if __name__ == "__main__":
    import mindspore

    mindspore.set_device("CPU")
    mindspore.runtime.launch_blocking()
    json.dump([verdict(case) for case in CASES], sys.stdout)
