"""One decoder layer of the released sizes on the card: its prompt, its decoding graph, and what is right."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ms_omni.acceptance.bench import random
from ms_omni.acceptance.compare import array_of
from ms_omni.acceptance.released import DECODERS, RandomCheckpoint, decoder_configs, released_config
from ms_omni.acceptance.whole_layer import LayerOutput, whole_layer
from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.limits import PREFILL_CHUNK
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.graph_cache import CompiledGraph
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.prompt_chunk import PromptChunk
from ms_omni.runtime.token_step import TokenStep

# Roundings of the dtype that a layer may be off by: some ten operators in a row, and the norm that scales all.
ALLOWED = 32
# A token whose last chosen expert has less margin over the next one is not compared: roundings may exchange the two.
CLEAR_MARGIN = {"bfloat16": 8 * 2.0**-8, "float16": 8 * 2.0**-11}
# Of the NUM_BLOCKS blocks of the cache, the sequence's own
BLOCKS, NUM_BLOCKS = (3, 1), 4
# Enough that some have a clear choice of experts, and for several chunks
TOKENS = 96


class OneLayer:
    """A decoder of one layer, and a prompt `x` of `tokens` rows whose positions differ on three axes as a picture's
    do. Expensive attributes are computed when first used."""

    def __init__(self, device: str, name: str, dtype: str, quick: bool, tokens: int = TOKENS):
        """name: of DECODERS."""
        self.name, self.dtype, self.tokens = name, dtype, tokens
        self._config, self._device = released_config(quick), device
        self.spec = DecoderSpec.from_config(decoder_configs(self._config)[name])
        self.checkpoint = RandomCheckpoint(self._config, getattr(ms, dtype))
        self.x = random(f"{name} prompt", tokens, self.spec.hidden_size, dtype=numpy_dtype(getattr(ms, dtype)))
        self._num_caches = 0

    @cached_property
    def decoder(self) -> Decoder:
        """With random weights, on the device."""
        operators = decoder_ops(self._device)
        return Decoder(self.checkpoint, DECODERS[self.name], self.spec, operators, getattr(ms, self.dtype))

    @cached_property
    def positions(self) -> np.ndarray:
        """float32, (3, tokens), or (tokens,) for a decoder of one axis."""
        time = np.arange(self.tokens, dtype=np.float32)
        if self.spec.mrope_section is None:
            return time
        # Like a picture's, except for the last quarter, which is text: its three positions are equal
        text = np.arange(self.tokens) >= self.tokens - self.tokens // 4
        return np.stack([time, np.where(text, time, time % 7), np.where(text, time, time % 5)]).astype(np.float32)

    @cached_property
    def right(self) -> LayerOutput:
        """What numpy computes in float64."""
        return whole_layer(self.checkpoint, DECODERS[self.name], self.spec, self.x, self.positions)

    @cached_property
    def last_clear(self) -> int:
        """The index of the last text token with a clear choice of experts."""
        clear = np.flatnonzero(self.clear)
        assert len(clear) and clear[-1] >= self.tokens - self.tokens // 4, "no token has a clear choice of experts"
        return int(clear[-1])

    @property
    def clear(self) -> np.ndarray:
        """bool, (tokens,): tokens with a clear choice of experts. Only they are compared."""
        return self.right.margin > CLEAR_MARGIN[self.dtype]

    def cache(self) -> PagedKVCache:
        """A new cache."""
        self._num_caches += 1
        return self.decoder.new_cache(NUM_BLOCKS, f"accept.{self.name}.{self.dtype}.{self._num_caches}")

    def prefill(self, cache: PagedKVCache, end: int | None = None, chunk: int = PREFILL_CHUNK) -> np.ndarray:
        """Normed hidden states of the prompt's first `end` tokens (None: all), float64, (end, hidden). chunk: tokens at
        a time."""
        parts, end = [], end or self.tokens
        for start in range(0, end, chunk):
            piece = slice(start, min(start + chunk, end))
            x, positions = Tensor(self.x[piece]), self.positions[..., piece]
            normed, _ = self.decoder.prefill([PromptChunk(x, positions, BLOCKS, start)], cache)
            parts.append(array_of(normed))
        return np.concatenate(parts)

    @cached_property
    def whole(self) -> tuple[np.ndarray, PagedKVCache]:
        """Normed hidden states of the whole prompt, float64, (tokens, hidden), and its cache afterwards."""
        cache = self.cache()
        return self.prefill(cache), cache

    @cached_property
    def decoded(self) -> np.ndarray:
        """The normed hidden state of the last clear token, decoded in its graph after a prompt of the tokens before it,
        (1, hidden)."""
        place, cache = self.last_clear, self.cache()
        self.prefill(cache, place)
        return array_of(self.decoding(cache)(*self.row(place)))

    def decoding(self, cache: PagedKVCache) -> Any:
        """A graph that decodes one token: takes what `row` returns, returns its normed hidden state, (1, hidden)."""
        step = TokenStep(self.decoder, cache, cache.name, 1, len(BLOCKS))

        def decode(x: Tensor, rope_positions: Tensor, batch_valid_length: Tensor, block_tables: Tensor) -> Tensor:
            return step.decode(x, rope_positions, batch_valid_length, block_tables)

        return CompiledGraph(decode, self.decoder.ops.JIT_OPTIONS, None, cache.name)

    def row(self, place: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A decoding graph's inputs for the token at `place`, which must be text: hidden state, (1, hidden), rotary
        position, float32 (1,), number of tokens up to it, int32 (1,), and blocks, int32 (1, max_blocks)."""
        rope = self.positions[..., place].reshape(-1)[:1].astype(np.float32)
        table = Tensor(np.array([BLOCKS], np.int32))
        return Tensor(self.x[place : place + 1]), Tensor(rope), Tensor([place + 1], ms.int32), table


@lru_cache(maxsize=1)
def one_layer(device: str, name: str, dtype: str, quick: bool) -> OneLayer:
    """Consecutive steps share the same layer; only one is kept in memory."""
    return OneLayer(device, name, dtype, quick)
