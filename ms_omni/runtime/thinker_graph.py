"""A step of the Thinker as a compiled graph: the next tokens of several conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from ms_omni.parallel.collectives import broadcast
from ms_omni.parallel.vocabulary import lookup
from ms_omni.runtime.graph_cache import CompiledGraph, captured, unknown_rows
from ms_omni.runtime.sampling import penalize_repeated, with_token
from ms_omni.runtime.token_step import TokenStep

if TYPE_CHECKING:
    from ms_omni.runtime.fused_thinker import FusedThinker


class ThinkerGraph(nn.Cell):
    """The next `num_steps` tokens of `bucket` sequences of each owner; captured, the next token of any number of
    sequences. With a penalty of repeated tokens, num_steps is 1."""

    def __init__(
        self, thinker: FusedThinker, bucket: int | None, num_steps: int, num_kept: int, penalizes: bool
    ) -> None:
        """bucket: None for any number, captured. num_kept, penalizes: of the SamplingTensors that it is for."""
        super().__init__(auto_prefix=False)
        decoder, base_model = thinker.decoder, thinker.base_model
        name = f"thinker {bucket} x {num_steps} of {num_kept}" + (" penalized" if penalizes else "")
        self.num_steps = num_steps
        self.token_step = TokenStep(decoder, thinker.cache, name, bucket or 1, thinker.max_blocks, head=thinker.head)
        self.embed = base_model.model.embed_tokens.weight
        self.world, self.num_words, self.vocabulary = decoder.world, thinker.num_words, thinker.vocabulary
        num_rows = (bucket or 1) * decoder.num_owners
        self.ops, self.sampler = decoder.ops, decoder.ops.Sampler(num_rows, self.num_words, num_kept, name)
        numbered = f"{name} {self.token_step.graph_name} {self.token_step.kernel_numbers + self.sampler.kernel_numbers}"
        if bucket is None:
            numbers, whole = unknown_rows(ms.float32), unknown_rows(ms.int32)
            tables, uniform = unknown_rows(ms.int32, thinker.max_blocks), Tensor(shape=(1, None), dtype=ms.float32)
            inputs = (whole, whole, numbers, tables, uniform, numbers, whole, numbers)
            self.run = captured(self, inputs, decoder.ops.JIT_OPTIONS, name)
        else:
            function = self.penalized if penalizes else self.construct
            self.run = CompiledGraph(function, decoder.ops.JIT_OPTIONS, thinker.graphs, numbered)

    def construct(
        self,
        token: Tensor,
        batch_valid_length: Tensor,
        rope_positions: Tensor,
        tables: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Tensor:
        """token: int32 (rows,), the last ones. batch_valid_length: int32 (bucket,), how many tokens the sequences that
        this rank owns have with them; Ascend's PagedAttention finds the lengths by this name. rope_positions: float32
        (bucket,). tables: int32 (rows, max_blocks), the sequences' blocks. uniform: float32 (steps, rows). The others:
        of SamplingTensors. Returns the next ones, int32 (steps * rows,)."""
        tokens: Any = ()
        lengths, numbers = batch_valid_length, self.ops.rows_of(uniform, self.num_steps)
        for ahead in range(self.num_steps):
            if ahead:
                rope_positions, lengths = rope_positions + 1, lengths + 1
            x = lookup(self.embed, token, self.world, self.num_words)
            _, scores = self.token_step.decode_scores(x, rope_positions, lengths, tables)
            token = broadcast(self.sampler(scores, numbers[ahead], temperature, top_k, top_p), self.world)
            tokens = (*tokens, token)
        return token if self.num_steps == 1 else ops.concat(tokens, 0)

    def penalized(
        self,
        token: Tensor,
        batch_valid_length: Tensor,
        rope_positions: Tensor,
        tables: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
        penalty: Tensor,
        seen: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `construct`, with the penalty of SamplingTensors. seen: float32 (rows, words), 1 for tokens that were
        there before. Also returns it with the new ones."""
        x = lookup(self.embed, token, self.world, self.num_words)
        _, scores = self.token_step.decode_scores(x, rope_positions, batch_valid_length, tables)
        scores = penalize_repeated(scores, seen, penalty)
        number = self.ops.rows_of(uniform, 1)[0]
        token = broadcast(self.sampler(scores, number, temperature, top_k, top_p), self.world)
        return token, with_token(seen, self.vocabulary, token)
