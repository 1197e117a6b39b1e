"""What the attention operators share: layouts, masks of the sparse modes, and attention itself in float32."""

from __future__ import annotations

import numpy as np

from ascend_emulator.device_tensor import BOOL, DeviceTensor
from ascend_emulator.refusal import require

COMPRESSED = 2048  # sparse modes 2, 3 and 4 take a mask of this size for sequences of any length
UNLIMITED = 2147483647  # preTokens and nextTokens that hide nothing
_QUERIES_AT_ONCE = 512  # bounds the scores in memory, which a card never holds either


def heads_first(array: np.ndarray, layout: str, heads: int) -> np.ndarray:
    """(B, N, S, D) of an array in one of CANN's layouts; H is N * D."""
    if layout in ("BNSD", "BNSD_BSND"):
        return array
    if layout == "BSND":
        return array.swapaxes(1, 2)
    if layout == "BSH":
        return array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2)
    assert layout == "SBH", layout
    return array.reshape(*array.shape[:2], heads, -1).transpose(1, 2, 0, 3)


def from_heads_first(array: np.ndarray, layout: str) -> np.ndarray:
    """The array (B, N, S, D) in a layout, as an output has it."""
    if layout == "BNSD":
        return array
    batch, heads, rows, dim = array.shape
    if layout in ("BSND", "BNSD_BSND"):
        return array.swapaxes(1, 2)
    if layout == "BSH":
        return array.swapaxes(1, 2).reshape(batch, rows, heads * dim)
    assert layout == "SBH", layout
    return array.transpose(2, 0, 1, 3).reshape(rows, batch, heads * dim)


def hidden_by_mode(
    mask: DeviceTensor | None, mode: int, queries: int, keys: int, before: int, after: int
) -> np.ndarray | None:
    """True where a query must not look, broadcastable to (B, N, queries, keys); None where nothing is hidden.

    Source: CANN, "sparse_mode" (the page that the attention operators refer to). Without a mask the mode, preTokens
    and nextTokens have no effect. Modes: 0 the mask, within the band of preTokens and nextTokens, which begins at the
    upper left; 1 the mask; 2 and 3 causal from the upper left
    and from the lower right; 4 the band from the lower right.
    """
    if mask is None:
        return None
    query, key = np.arange(queries)[:, None], np.arange(keys)[None, :]
    if mode in (0, 1):
        given = mask.array.astype(bool)
        if given.ndim == 3:  # (B, S, S) of the inference operators: no axis of heads
            given = given[:, None]
        given = given[..., :queries, :keys]
        if mode == 1 or (before >= queries and after >= keys):
            return given
        return given | (key < query - before) | (key > query + after)
    if mode == 2:
        return key > query
    shift = keys - queries
    if mode == 3:
        return key > query + shift
    return (key < query + shift - before) | (key > query + shift + after)


def require_triangle(mask: DeviceTensor) -> None:
    """The compressed mask of modes 2, 3 and 4 must be ones above the diagonal. Device memory is read, so this is asked
    when the operator runs."""
    last_two = mask.array.reshape(COMPRESSED, COMPRESSED)
    wanted = ~np.tri(COMPRESSED, dtype=bool)
    require(
        np.array_equal(last_two != 0, wanted),
        f"{mask.name}: of the compressed mask all values above the diagonal must be 1 and all others 0; "
        f"{np.count_nonzero((last_two != 0) != wanted)} are not",
    )


def require_zero_or_one(mask: DeviceTensor) -> None:
    if mask.dtype != BOOL:
        require(np.all((mask.array == 0) | (mask.array == 1)), f"{mask.name}: {mask.dtype} values must be 0 and 1")


def attend(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    scale: float,
    hidden: np.ndarray | None = None,
    added: np.ndarray | None = None,
    empty_rows_are_zero: bool = False,
    scale_after: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """query: (B, N, S, D), key, value: (B, kv heads, keys, D), float32. added: position term. (output, greatest score,
    sum of exponentials); the last two are (B, N, S).

    A row in which everything is hidden: hidden scores are the lowest finite number on the card, so all are equal and
    the output is the mean of the values, unless the operator corrects invalid rows; then it is zero.
    scale_after: scale * (scores + added) instead of scale * scores + added.
    """
    batch, heads, rows, _ = query.shape
    kv_heads, keys = key.shape[1:3]
    group = heads // kv_heads
    out = np.zeros((batch, heads, rows, value.shape[-1]), np.float32)
    greatest, total = (np.zeros((batch, heads, rows), np.float32) for _ in range(2))
    if out.size == 0 or keys == 0:
        return out, greatest, total
    for b in range(batch):
        for head in range(heads):
            k, v = key[b, head // group], value[b, head // group]
            for begin in range(0, rows, _QUERIES_AT_ONCE):
                part = slice(begin, begin + _QUERIES_AT_ONCE)
                scores = query[b, head, part] @ k.T
                if added is not None:
                    term = np.broadcast_to(added, (batch, heads, rows, keys))[b, head, part]
                    scores = (scores + term) * np.float32(scale) if scale_after else scores * np.float32(scale) + term
                else:
                    scores *= np.float32(scale)
                empty = None
                if hidden is not None:
                    here = np.broadcast_to(hidden, (batch, heads, rows, keys))[b, head, part]
                    scores[here] = np.finfo(np.float32).min
                    empty = here.all(-1)
                top = scores.max(-1, keepdims=True)
                weights = np.exp(scores - top)
                sums = weights.sum(-1, keepdims=True)
                result = (weights @ v) / sums
                if empty_rows_are_zero and empty is not None:
                    result[empty] = 0
                out[b, head, part], greatest[b, head, part], total[b, head, part] = result, top[:, 0], sums[:, 0]
    return out, greatest, total
