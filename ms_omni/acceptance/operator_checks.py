"""Each decoder operator at the released model's sizes, as it is used: one token in a graph, several outside of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance import formulas
from ms_omni.acceptance.bench import Bench, random
from ms_omni.acceptance.compare import array_of, close, equal, rounding
from ms_omni.acceptance.encoder_attention import encoder_attention
from ms_omni.acceptance.findings import Finding
from ms_omni.acceptance.released import decoder_specs, inner_size
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.limits import BLOCK_SIZE, PREFILL_CHUNK
from ms_omni.runtime.decoder_spec import DecoderSpec

# Allowed differences in roundings (docs/accept.md): one for an operator that computes in float32 and rounds once, one
# more for each intermediate result that a kernel may round, twice as many where they add up.
ALLOWED = {
    "rms_norm": 4, "add_rms_norm": 6, "linear": 4, "rotary": 12, "swiglu": 4, "decode_attention": 8,
    "frame_attention": 16, "prefill_attention": 8, "route": 8, "experts": 16,
}  # fmt: skip
DTYPES = ("bfloat16", "float16")
FEW, SOME = 5, 192
CONTEXTS = (300, 1, 128)  # tokens of each row: in three blocks, in one, in one that is full
FRAME = 16
LONG = PREFILL_CHUNK + 256  # beyond the 2048 of flash attention's compressed mask


@dataclass(frozen=True)
class Case:
    """One decoder's sizes, a dtype, and a number of tokens."""

    ops: Any
    decoder: str
    spec: DecoderSpec
    dtype: str
    tokens: int

    def __str__(self) -> str:
        return f"{self.decoder}, {self.dtype}, {self.tokens} token{'s' * (self.tokens > 1)}"

    def make(self, seed: str, *shape: int) -> np.ndarray:
        """Random values of the case's dtype, others for each decoder and seed."""
        return random(f"{self.decoder} {seed}", *shape, dtype=numpy_dtype(getattr(ms, self.dtype)))

    def call(self, operator: str, tensors: list[Any], *constants: Any) -> Any:
        """The operator's result: of one token in a graph with `tensors` as inputs, of several outside of graphs."""
        function = getattr(self.ops, operator)

        def graph(*inputs: Any) -> Any:
            return function(*inputs, *constants)

        made = ms.jit(graph, **self.ops.JIT_OPTIONS) if self.tokens == 1 else graph
        return made(*(Tensor(array) if isinstance(array, np.ndarray) else array for array in tensors))

    def finding(self, operator: str, *pairs: tuple[Any, Any]) -> Finding:
        """Of pairs of what was computed and what is right."""
        return close(list(pairs), self.dtype, ALLOWED[operator])


def run(bench: Bench) -> None:
    """All operators of all decoders, and attention of the encoders."""
    for case in cases_of(bench):
        for name, work in CHECKS.items():
            if case.spec.num_experts or name not in ("route", "experts"):  # the code predictor is dense
                bench.check(f"{name}, {case}", partial(work, case))
    thinker = decoder_specs(bench.quick)["Thinker"]
    ops = decoder_ops(bench.device)
    for dtype in DTYPES:
        for before in (64,) if bench.quick else (64, LONG - 256):
            case = Case(ops, "Thinker", thinker, dtype, 256 if before > 64 else 96)
            bench.check(f"prefill_attention, {case} after {before}", partial(_later_chunk, case, before))
        for part, heads, dim in (("picture", 16, 72), ("sound", 20, 64)):
            name = f"attention of the {part} encoder, {heads} heads of {dim}, {dtype}"
            bench.check(name, partial(encoder_attention, heads, dim, dtype, ALLOWED["prefill_attention"]))
    if not bench.quick:
        case = Case(ops, "Thinker", thinker, "bfloat16", LONG)
        bench.check(f"prefill_attention, {case}", partial(_prefill_attention, case))


def cases_of(bench: Bench) -> list[Case]:
    """The combinations to check; few of them with --quick."""
    ops, specs = decoder_ops(bench.device), decoder_specs(bench.quick)
    chosen = [("Thinker", dtype, tokens) for dtype in DTYPES for tokens in (1, FEW, SOME)]
    chosen += [(name, "bfloat16", tokens) for name in ("Talker", "code predictor") for tokens in (1, FEW)]
    if bench.quick:
        chosen = [
            ("Thinker", "bfloat16", 1), ("Thinker", "float16", FEW), ("Talker", "bfloat16", FEW),
            ("code predictor", "bfloat16", 1),
        ]  # fmt: skip
    return [Case(ops, name, specs[name], dtype, tokens) for name, dtype, tokens in chosen]


def _rms_norm(case: Case) -> Finding:
    x, weight = case.make("x", case.tokens, case.spec.hidden_size), case.make("norm", case.spec.hidden_size)
    made = case.call("rms_norm", [x, weight], case.spec.rms_norm_eps)
    heads, head = case.make("heads", case.tokens, case.spec.num_heads, case.spec.head_dim), case.spec.head_dim
    small = case.make("head norm", head)
    made_heads = case.call("rms_norm", [heads, small], case.spec.rms_norm_eps)
    by_hidden, by_head = (
        formulas.rms_norm(array_of(values), array_of(norm), case.spec.rms_norm_eps)
        for values, norm in ((x, weight), (heads, small))
    )
    return case.finding("rms_norm", (made, by_hidden), (made_heads, by_head))


def _add_rms_norm(case: Case) -> Finding:
    shape = (case.tokens, case.spec.hidden_size)
    x, residual, weight = case.make("x", *shape), case.make("residual", *shape), case.make("norm", shape[1])
    normed, total = case.call("add_rms_norm", [x, residual, weight], case.spec.rms_norm_eps)
    right = array_of(x) + array_of(residual)
    return case.finding(
        "add_rms_norm", (total, right), (normed, formulas.rms_norm(right, array_of(weight), case.spec.rms_norm_eps))
    )


def _linear(case: Case) -> Finding:
    hidden, inner = case.spec.hidden_size, case.spec.num_heads * case.spec.head_dim
    pairs = []
    for width, out in ((hidden, inner + 2 * case.spec.num_kv_heads * case.spec.head_dim), (inner, hidden)):
        x, weight = case.make("x", case.tokens, width), case.make("weight", out, width)
        weight = (weight.astype(np.float32) / np.float32(width**0.5)).astype(weight.dtype)
        pairs.append((case.call("linear", [x, weight]), array_of(x) @ array_of(weight).T))
    return case.finding("linear", *pairs)


def _split_qkv(case: Case) -> Finding:
    heads, kv_heads, dim = case.spec.num_heads, case.spec.num_kv_heads, case.spec.head_dim
    qkv = case.make("qkv", case.tokens, (heads + 2 * kv_heads) * dim)
    made = case.call("split_qkv", [qkv], heads, kv_heads)
    by_head = qkv.reshape(case.tokens, -1, dim)
    right = (by_head[:, :heads], by_head[:, heads : heads + kv_heads], by_head[:, heads + kv_heads :])
    return equal(list(zip(made, right, strict=True)))


def _rotary(case: Case) -> Finding:
    dim = case.spec.head_dim
    q, k = (case.make(n, case.tokens, h, dim) for n, h in (("q", case.spec.num_heads), ("k", case.spec.num_kv_heads)))
    half = random("angles", case.tokens, dim // 2, dtype=np.float32) * 3
    angles = np.concatenate([half, half], axis=1)
    made = case.call("rotary", [q, k, np.cos(angles), np.sin(angles)])
    right = (formulas.rotate(array_of(x), angles.astype(np.float64)) for x in (q, k))
    return case.finding("rotary", *zip(made, right, strict=True))


def _swiglu(case: Case) -> Finding:
    x = case.make("gate and up", case.tokens, 2 * inner_size(case.decoder))
    return case.finding("swiglu", (case.call("swiglu", [x]), formulas.swiglu(array_of(x))))


def _route(case: Case) -> Finding:
    """A rounding may exchange experts that are nearly equally likely: those chosen must be likely enough, and the
    weights must belong to them."""
    hidden, count = case.spec.hidden_size, case.spec.num_experts
    x, router = case.make("x", case.tokens, hidden), case.make("router", count, hidden)
    router = (router.astype(np.float32) / np.float32(hidden**0.5)).astype(router.dtype)
    weights, chosen = case.call("route", [x, router], case.spec.experts_per_token, case.spec.normalize_experts)
    logits, ids = array_of(x) @ array_of(router).T, chosen.asnumpy()
    if ids.shape != (case.tokens, case.spec.experts_per_token) or any(len(set(row)) < len(row) for row in ids.tolist()):
        return Finding(float("inf"), ALLOWED["route"], "experts chosen twice or not at all")
    picked = np.take_along_axis(logits, ids, axis=-1)
    likely = np.sort(logits, axis=-1)[:, -case.spec.experts_per_token][:, None]
    shortfall = float(np.max(np.maximum(likely - picked, 0)) / (np.abs(logits).max() * rounding(case.dtype)))
    among = picked if case.spec.normalize_experts else logits
    shares = np.exp(picked) / np.exp(among).sum(axis=-1, keepdims=True)
    apart = np.abs(array_of(weights) - shares) / shares / np.maximum(1, np.abs(logits).max()) / rounding(case.dtype)
    return Finding(round(max(shortfall, float(apart.max())), 3), ALLOWED["route"], f"roundings of {case.dtype}")


def _experts(case: Case) -> Finding:
    """Half of the experts have no token in a short prompt; the first and the last one always have."""
    gate_up, down = _expert_weights(case)
    chosen, shares = choices_of(case)
    x = case.make("x", case.tokens, case.spec.hidden_size)
    packed = [tensor.contiguous() for tensor in case.call("pack_experts", [gate_up, down])]  # as loading does
    made = case.call("experts", [x, shares, chosen, *packed])
    return case.finding("experts", (made, formulas.experts(array_of(x), array_of(shares), chosen, gate_up, down)))


def choices_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """int32 experts and float32 shares, (tokens, top_k)."""
    count, top_k = case.spec.num_experts, case.spec.experts_per_token
    choices = np.random.default_rng(7)
    chosen = np.stack([choices.permutation(count)[:top_k] for _ in range(case.tokens)]).astype(np.int32)
    chosen[0] = np.append(np.arange(top_k - 1), count - 1)[::-1]
    return chosen, formulas.softmax(random("shares", case.tokens, top_k, dtype=np.float64)).astype(np.float32)


def _expert_weights(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(experts, 2 * inner, hidden) and (experts, hidden, inner)."""
    gate_up, down = (first.astype(numpy_dtype(getattr(ms, case.dtype))) for first in first_expert(case))
    return rolled(gate_up, case.spec.num_experts), rolled(down, case.spec.num_experts)


def first_expert(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """float32 (2 * inner, hidden) and (hidden, inner)."""
    hidden, inner = case.spec.hidden_size, inner_size(case.decoder)
    gate_up, down = case.make("gate and up", 2 * inner, hidden), case.make("down", hidden, inner)
    return gate_up.astype(np.float32) / np.float32(hidden**0.5), down.astype(np.float32) / np.float32(inner**0.5)


def rolled(first: np.ndarray, count: int) -> np.ndarray:
    """(count, rows, ...): different experts, quickly made by rolling the first one's rows. first: (rows, ...)."""
    return np.stack([np.roll(first, 37 * i, axis=0) for i in range(count)])


def _decode_attention(case: Case) -> Finding:
    """A row for each of CONTEXTS, in blocks in any order; other blocks must not be read."""
    heads, kv_heads, dim = case.spec.num_heads, case.spec.num_kv_heads, case.spec.head_dim
    scale = dim**-0.5
    rows, most = len(CONTEXTS), -(-max(CONTEXTS) // BLOCK_SIZE)
    tables = 1 + np.random.default_rng(3).permutation(rows * most).reshape(rows, most).astype(np.int32)
    q = case.make("q", rows, heads, dim)
    keys, values = (case.make(name, 1 + rows * most, BLOCK_SIZE, kv_heads, dim) for name in ("keys", "values"))

    def attend(q: Tensor, keys: Tensor, values: Tensor, tables: Tensor, batch_valid_length: Tensor) -> Tensor:
        return case.ops.decode_attention(q, keys, values, tables, batch_valid_length, scale)

    graph = ms.jit(attend, **case.ops.JIT_OPTIONS)
    made = array_of(graph(*map(Tensor, (q, keys, values, tables, np.array(CONTEXTS, np.int32)))))
    pairs = []
    for row, length in enumerate(CONTEXTS):
        k, v = (array_of(cache)[tables[row]].reshape(-1, kv_heads, dim)[:length] for cache in (keys, values))
        pairs.append((made[row], formulas.attention(array_of(q)[row : row + 1], k, v, scale).reshape(-1)))
    return case.finding("decode_attention", *pairs)


def _frame_attention(case: Case) -> Finding:
    """The last of FRAME tokens of each row, after extend_frame has added its keys and values."""
    heads, kv_heads, dim = case.spec.num_heads, case.spec.num_kv_heads, case.spec.head_dim
    scale = dim**-0.5
    q = case.make("q", case.tokens, heads, dim)
    seen = [case.make(name, case.tokens, kv_heads, FRAME, dim) for name in ("keys", "values")]
    made_of = [case.call("extend_frame", [np.ascontiguousarray(x[:, :, :-1]), x[:, :, -1].copy()]) for x in seen]
    made = array_of(case.call("frame_attention", [q, *made_of], scale))
    pairs = []
    for row in range(case.tokens):
        k, v = (array_of(x)[row].swapaxes(0, 1) for x in seen)
        pairs.append((made[row], formulas.attention(array_of(q)[row : row + 1], k, v, scale).reshape(-1)))
    return case.finding("frame_attention", *pairs)


def _prefill_attention(case: Case) -> Finding:
    """A whole prompt."""
    return _later_chunk(case, 0)


def _later_chunk(case: Case, before: int) -> Finding:
    """The queries are the last positions, after `before` others. Of long ones only some queries are compared."""
    heads, kv_heads, dim = case.spec.num_heads, case.spec.num_kv_heads, case.spec.head_dim
    total = before + case.tokens
    q = case.make("q", case.tokens, heads, dim)
    k, v = (case.make(name, total, kv_heads, dim) for name in ("k", "v"))
    made = case.ops.prefill_attention(Tensor(q), Tensor(k), Tensor(v), dim**-0.5)
    edges = [0, 1, case.tokens // 2, 2047 - before, 2048 - before, 2049 - before, case.tokens - 1]
    rows = np.array(sorted({row for row in edges if 0 <= row < case.tokens} | set(range(0, case.tokens, 61))))
    right = formulas.attention(array_of(q), array_of(k), array_of(v), dim**-0.5, queries=rows)
    return case.finding("prefill_attention", (array_of(made)[rows], right.reshape(len(rows), -1)))


CHECKS: dict[str, Callable[[Case], Finding]] = {
    "rms_norm": _rms_norm, "add_rms_norm": _add_rms_norm, "linear": _linear, "split_qkv": _split_qkv, "rotary": _rotary,
    "swiglu": _swiglu, "route": _route, "experts": _experts, "decode_attention": _decode_attention,
    "frame_attention": _frame_attention, "prefill_attention": _prefill_attention,
}  # fmt: skip
