"""A frame of each speaking row as one graph: the code predictor's residual codes, then the Talker's next first code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, Tensor, mint, nn, ops

from ms_omni.parallel.collectives import broadcast
from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.parallel.world import World
from ms_omni.runtime.frame_step import FrameStep
from ms_omni.runtime.graph_cache import CompiledGraph, captured, unknown_rows
from ms_omni.runtime.numpy_frames import FrameKernel
from ms_omni.runtime.sampling import penalize_repeated, with_token
from ms_omni.runtime.token_step import TokenStep

if TYPE_CHECKING:
    from ms_omni.runtime.fused_talker import FusedTalker


class TextProjection(nn.Cell):
    """Answer tokens as the Talker reads them: looked up in the Thinker's table and projected. Traced into the graphs
    that call it. Ranks that share the weights gather the results, which are smaller than the weights."""

    def __init__(self, model: Any, world: World) -> None:
        """model: a corrected Qwen3-Omni. `Qwen3OmniMoeTalkerResizeMLP` of transformers 4.57.1."""
        super().__init__(auto_prefix=False)
        talker, thinker = model.config.talker_config, model.config.thinker_config
        # By name: reading the attributes of their cells would gather weights that are spread over ranks
        weights = dict(model.talker.text_projection.parameters_and_names())
        self.wide, self.wide_bias = weights["linear_fc1.weight"], weights["linear_fc1.bias"]
        self.narrow, self.narrow_bias = weights["linear_fc2.weight"], weights["linear_fc2.bias"]
        self.embed = model.thinker.model.embed_tokens.weight
        self.world, self.num_words = world, thinker.text_config.vocab_size
        self.inner, self.hidden = talker.text_config.intermediate_size, talker.text_config.hidden_size

    def construct(self, ids: Tensor) -> Tensor:
        """ids: int32 (rows,), of the Thinker's vocabulary. (rows, talker_hidden)."""
        x = lookup(self.embed, ids, self.world, self.num_words)
        x = logits(x, self.wide, self.world, self.inner) + self.wide_bias
        return logits(x * mint.sigmoid(x), self.narrow, self.world, self.hidden) + self.narrow_bias


class TalkerGraph(nn.Cell):
    """The residual codes of a frame and the first code of the next, for `bucket` sequences of each owner; captured, for
    any number of sequences."""

    def __init__(self, parts: FusedTalker, bucket: int | None, num_kept: tuple[int, int]) -> None:
        """bucket: None for any number, captured. num_kept: of the TalkerTensors that it is for."""
        super().__init__(auto_prefix=False)
        self.ops, self.world = parts.decoder.ops, parts.world
        name = f"talker {bucket} of {num_kept}"
        self.num_kept, self.is_captured = num_kept, bucket is None
        any_rows = (bucket or 1) * parts.decoder.num_owners
        self.talker = TokenStep(parts.decoder, parts.cache, name, bucket or 1, parts.max_blocks, head=parts.head)
        config = parts.config
        self.text = TextProjection(parts.model, self.world)
        self.embed = parts.base_model.model.codec_embedding.weight
        self.num_first = config.text_config.vocab_size
        self.num_codes = config.code_predictor_config.vocab_size
        self.vocabulary = Tensor(np.arange(self.num_first, dtype=np.int32)[None])
        self.num_residuals = len(parts.code_heads)
        self.sampler = self.ops.Sampler(any_rows, self.num_first, num_kept[0], name)
        self.frames: Any = None
        numbers = self.talker.kernel_numbers + self.sampler.kernel_numbers
        if parts.frames is not None:
            self.frames = FrameKernel(parts.frames, any_rows, parts.max_blocks, name)
            numbers += self.frames.kernel_numbers
        else:
            self.predictor = FrameStep(parts.predictor, config.num_code_groups)
            # Tuples, not lists: MindSpore's compile cache gives a graph only the Parameters that its cell registers
            self.code_embeds, self.code_heads = ParameterTuple(parts.code_embeds), ParameterTuple(parts.code_heads)
            self.code_sampler = self.ops.Sampler(any_rows, self.num_codes, num_kept[1], f"{name} residual")
            numbers += self.code_sampler.kernel_numbers
        if bucket is None:
            self.frame: Any = captured(self, self._inputs(parts), self.ops.JIT_OPTIONS, name)
            self.run: Any = self._run_captured
        else:
            full_name = f"{name} {self.talker.graph_name} {numbers}"
            self.run = CompiledGraph(self.construct, self.ops.JIT_OPTIONS, parts.graphs, full_name)

    def _inputs(self, parts: FusedTalker) -> tuple[Tensor, ...]:
        """What `construct` is given, of any number of rows."""
        numbers, whole, scores = (
            unknown_rows(ms.float32),
            unknown_rows(ms.int32),
            unknown_rows(ms.float32, self.num_first),
        )
        hidden = unknown_rows(parts.decoder.dtype, parts.decoder.spec.hidden_size)
        tables = unknown_rows(ms.int32, parts.max_blocks)
        uniform = Tensor(shape=(self.num_residuals + 1, None), dtype=ms.float32)
        sampling = (numbers, whole, numbers)
        places = (whole, numbers, tables, uniform)
        return (hidden, whole, scores, whole, *places, numbers, scores, *sampling, *sampling)

    def _run_captured(self, hidden: Tensor, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `construct` returns of a graph that is not captured, each in memory of its own."""
        whole, rows = self.frame(hidden, *arguments), hidden.shape[0]
        first = hidden.size
        second = first + rows * self.num_first
        state = whole[:first].reshape(hidden.shape).astype(hidden.dtype)
        seen = whole[first:second].reshape(rows, self.num_first)
        return whole[second:].astype(ms.int32), state if state.dtype != ms.float32 else state + 0, seen + 0

    def choose(
        self,
        scores: Tensor,
        seen: Tensor,
        uniform: Tensor,
        penalty: Tensor,
        suppressed: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """scores: float32 (rows, vocab), logits. uniform: float32 (rows,). The others: of TalkerTensors. The first
        codes of a frame, int32 (rows,), and what has been seen since."""
        scores = penalize_repeated(scores, seen, penalty) + suppressed
        token = self.sampler(scores, uniform, temperature, top_k, top_p)
        return token, with_token(seen, self.vocabulary, token)

    def construct(
        self,
        hidden: Tensor,
        token: Tensor,
        seen: Tensor,
        text: Tensor,
        batch_valid_length: Tensor,
        rope_positions: Tensor,
        tables: Tensor,
        uniform: Tensor,
        penalty: Tensor,
        suppressed: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
        code_temperature: Tensor,
        code_top_k: Tensor,
        code_top_p: Tensor,
    ) -> Any:
        """hidden: (rows, hidden), what `token`, int32 (rows,), was picked from. seen: float32 (rows, vocab). text:
        int32 (rows,), the words that are added to this frame. batch_valid_length: int32 (bucket,), how many tokens the
        sequences that this rank owns have with this frame; Ascend's PagedAttention finds the lengths by this name.
        rope_positions: float32 (bucket,). tables: int32 (rows, max_blocks), the sequences' blocks. uniform: float32
        (num_code_groups, rows), the first for the next token. The others: of TalkerTensors. Returns this frame's codes
        and the next token, int32 ((num_code_groups + 1) * rows,), to be read at once, and the next hidden and seen."""
        numbers = self.ops.rows_of(uniform, self.num_residuals + 1)
        total, codes = self.predict(
            hidden, token, text, tables, uniform, numbers, code_temperature, code_top_k, code_top_p
        )
        # All ranks continue from the leader's sum: their own may differ by a rounding
        total = broadcast(total, self.world)
        hidden, scores = self.talker.decode_scores(total, rope_positions, batch_valid_length, tables)
        token, seen = self.choose(scores, seen, numbers[0], penalty, suppressed, temperature, top_k, top_p)
        made = broadcast(ops.concat((*codes, token), 0), self.world)
        if self.is_captured:
            # One output, computed last: MindSpore frees several ones before a replay has made them all
            parts = (hidden.astype(ms.float32).reshape(-1), seen.reshape(-1), made.astype(ms.float32))
            return mint.cat(parts)
        return made, hidden, seen

    def predict(
        self,
        hidden: Tensor,
        token: Tensor,
        text: Tensor,
        tables: Tensor,
        uniform: Tensor,
        numbers: tuple[Tensor, ...],
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Any:
        """The code predictor's part of `construct`. numbers: the rows of its `uniform`. Returns what the Talker
        reads next, (rows, hidden), and the frame's codes, int32, one after the other in some tensors."""
        words = self.text(text)
        x = lookup(self.embed, token, self.world, self.num_first)
        if self.frames is not None:
            codes, total = self.frames(hidden, x, words, tables, uniform, temperature, top_k, top_p)
            return total.astype(words.dtype), (token, codes.reshape(-1))
        return self.by_operator(hidden, token, words, x, numbers, temperature, top_k, top_p)

    def by_operator(
        self,
        hidden: Tensor,
        token: Tensor,
        words: Tensor,
        x: Tensor,
        numbers: tuple[Tensor, ...],
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Any:
        """`predict` by the operators of the device. words, x: (rows, hidden), what the text and `token` are read as."""
        gathered = self.predictor.decoder.gather()
        _, past = self.predictor.decode(hidden, 0, (), gathered)
        summands: Any = (words, x)
        codes: Any = (token,)
        for i in range(self.num_residuals):
            state, past = self.predictor.decode(x, i + 1, past, gathered)
            scores = logits(state, self.code_heads[i], self.world, self.num_codes).astype(ms.float32)
            code = self.code_sampler(scores, numbers[i + 1], temperature, top_k, top_p)
            x = lookup(self.code_embeds[i], code, self.world, self.num_codes)
            summands, codes = (*summands, x), (*codes, code)
        # Rounded once; sums of two would each be rounded in half precision
        by_summand = ops.concat(summands, 0).reshape(len(summands), -1, words.shape[1])
        total = mint.sum(by_summand, 0, dtype=ms.float32)
        return total.astype(words.dtype), codes
