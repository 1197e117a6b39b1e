"""The code predictor in numpy: all residual codes of each row's frame, as one kernel of a graph. float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ms_omni.kernels.numpy_cache import attend_one
from ms_omni.kernels.numpy_math import product, rms_norm, rotary_of
from ms_omni.kernels.numpy_sampling import sample_rows

# What is added, and the residual, (rows, hidden) each, before layers, and FrameRows -> the two after them
Layer = Callable[..., tuple[np.ndarray, ...]]


@dataclass(slots=True)
class FrameRows:
    """Token number `place` of the frames of `num_rows` rows, with the interface of `Rows`. rotary: of `rotary_of`, (1,
    1, head_dim). Each frame has one block of the cache, of `num_tokens` tokens; the first block is for padding."""

    rotary: tuple[np.ndarray, np.ndarray]
    place: int
    num_rows: int
    num_tokens: int

    def write(self, cache: np.ndarray, values: np.ndarray) -> None:
        """As `Rows.write`."""
        self._frames(cache)[:, self.place] = values

    def attend(self, q: np.ndarray, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
        """As `Rows.attend`; the frames are equally long and attend together."""
        seen = self.place + 1
        return attend_one(q, self._frames(keys)[:, :seen], self._frames(values)[:, :seen])

    def _frames(self, cache: np.ndarray) -> np.ndarray:
        """cache: (slots, kv_heads, dim). A view, (rows, num_tokens, kv_heads, dim)."""
        return cache.reshape(-1, self.num_tokens, *cache.shape[1:])[1 : 1 + self.num_rows]


class ResidualCodes:
    """Makes the codes after the first, and the Talker's next input."""

    def __init__(
        self,
        layers: Sequence[Layer],
        inv_freq: np.ndarray,
        eps: float,
        final_norm: np.ndarray,
        heads: Sequence[np.ndarray],
        tables: Sequence[np.ndarray],
        is_gathered: bool,
    ):
        """layers: of the code predictor; if is_gathered each takes its gathered weights as `parts`. final_norm: behind
        the layers. heads: (hidden, codes) for each residual code. tables: (codes, hidden), their embeddings. Gathered
        heads and tables come with each call instead: then these are empty."""
        self.layers, self.eps, self.final_norm, self.heads, self.tables = layers, eps, final_norm, heads, tables
        self.inv_freq, self.is_gathered, self.sample = inv_freq, is_gathered, sample_rows

    def __call__(
        self,
        hidden: np.ndarray,
        first: np.ndarray,
        words: np.ndarray,
        block_tables: np.ndarray,
        uniform: np.ndarray,
        temperature: np.ndarray,
        top_k: np.ndarray,
        top_p: np.ndarray,
        *gathered: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """hidden: (rows, hidden), from which the frame's first code was picked. first: that code's embedding. words:
        the text of the frame. block_tables: int32 (rows, n), of the Talker; a row whose first block is 0 is padding.
        uniform: float32 (num_code_groups, rows); the first is not used here. temperature, top_k, top_p: as for
        `Sampler`. gathered: every rank's `flat` of each layer, (ranks, n); then heads and tables, (codes, hidden) each.
        Returns the codes, int32 (residuals, rows), and the sum of words and all codes' embeddings, (rows, hidden)."""
        live = np.flatnonzero(block_tables[:, 0])
        steps, rows = len(uniform) - 1, len(live)
        settings = temperature[live], top_k[live], top_p[live]
        layers, heads, tables = self._weights(gathered, steps)
        codes, sums = np.zeros((steps, len(hidden)), np.int32), np.zeros(first.shape, np.float32)
        if not rows:
            return codes, sums
        x, uniform = first[live], uniform[:, live]
        total = words[live] + x
        cos, sin = rotary_of(np.arange(steps + 1, dtype=np.float32)[:, None] * self.inv_freq)
        places = [FrameRows((cos[i : i + 1], sin[i : i + 1]), i, rows, steps + 1) for i in range(steps + 1)]
        self._through(hidden[live], places[0], layers)
        for step in range(1, steps + 1):
            added, residual = self._through(x, places[step], layers)
            normed = rms_norm(residual + added, self.final_norm, self.eps)
            picked = self.sample(product(normed, heads[step - 1]), uniform[step], *settings)
            codes[step - 1, live] = picked
            x = tables[step - 1][picked]
            total += x
        sums[live] = total
        return codes, sums

    def _weights(self, gathered: Sequence[np.ndarray], steps: int) -> tuple[Sequence[Any], ...]:
        """Layers, heads, tables."""
        layers, heads, tables, left = self.layers, self.heads, self.tables, gathered
        if self.is_gathered:
            layers = [partial(layer, parts=parts) for layer, parts in zip(layers, left, strict=False)]
            left = left[len(layers) :]
        if not heads:
            heads, left = [head.T for head in left[:steps]], left[steps:]
        return layers, heads, tables or left

    def _through(self, x: np.ndarray, places: FrameRows, layers: Sequence[Layer]) -> tuple[np.ndarray, ...]:
        """(added, residual) behind the last layer, (rows, hidden) each, for the rows' next tokens x."""
        added, residual = x, np.zeros_like(x)
        for layer in layers:
            added, residual = layer(added, residual, places)
        return added, residual
