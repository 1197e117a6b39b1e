"""One token of each row through consecutive blocks, as one graph kernel instead of some forty operators a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ms_omni.kernels.numpy_blocks import Block
from ms_omni.kernels.numpy_cache import Rows
from ms_omni.kernels.numpy_math import product, rms_norm


class StepBlocks:
    """Blocks of a decoder's layers between two sums over the ranks."""

    def __init__(
        self,
        blocks: Sequence[Block],
        inv_freq: np.ndarray,
        eps: float,
        block_size: int,
        final_norm: np.ndarray | None = None,
        head: np.ndarray | None = None,
    ):
        """inv_freq: float32 (head_dim / 2,). block_size: tokens of a cache block. final_norm: weight of the norm behind
        the last layer, (hidden,), if these blocks end there. head: the output head behind it, (hidden, words)."""
        self.blocks, self.inv_freq, self.eps, self.block_size = blocks, inv_freq, eps, block_size
        self.final_norm, self.head = final_norm, head

    def __call__(
        self,
        added: np.ndarray,
        residual: np.ndarray,
        rope_positions: np.ndarray,
        lengths: np.ndarray,
        block_tables: np.ndarray,
    ) -> tuple[np.ndarray, ...]:
        """added, residual: (rows, hidden), whose sum enters the first block. rope_positions: float32 (rows,), of the
        tokens. lengths: int32 (rows,), of their sequences, these tokens included. block_tables: int32 (rows,
        max_blocks). Returns (added, residual) behind the last block. Behind the last layer the first is the normed
        hidden states, and with a head the second is the logits, (rows, words)."""
        angles = rope_positions[:, None] * self.inv_freq
        return with_live_rows(self._work, added, residual, angles, lengths, block_tables, self.block_size)

    def _work(self, added: np.ndarray, residual: np.ndarray, rows: Rows) -> tuple[np.ndarray, ...]:
        added, residual = through(self.blocks, self.eps, added, residual, rows)
        if self.final_norm is None:
            return added, residual
        residual = residual + added
        normed = rms_norm(residual, self.final_norm, self.eps)
        return normed, residual if self.head is None else product(normed, self.head)


class Scores:
    """The output head as a graph kernel."""

    def __init__(self, head: np.ndarray):
        """(hidden, words)."""
        self.head = head

    def __call__(self, normed: np.ndarray) -> tuple[np.ndarray]:
        """(rows, hidden) to (rows, words). Padding rows are 0 and stay 0."""
        live = normed.any(1)
        if live.all():
            return (product(normed, self.head),)
        scores = np.zeros((len(normed), self.head.shape[1]), np.float32)
        scores[live] = product(normed[live], self.head)
        return (scores,)


def through(
    blocks: Sequence[Block], eps: float, added: np.ndarray, residual: np.ndarray, rows: Any
) -> tuple[np.ndarray, np.ndarray]:
    """added, residual: (rows, hidden), whose sum enters the first block. Returns the same behind the last block. rows:
    as for `Block.work`."""
    for block in blocks:
        residual = residual + added
        added = block.work(rms_norm(residual, block.norm, eps), rows)
    return added, residual


def with_live_rows(
    work: Callable[[np.ndarray, np.ndarray, Rows], tuple[np.ndarray, ...]],
    added: np.ndarray,
    residual: np.ndarray,
    angles: np.ndarray,
    lengths: np.ndarray,
    block_tables: np.ndarray,
    block_size: int,
) -> tuple[np.ndarray, ...]:
    """Calls `work` with the rows that are not padding. Padding rows, whose first block is 0, are 0 in all outputs,
    (rows, ...) each."""
    if all(block_tables[:, 0].tolist()):
        return work(added, residual, Rows.of_step(angles, lengths, block_tables, block_size))
    live = block_tables[:, 0] != 0
    rows = Rows.of_step(angles[live], lengths[live], block_tables[live], block_size)
    outputs = []
    for made in work(added[live], residual[live], rows):
        out = np.zeros((len(live), *made.shape[1:]), made.dtype)
        out[live] = made
        outputs.append(out)
    return tuple(outputs)
