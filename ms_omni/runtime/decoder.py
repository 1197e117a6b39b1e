"""The decoder that Thinker, Talker and code predictor share: its layers, and how prompts go through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn

from ms_omni.checkpoint.load import numpy_dtype
from ms_omni.kernels.concatenate import concatenated
from ms_omni.kernels.numpy_cache import Rows
from ms_omni.limits import BLOCK_SIZE
from ms_omni.parallel.collectives import broadcast
from ms_omni.runtime import numpy_layers
from ms_omni.runtime.decoder_layer import DecoderLayer
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.gathered_weights import gathered_layer
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.prompt_chunk import PromptChunk, joined_embeddings, joined_levels, row_slices
from ms_omni.runtime.sharding import DecoderSharding
from ms_omni.runtime.stacked_weights import Dtypes, layer_weights, small_weights


class Decoder(nn.Cell):
    """All layers and the final norm of one of a checkpoint's decoders."""

    def __init__(
        self,
        reader: Any,
        prefix: str,
        spec: DecoderSpec,
        operators: Any,
        dtype: Any,
        sharding: DecoderSharding | None = None,
        quantize: str = "none",
    ):
        """reader: a CheckpointReader, or a ShardedReader for `sharding`; with int8 weights unless `quantize` is none.
        prefix: of the weight names, "thinker.model.". dtype: of hidden states, a MindSpore float type; float weights
        and caches have it too, or float32 where layers are numpy kernels."""
        super().__init__(auto_prefix=False)
        sharding = sharding or DecoderSharding()
        experts, spec = sharding.experts(spec), sharding.local(spec)
        self.spec, self.ops, self.world = spec, operators, sharding.world
        self.in_numpy = operators.IN_NUMPY
        self.stored_dtype = ms.float32 if self.in_numpy else dtype
        floats = numpy_dtype(self.stored_dtype)
        scales = floats if quantize == "none" else numpy_dtype(operators.scale_dtype(quantize, dtype))
        dtypes = Dtypes(floats, scales)
        self.is_gathered = sharding.mode == "zero3"
        self.num_owners, self.owner = sharding.num_owners, sharding.owner

        def layer(index: int) -> DecoderLayer:
            name = f"{prefix}layers.{index}."
            if not self.is_gathered:
                weights = layer_weights(reader, prefix, index, spec, operators, dtypes, experts)
                return DecoderLayer(weights, spec, operators, name, sharding, quantize)
            weights = small_weights(reader, prefix, index, spec, operators, dtypes)
            gathered = gathered_layer(reader, prefix, index, spec, dtypes)
            return DecoderLayer(weights, spec, operators, name, sharding, quantize, gathered)

        self.layers = nn.CellList([layer(i) for i in range(spec.num_layers)], auto_prefix=False)
        # Norm i is before layer i, the last one behind all layers. The next norm adds a layer's output to the residual.
        self.norms = ParameterTuple(
            Parameter(Tensor(reader.read(name).astype(dtypes.floats)), name=name, requires_grad=False)
            for name in (
                *(f"{prefix}layers.{i}.input_layernorm.weight" for i in range(spec.num_layers)),
                f"{prefix}norm.weight",
            )
        )
        self.inv_freq = Tensor(spec.inv_freq)
        self.eps, self.num_layers, self.dtype = spec.rms_norm_eps, spec.num_layers, dtype

    def new_cache(self, num_blocks: int, name: str, block_size: int = BLOCK_SIZE) -> PagedKVCache:
        """An empty cache. name: prefix of its Parameters' names."""
        return PagedKVCache(self.spec, num_blocks, self.stored_dtype, name, block_size)

    def gather(self) -> tuple[Any, ...]:
        """The gathered weights of every layer, for several calls within one graph; empty unless the mode is zero3."""
        matrices: Any = ()
        parts = None
        if self.is_gathered:
            for layer in self.layers:
                parts = layer.parts(parts)
                matrices = (*matrices, parts if self.in_numpy else layer.large(parts))
        return matrices

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin of positions, float32 (rows,), taken in float32 and rounded to the decoder's dtype, as
        transformers does: (rows, head_dim) each."""
        half = positions.reshape(-1, 1) * self.inv_freq
        both = mint.cat((half, half), dim=-1)
        return mint.cos(both).astype(self.dtype), mint.sin(both).astype(self.dtype)

    def prefill(
        self, chunks: Sequence[PromptChunk], cache: PagedKVCache, accept_layer: int = -1
    ) -> tuple[Tensor, Tensor]:
        """Writes the keys and values of all chunks, which belong to different prompts, into `cache`.

        Returns two tensors (all tokens, hidden), in the order of the chunks: the normed hidden states, and the input of
        layer `accept_layer` (the normed states if there are fewer layers, the embeddings if it is negative). Where each
        conversation is computed by one rank, that rank broadcasts the states to the others."""
        if self.num_owners == 1:
            return self._prefill(chunks, cache, accept_layer)
        own, made = [chunk for chunk in chunks if chunk.owner == self.owner], None
        if own:
            made = self._prefill(own, cache, accept_layer)
        else:
            for layer in self.layers:
                layer.join_collectives()
        normed = self._broadcast_states(chunks, made and made[0])
        return normed, joined_embeddings(chunks) if accept_layer < 0 else self._broadcast_states(
            chunks, made and made[1]
        )

    def _broadcast_states(self, chunks: Sequence[PromptChunk], own: Tensor | None) -> Tensor:
        """The states of all chunks, (all tokens, hidden). own: of this rank's chunks, None if it has none."""
        parts: dict[int, Tensor] = {}  # by the chunk's number
        for owner in sorted({chunk.owner for chunk in chunks}):
            numbers = [number for number, chunk in enumerate(chunks) if chunk.owner == owner]
            rows = row_slices([chunks[number] for number in numbers])
            given = own if owner == self.owner else None
            if given is None:  # any, to be overwritten
                given = mint.zeros((rows[-1].stop, self.spec.hidden_size), dtype=self.dtype)
            told = broadcast(given, self.world, owner)
            parts |= {number: told[where] for number, where in zip(numbers, rows, strict=True)}
        return concatenated([parts[number] for number in range(len(chunks))])

    def _prefill(self, chunks: Sequence[PromptChunk], cache: PagedKVCache, accept_layer: int) -> tuple[Tensor, Tensor]:
        """`prefill` of the chunks that this rank computes."""
        x, levels = joined_embeddings(chunks), joined_levels(chunks)
        angles = np.concatenate([self.spec.angles(chunk.positions) for chunk in chunks])
        if self.in_numpy:
            spans = [(chunk.start, chunk.num_tokens, np.asarray(chunk.blocks, np.int32)) for chunk in chunks]
            rows = Rows.of_chunks(angles[:, : self.spec.head_dim // 2], spans, cache.block_size)
            arrays = [tensor.float().asnumpy() for tensor in (x, *levels)]
            made = numpy_layers.prefill(self, arrays[0], rows, cache, arrays[1:], accept_layer)
            normed, accepted = (Tensor.from_numpy(array).astype(self.dtype) for array in made)
            return normed, accepted
        angle = (Tensor(np.cos(angles), self.dtype), Tensor(np.sin(angles), self.dtype))
        slots = Tensor(np.concatenate([chunk.slots(cache.block_size) for chunk in chunks]))
        # Of each chunk: its rows, where it starts, and its blocks
        places = [
            (rows, chunk.start, Tensor(np.asarray(chunk.blocks, np.int32)) if chunk.start else None)
            for rows, chunk in zip(row_slices(chunks), chunks, strict=True)
        ]
        normed, residual = self.ops.rms_norm(x, self.norms[0], self.eps), x
        accepted = x
        for i in range(self.num_layers):
            layer_cache = (cache.keys[i], cache.values[i])
            large = self.layers[i].large()
            added, residual = self.layers[i].prefill(normed, residual, large, angle, layer_cache, slots, places)
            if i < len(levels):
                added = added + levels[i]
            normed, residual = self.ops.add_rms_norm(added, residual, self.norms[i + 1], self.eps)
            if i + 1 == accept_layer:
                accepted = residual
        return normed, normed if accept_layer >= self.num_layers else accepted
