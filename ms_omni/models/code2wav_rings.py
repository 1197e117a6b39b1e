"""Code2Wav by mindone's cells, for a card: several streams in one call, with ring buffers of what they look back at."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint

from ms_omni.limits import CHUNK_FRAMES
from ms_omni.models.code2wav_sizes import convolution_context_frames, missing_tail_samples, samples_per_frame

HIDDEN_SCORE = -3e4  # exp of it is 0, and every float type has it


@dataclass(eq=False)
class Stream:
    """A wave in the making. number: of its rows in the rings. num_frames: decoded so far."""

    number: int
    num_frames: int = 0


class Rings:
    """Ring buffers of the last `size` rows of each stream: row n has place n % size. Ring 0 takes the padding of
    calls."""

    def __init__(self, size: int, width: tuple[int, ...], dtype: Any):
        self.size, self._width = size, width
        self._rows = mint.zeros((1, size, *width), dtype=dtype)

    def grow(self) -> None:
        """Doubles the number of rings."""
        self._rows = mint.cat([self._rows, mint.zeros(self._rows.shape, dtype=self._rows.dtype)])

    def clear(self, number: int) -> None:
        """Zeros a ring. The mask hides what an earlier stream left, but not NaN."""
        places = np.arange(number * self.size, (number + 1) * self.size, dtype=np.int32)
        self.write(Tensor(places), mint.zeros((self.size, *self._width), dtype=self._rows.dtype))

    def read(self, numbers: Tensor) -> Tensor:
        """numbers: int32 (batch,), of rings. (batch, size, ...), in the order of the places."""
        return mint.index_select(self._rows, 0, numbers)

    def write(self, places: Tensor, rows: Tensor) -> None:
        """places: int32 (n,), as `places` returns them. rows: (n, ...)."""
        self._rows.view(-1, *self._width).index_put_((places,), rows)

    def places(self, streams: Sequence[Stream], lengths: Sequence[int], padded: int) -> Tensor:
        """Where the next rows of each stream go, int32 (batch * padded,); ring 0 for padding and for overwritten
        rows."""
        places = np.zeros((len(streams), padded), np.int32)
        for row, stream, length in zip(places, streams, lengths, strict=True):
            last = np.arange(max(0, length - self.size), length)
            row[last] = stream.number * self.size + (stream.num_frames + last) % self.size
        return Tensor(places.reshape(-1))


@dataclass
class _Windows:
    """The cache that mindone's attention is given. keys, values: of each layer."""

    keys: list[Rings]
    values: list[Rings]
    numbers: Tensor = field(init=False)
    places: Tensor = field(init=False)

    def update(self, keys: Tensor, values: Tensor, layer: int, _: Any = None) -> tuple[Tensor, Tensor]:
        """keys, values: (batch, kv_heads, frames, dim), new. Returns them behind those of the rings."""
        return self._joined(self.keys[layer], keys), self._joined(self.values[layer], values)

    def _joined(self, rings: Rings, new: Tensor) -> Tensor:
        before = rings.read(self.numbers).permute(0, 2, 1, 3)
        joined = mint.cat([before, new], dim=2)
        rings.write(self.places, new.permute(0, 2, 1, 3).reshape(-1, new.shape[1], new.shape[3]))
        return joined


class WaveDecoder:
    """Decodes pieces of several streams together, padded to the longest, with the launches of one. A frame goes through
    the transformer once, and through the convolutions again for each piece that looks back at it."""

    def __init__(self, code2wav: Any):
        self._model, config, self.most_together = code2wav, code2wav.config, CHUNK_FRAMES
        self.context = convolution_context_frames(config)  # frames that are decoded once more with each piece
        self._step, self._late = samples_per_frame(config), missing_tail_samples(config)
        head_dim = code2wav.pre_transformer.layers[0].self_attn.head_dim
        shape, dtype = (config.num_key_value_heads, head_dim), code2wav.code_embedding.weight.dtype
        keys, values = (
            [Rings(config.sliding_window, shape, dtype) for _ in range(config.num_hidden_layers)] for _ in range(2)
        )
        self._windows, self._dtype = _Windows(keys, values), dtype
        self._hidden = Rings(self.context, (config.hidden_size,), dtype)
        self._num_rings, self._free = 1, list[int]()

    def new_stream(self) -> Stream:
        """The state of a new stream. Its rings are reused once it is dropped."""
        rings = [*self._windows.keys, *self._windows.values, self._hidden]
        if not self._free:
            for each in rings:
                each.grow()
            self._free += range(self._num_rings, 2 * self._num_rings)
            self._num_rings *= 2
        stream = Stream(self._free.pop())
        weakref.finalize(stream, self._free.append, stream.number).atexit = False
        for each in rings:
            each.clear(stream.number)
        return stream

    def decode(self, streams: Sequence[Stream], codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """codes: int32 (num_quantizers, frames), the next ones of each stream. The next piece of each wave, float32
        (samples,) in [-1, 1]."""
        lengths = [piece.shape[1] for piece in codes]
        longest = max(lengths)
        padded = np.stack([np.pad(piece, ((0, 0), (0, longest - piece.shape[1]))) for piece in codes])
        numbers = Tensor(np.array([stream.number for stream in streams], np.int32))
        before = np.array([stream.num_frames for stream in streams], np.int32)
        places = before[:, None] + np.arange(longest, dtype=np.int32)
        mask = Tensor(_mask(before, longest, self._windows.keys[0].size)).astype(self._dtype)
        self._windows.numbers = numbers
        self._windows.places = self._windows.keys[0].places(streams, lengths, longest)
        fresh = self._model.transform(Tensor(padded), self._windows, Tensor(places), mask)
        wave = self._model.to_wave(self._with_context(fresh, numbers, before, lengths))
        self._hidden.write(self._hidden.places(streams, lengths, longest), fresh.reshape(-1, fresh.shape[2]))
        samples, pieces = wave.astype(ms.float32).asnumpy(), []
        for row, (stream, length) in enumerate(zip(streams, lengths, strict=True)):
            context = min(stream.num_frames, self.context)
            first = max(0, context * self._step - self._late)
            pieces.append(samples[row, 0, first : (context + length) * self._step - self._late].copy())
            stream.num_frames += length
        return pieces

    def _with_context(self, fresh: Tensor, numbers: Tensor, before: np.ndarray, lengths: Sequence[int]) -> Tensor:
        """fresh: (batch, frames, hidden). Returns each stream's frames behind the earlier ones that they look back at:
        (batch, longest, hidden)."""
        batch, frames, width = fresh.shape
        known = mint.cat([self._hidden.read(numbers), fresh], dim=1)
        context = np.minimum(before, self.context)
        places = np.zeros((batch, (context + lengths).max()), np.int32)
        for row, (count, seen, length) in enumerate(zip(context, before, lengths, strict=True)):
            places[row, :count] = np.arange(seen - count, seen) % self.context
            places[row, count : count + length] = self.context + np.arange(length)
        places += np.arange(batch, dtype=np.int32)[:, None] * (self.context + frames)
        rows = mint.index_select(known.reshape(-1, width), 0, Tensor(places.reshape(-1)))
        return rows.reshape(*places.shape, width)


def _mask(before: np.ndarray, frames: int, window: int) -> np.ndarray:
    """float32 (batch, 1, frames, window + frames), added to the scores: a frame sees itself and the `window` - 1 frames
    of its stream before it, in the ring or in this call. before: int (batch,), frames of each stream so far."""
    new = before[:, None] + np.arange(frames)
    in_ring = before[:, None] - 1 - (before[:, None] - 1 - np.arange(window)) % window
    keys = np.concatenate([in_ring, new], axis=1)[:, None]
    ahead = new[:, :, None] - keys
    return np.where((ahead >= 0) & (ahead < window) & (keys >= 0), 0, HIDDEN_SCORE)[:, None].astype(np.float32)
