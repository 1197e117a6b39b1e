"""Attention inside segments of one packed sequence: audio windows, pictures, video frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ms_omni import limits


def audio_segment_lengths(
    num_tokens: Sequence[int], tokens_per_chunk: int, n_window: int, n_window_infer: int
) -> list[int]:
    """Window lengths, in tokens, of packed audio clips.

    num_tokens: tokens of every clip after the convolutions. tokens_per_chunk: tokens of the longest convolution chunk
    in the batch (13 for a full one). A window holds `n_window_infer // (2 * n_window)` chunks (8 s in the released
    model) and never crosses a clip. Source: transformers 4.57.1 `Qwen3OmniMoeAudioEncoder.forward`, where
    flash attention is what applies them.
    """
    window = tokens_per_chunk * (n_window_infer // (n_window * 2))
    lengths: list[int] = []
    for count in num_tokens:
        full, rest = divmod(int(count), window)
        lengths += [window] * full + ([rest] if rest else [])
    return lengths


def vision_segment_lengths(grid_thw: np.ndarray) -> list[int]:
    """Patches per frame of packed pictures and videos. grid_thw: int, (num_media, 3), patches in time, height, width.
    A patch attends within its own picture or (two-frame) video step only."""
    return [int(h * w) for t, h, w in np.asarray(grid_thw).reshape(-1, 3) for _ in range(int(t))]


def segment_groups(lengths: Sequence[int], max_rows: int) -> Iterator[tuple[int, int, list[int]]]:
    """Whole segments, in order, of together at most `max_rows` rows, or a longer one alone: (first row, row behind the
    last, their lengths). No segment sees another, so an encoder may do one group after the other."""
    start, group = 0, list[int]()
    for length in lengths:
        if group and sum(group) + length > max_rows:
            yield start, start + sum(group), group
            start, group = start + sum(group), []
        group.append(length)
    if group:
        yield start, start + sum(group), group


def attend_in_segments(
    attention: Callable[..., Any], module: Any, query: Any, key: Any, value: Any, lengths: Sequence[int], scaling: float
) -> Any:
    """Full attention within each segment, none across. query, key, value: (1, heads, tokens, head_dim); returns
    (1, tokens, heads, head_dim).

    Neighbouring segments of one length become a batch: one attention call per run of equal lengths, no tokens x tokens
    mask, and the same result with every `attention` of mindone's ALL_ATTENTION_FUNCTIONS (mindone 0.5.0 gives its
    flash attention neither mask nor lengths, so that segments leak into each other). An attention that keeps its scores
    gets limits.SCORES_PER_CALL of them at a time: fewer segments, or of a long one some queries.
    """
    from mindspore import mint

    _, heads, tokens, head_dim = query.shape
    if sum(lengths) != tokens:
        raise ValueError(f"segments of {sum(lengths)} tokens in all for a sequence of {tokens}")
    outputs, start = [], 0
    for length, run in groupby(lengths):
        count = len(list(run))
        end = start + count * length
        packed = (x[0, :, start:end] for x in (query, key, value))
        q, k, v = (x.reshape(heads, count, length, head_dim).swapaxes(0, 1) for x in packed)
        for segments, rows in _calls(module, count, length, heads):
            out, _ = attention(
                module, q[segments, :, rows], k[segments], v[segments],
                attention_mask=None, scaling=scaling, dropout=0.0, is_causal=False,
            )  # fmt: skip
            outputs.append(out.reshape(1, -1, heads, head_dim))
        start = end
    return outputs[0] if len(outputs) == 1 else mint.cat(outputs, dim=1)


def _calls(module: Any, count: int, length: int, heads: int) -> Iterator[tuple[slice, slice]]:
    """Which of `count` segments of `length` tokens, and which of their queries, each attention call takes."""
    if module.config._attn_implementation == "flash_attention_2":
        yield slice(0, count), slice(0, length)
        return
    segments = max(1, limits.SCORES_PER_CALL // (heads * length * length))
    rows = max(1, min(length, limits.SCORES_PER_CALL // (heads * length)))
    for first in range(0, count, segments):
        for row in range(0, length, rows):
            yield slice(first, min(first + segments, count)), slice(row, min(row + rows, length))


def attention_function(config: Any) -> Callable[..., Any]:
    """The attention that `config._attn_implementation` names, of mindone's table."""
    from mindone.transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from mindone.transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import eager_attention_forward

    if config._attn_implementation == "eager":
        return eager_attention_forward
    return ALL_ATTENTION_FUNCTIONS[config._attn_implementation]
