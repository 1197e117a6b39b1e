"""Limits that the inference attention operators have in common (CANN 8.3.RC1, aclnnIncreFlashAttentionV4,
aclnnPromptFlashAttentionV3, aclnnFusedInferAttentionScoreV3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ascend_emulator.attention_math import COMPRESSED
from ascend_emulator.device_tensor import (
    BOOL,
    HALVES,
    INT8,
    INT32,
    UINT8,
    DeviceTensor,
    require_contiguous,
    require_dtype,
    require_rank,
    require_same_dtype,
    require_shape,
)
from ascend_emulator.refusal import NOT_EMULATED, require

RANKS = {"BSH": 3, "BSND": 4, "BNSD": 4, "BNSD_BSND": 4}


@dataclass(frozen=True)
class Sizes:
    """Of one call. keys is the longest S of the keys, or of the table of blocks for a paged cache."""

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    dim: int


def head_counts(heads: int, kv_heads: int) -> tuple[int, int]:
    """numHeads and numKeyValueHeads, which is the former if it is 0."""
    kv_heads = kv_heads or heads
    require(1 <= heads <= 256, f"numHeads: {heads}, allowed: 1 to 256")
    require(
        kv_heads > 0 and heads % kv_heads == 0 and heads // kv_heads <= 64,
        f"numHeads {heads} and numKeyValueHeads {kv_heads}: the quotient must be whole and at most 64",
    )
    return heads, kv_heads


def check_layout(layout: str, allowed: tuple[str, ...], query: DeviceTensor, out: DeviceTensor) -> None:
    require(layout in allowed, f"inputLayout: {layout}, allowed: {', '.join(allowed)}")
    require_rank(query, RANKS[layout])
    require_rank(out, RANKS[layout])


def query_sizes(query: DeviceTensor, layout: str, heads: int) -> tuple[int, int, int]:
    """(batch, rows, D). Raises Refused where numHeads does not fit the shape."""
    batch = query.shape[0]
    if layout == "BSH":
        require(query.shape[2] % heads == 0, f"query: H {query.shape[2]}, must be a multiple of numHeads {heads}")
        return batch, query.shape[1], query.shape[2] // heads
    head_axis, row_axis = (2, 1) if layout == "BSND" else (1, 2)
    require(
        query.shape[head_axis] == heads,
        f"query: shape {query.shape} in layout {layout} has {query.shape[head_axis]} heads, numHeads is {heads}",
    )
    return batch, query.shape[row_axis], query.shape[3]


def check_keys(key: DeviceTensor, value: DeviceTensor, layout: str, kv_heads: int, dim: int) -> int:
    """S of a key tensor (not of a paged cache). Keys and values must have the same shape."""
    require_rank(key, RANKS[layout])
    require(key.shape == value.shape, f"{value.name}: shape {value.shape}, expected the key's, {key.shape}")
    if layout == "BSH":
        require(
            key.shape[2] == kv_heads * dim,
            f"{key.name}: H {key.shape[2]}, expected numKeyValueHeads * D = {kv_heads} * {dim}",
        )
        return key.shape[1]
    head_axis, row_axis = (2, 1) if layout == "BSND" else (1, 2)
    require(
        key.shape[head_axis] == kv_heads,
        f"{key.name}: shape {key.shape} in layout {layout} is not of {kv_heads} heads (numKeyValueHeads)",
    )
    require(key.shape[3] == dim, f"{key.name}: D {key.shape[3]}, expected the query's, {dim}")
    return key.shape[row_axis]


def check_dtypes(query: DeviceTensor, keys: list[DeviceTensor], values: list[DeviceTensor], out: DeviceTensor) -> None:
    require_dtype(query, *HALVES)
    for tensor in (*keys, *values):
        require_dtype(tensor, *HALVES, INT8)
        require(tensor.dtype != INT8, f"{tensor.name}: int8 caches (antiquantScale) are not emulated", NOT_EMULATED)
        require_same_dtype(query, tensor)
    require(out.dtype != INT8, "attentionOut: int8 output (quantScale2) is not emulated", NOT_EMULATED)
    require_same_dtype(query, out)
    require_contiguous(query, *keys, *values, out)


def check_lists(keys: list[DeviceTensor], values: list[DeviceTensor], batch: int) -> None:
    """One tensor with the whole batch, or for each row of the batch one with batch 1."""
    require(len(keys) == len(values), f"value: {len(values)} tensors, expected as many as key has, {len(keys)}")
    if len(keys) == 1 and (batch != 1 or keys[0].shape[0] == batch):
        require(keys[0].shape[0] == batch, f"{keys[0].name}: batch {keys[0].shape[0]}, expected the query's, {batch}")
        return
    require(len(keys) == batch, f"key: {len(keys)} tensors, allowed: 1, or the query's batch, {batch}")
    require(batch <= 256, f"key: {batch} tensors, allowed: at most 256")
    for tensor in keys:
        require(tensor.shape[0] == 1, f"{tensor.name}: batch {tensor.shape[0]}, must be 1 in a list of several tensors")


def check_lengths(name: str, lengths: list[int] | None, batch: int, most: int) -> None:
    """actualSeqLengths: one for all, or at least one for each row of the batch."""
    if not lengths:
        return
    require(len(lengths) == 1 or len(lengths) >= batch, f"{name}: {len(lengths)} given, allowed: 1 or >= {batch}")
    for length in lengths[:batch]:
        require(0 <= length <= most, f"{name}: {length}, allowed: 0 to S = {most}")


def lengths_of(lengths: list[int] | None, batch: int, whole: int) -> list[int]:
    """One length for each row of the batch."""
    if not lengths:
        return [whole] * batch
    return (lengths * batch if len(lengths) == 1 else lengths)[:batch]


def check_position_term(term: DeviceTensor | None, query: DeviceTensor, sizes: Sizes) -> None:
    if term is None:
        return
    require_same_dtype(query, term)
    require_rank(term, 4)
    batch, heads, rows, keys = term.shape
    require(
        batch in (1, sizes.batch) and heads == sizes.heads and rows >= sizes.queries and keys >= sizes.keys,
        f"pseShift: shape {term.shape}, allowed: "
        f"({sizes.batch} or 1, {sizes.heads}, >= {sizes.queries}, >= {sizes.keys})",
    )


def check_decode_mask(mask: DeviceTensor | None, sizes: Sizes) -> None:
    """Of one query: (B, S), (B, 1, S) or (B, 1, 1, S). CANN's source: S is at least the keys'."""
    if mask is None:
        return
    require_dtype(mask, BOOL, INT8, UINT8)
    require_contiguous(mask)
    require_rank(mask, 2, 4)
    middle = mask.shape[1:-1]
    require(
        mask.shape[0] == sizes.batch and all(n == 1 for n in middle) and mask.shape[-1] >= sizes.keys,
        f"attenMask: shape {mask.shape}, allowed: ({sizes.batch}, 1 or 1, 1 or nothing, S >= {sizes.keys})",
    )


def check_prefill_mask(mask: DeviceTensor | None, mode: int, sizes: Sizes) -> None:
    require(mode in range(5), f"sparseMode: {mode}, allowed: 0 to 4")
    if mask is None:
        require(mode == 0, f"attenMask: a null pointer, which sparseMode {mode} does not allow")
        return
    require_dtype(mask, BOOL, INT8, UINT8)
    require_contiguous(mask)
    require_rank(mask, 2, 4)
    if mode in (2, 3, 4):
        leading = mask.shape[:-2]
        require(
            mask.shape[-2:] == (COMPRESSED, COMPRESSED) and all(n == 1 for n in leading),
            f"attenMask: shape {mask.shape}, sparseMode {mode} allows ({COMPRESSED}, {COMPRESSED}) after 1s",
        )
        return
    rows, keys = mask.shape[-2:]
    fits = mask.ndim == 2 or (mask.shape[0] in (1, sizes.batch) and (mask.ndim == 3 or mask.shape[1] == 1))
    require(
        fits and rows >= sizes.queries and keys >= sizes.keys,
        f"attenMask: shape {mask.shape}, allowed: (S, KV S), (B or 1, S, KV S) or (B or 1, 1, S, KV S) with B = "
        f"{sizes.batch}, S >= {sizes.queries}, KV S >= {sizes.keys}",
    )


def check_blocks(table: DeviceTensor, block: int, multiple: int, lowest: int, lengths: list[int] | None) -> None:
    """Of a paged cache."""
    require_dtype(table, INT32)
    require_rank(table, 2)
    require(
        lowest <= block <= 512 and block % multiple == 0,
        f"blockSize: {block}, allowed: {lowest} to 512, multiples of {multiple}",
    )
    require(lengths, "actualSeqLengths: must be given for a paged cache")


def check_pages(
    cache: DeviceTensor, table: DeviceTensor, sizes: Sizes, block: int, layout: str, lengths: list[int]
) -> None:
    """(blocks, blockSize, H), or (blocks, kv heads, blockSize, D) if the query's layout is BNSD."""
    flat, by_head = (block, sizes.kv_heads * sizes.dim), (sizes.kv_heads, block, sizes.dim)
    allowed = (flat, by_head) if layout in ("BNSD", "BNSD_BSND") else (flat,)
    require(
        cache.shape[1:] in allowed,
        f"{cache.name}: shape {cache.shape} of a paged cache, allowed after the first dimension: "
        f"{' or '.join(map(str, allowed))}",
    )
    if cache.ndim == 3:
        require(flat[1] <= 65535, f"{cache.name}: numKeyValueHeads * D = {flat[1]}, at most 65535 in this layout")
    needed = [-(-length // block) for length in lengths]
    require(
        table.shape[0] == sizes.batch and table.shape[1] >= max(needed, default=0),
        f"{table.name}: shape {table.shape}, expected ({sizes.batch}, at least {max(needed, default=0)})",
    )
    require(cache.shape[0] >= sum(needed), f"{cache.name}: {cache.shape[0]} blocks, the lengths need {sum(needed)}")


def refuse_given(a: Any, names: tuple[str, ...], why: str, status: int = NOT_EMULATED) -> None:
    for name in names:
        require(not getattr(a, name), f"{name}: given, {why}", status)


def check_out(out: DeviceTensor, query: DeviceTensor, layout: str) -> None:
    expected = query.shape
    if layout == "BNSD_BSND":
        batch, heads, rows, dim = query.shape
        expected = (batch, rows, heads, dim)
    require_shape(out, expected)
