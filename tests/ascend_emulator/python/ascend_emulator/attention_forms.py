"""The two forms of the inference attention operators, with their limits: one query a row, and many."""

from __future__ import annotations

from typing import Any

import numpy as np

from ascend_emulator.attention_checks import (
    Sizes,
    check_blocks,
    check_decode_mask,
    check_dtypes,
    check_keys,
    check_lengths,
    check_lists,
    check_out,
    check_pages,
    check_position_term,
    check_prefill_mask,
    head_counts,
    lengths_of,
    query_sizes,
)
from ascend_emulator.attention_math import (
    attend,
    from_heads_first,
    heads_first,
    hidden_by_mode,
    require_triangle,
    require_zero_or_one,
)
from ascend_emulator.device_tensor import DeviceTensor
from ascend_emulator.refusal import NOT_EMULATED, require


def decode(
    a: Any,
    table: DeviceTensor | None,
    block: int,
    lengths: list[int] | None,
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Attention of one query a row. Returns the greatest score and the sum of exponentials, (B, N, 1)."""
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    query = heads_first(a.query.wide(), a.inputLayout, heads)
    batch = query.shape[0]
    if mask is not None:
        require_zero_or_one(mask)
    outs, greatest, total = [], [], []
    for row in range(batch):
        if table is not None:
            key, value = (_pages(cache[0], table, row, lengths, batch, block, kv_heads) for cache in (a.key, a.value))
        else:
            key, value = (_row_of(given, row, batch, a.inputLayout, kv_heads) for given in (a.key, a.value))
        length = lengths_of(lengths, batch, key.shape[2])[row]
        key, value = key[:, :, :length], value[:, :, :length]
        hidden = None
        if mask is not None:
            hidden = mask.array.reshape(batch, 1, 1, -1)[row : row + 1, ..., :length] != 0
        added = None if term is None else term.wide()[row % term.shape[0]][None, ..., :length]
        out, top, sums = attend(query[row : row + 1], key, value, a.scaleValue, hidden, added)
        outs.append(out)
        greatest.append(top)
        total.append(sums)
    a.attentionOut.put(from_heads_first(np.concatenate(outs), a.inputLayout))
    return np.concatenate(greatest), np.concatenate(total)


def check_decode(
    a: Any,
    table: DeviceTensor | None,
    block: int,
    lengths: list[int] | None,
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> None:
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    check_dtypes(a.query, a.key, a.value, a.attentionOut)
    check_out(a.attentionOut, a.query, a.inputLayout)
    batch, rows, dim = query_sizes(a.query, a.inputLayout, heads)
    require(rows == 1, f"query: S {rows}, allowed: 1")
    require(1 <= batch <= 65536, f"query: B {batch}, allowed: 1 to 65536")
    require(1 <= dim <= 512, f"query: D {dim}, allowed: 1 to 512")
    if table is not None:
        check_blocks(table, block, 16, 16, lengths)
        sizes = Sizes(batch, heads, kv_heads, rows, table.shape[1] * block, dim)
        check_lengths("actualSeqLengths", lengths, batch, sizes.keys)
        for cache in (*a.key, *a.value):
            check_pages(cache, table, sizes, block, a.inputLayout, lengths_of(lengths, batch, 0))
    else:
        check_lists(a.key, a.value, batch)
        keys = max(
            check_keys(key, value, a.inputLayout, kv_heads, dim) for key, value in zip(a.key, a.value, strict=True)
        )
        sizes = Sizes(batch, heads, kv_heads, rows, keys, dim)
        check_lengths("actualSeqLengths", lengths, batch, keys)
    check_decode_mask(mask, sizes)
    check_position_term(term, a.query, sizes)


def prefill(
    a: Any,
    keys: list[DeviceTensor],
    values: list[DeviceTensor],
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Attention of many queries a row. Returns the greatest score and the sum of exponentials, (B, N, S)."""
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    query = heads_first(a.query.wide(), a.inputLayout, heads)
    batch, _, rows, _ = query.shape
    if mask is not None:
        require_zero_or_one(mask)
        if a.sparseMode in (2, 3, 4):
            require_triangle(mask)
    by_query = getattr(a, "actualSeqLengths", None) or getattr(a, "actualSeqLengthsOptional", None)
    by_key = getattr(a, "actualSeqLengthsKv", None) or getattr(a, "actualSeqLengthsKvOptional", None)
    outs = np.zeros((*query.shape[:3], heads_first(values[0].array, a.inputLayout, kv_heads).shape[-1]), np.float32)
    greatest, total = (np.zeros(query.shape[:3], np.float32) for _ in range(2))
    for row in range(batch):
        key, value = (_row_of(given, row, batch, a.inputLayout, kv_heads) for given in (keys, values))
        used, seen = lengths_of(by_query, batch, rows)[row], lengths_of(by_key, batch, key.shape[2])[row]
        hidden = hidden_by_mode(mask, a.sparseMode, used, seen, a.preTokens, a.nextTokens)
        if hidden is not None and hidden.ndim == 4:
            hidden = hidden[row % hidden.shape[0]][None]
        added = None if term is None else term.wide()[row % term.shape[0]][None, :, :used, :seen]
        corrected = a.innerPrecise in (2, 3) or (a.sparseMode == 3 and used > seen)
        outs[row, :, :used], greatest[row, :, :used], total[row, :, :used] = (
            made[0]
            for made in attend(
                query[row : row + 1, :, :used],
                key[:, :, :seen],
                value[:, :, :seen],
                a.scaleValue,
                hidden,
                added,
                corrected,
            )
        )
    a.attentionOut.put(from_heads_first(outs, a.inputLayout))
    return greatest, total


def check_prefill(
    a: Any,
    keys: list[DeviceTensor],
    values: list[DeviceTensor],
    mask: DeviceTensor | None,
    term: DeviceTensor | None,
) -> None:
    heads, kv_heads = head_counts(a.numHeads, a.numKeyValueHeads)
    check_dtypes(a.query, keys, values, a.attentionOut)
    check_out(a.attentionOut, a.query, a.inputLayout)
    batch, rows, dim = query_sizes(a.query, a.inputLayout, heads)
    require(
        getattr(a, "blockTableOptional", None) is None,
        "blockTableOptional: paged prefill is not emulated",
        NOT_EMULATED,
    )
    check_lists(keys, values, batch)
    longest = max(check_keys(key, value, a.inputLayout, kv_heads, dim) for key, value in zip(keys, values, strict=True))
    require(dim <= 512, f"query: D {dim}, allowed: at most 512")
    most = 65536 if dim % 16 == 0 else 128
    require(batch <= most, f"query: B {batch}, allowed with D {dim}: at most {most}")
    for name, length in (("query", rows), ("key", longest)):
        require(length <= 20 << 20, f"{name}: S {length}, allowed: at most {20 << 20}")
    require(a.innerPrecise in range(4), f"innerPrecise: {a.innerPrecise}, allowed: 0 to 3")
    sizes = Sizes(batch, heads, kv_heads, rows, longest, dim)
    by_query = getattr(a, "actualSeqLengths", None) or getattr(a, "actualSeqLengthsOptional", None)
    by_key = getattr(a, "actualSeqLengthsKv", None) or getattr(a, "actualSeqLengthsKvOptional", None)
    check_lengths("actualSeqLengths", by_query, batch, rows)
    check_lengths("actualSeqLengthsKv", by_key, batch, longest)
    check_prefill_mask(mask, a.sparseMode, sizes)
    check_position_term(term, a.query, sizes)


def _row_of(given: list[DeviceTensor], row: int, batch: int, layout: str, kv_heads: int) -> np.ndarray:
    """Keys or values of one row of the batch, (1, kv heads, S, D)."""
    array = given[0].array[row : row + 1] if len(given) == 1 and given[0].shape[0] == batch else given[row].array
    return heads_first(array, layout, kv_heads).astype(np.float32)


def _pages(
    cache: DeviceTensor,
    table: DeviceTensor,
    row: int,
    lengths: list[int] | None,
    batch: int,
    block: int,
    kv_heads: int,
) -> np.ndarray:
    """Keys or values of one row of the batch, gathered from the blocks of a paged cache."""
    used = -(-lengths_of(lengths, batch, 0)[row] // block)
    ids = table.array[row, :used]
    require(
        np.all((ids >= 0) & (ids < cache.shape[0])), f"{table.name}: block {ids}, {cache.name} has {cache.shape[0]}"
    )
    pages = cache.array[ids]
    if pages.ndim == 3:
        pages = pages.reshape(used, block, kv_heads, -1).swapaxes(1, 2)
    gathered = pages.swapaxes(0, 1).reshape(1, kv_heads, used * block, -1)
    return gathered.astype(np.float32)
