"""The Talker: prompts in chunks, then frames of several conversations in one call of a compiled graph, residual codes
included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops

from ms_omni.models.talker_prompt import build_talker_prompt
from ms_omni.models.thinker import host
from ms_omni.parallel.collectives import broadcast
from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.parallel.world import World
from ms_omni.runtime.decode_rows import (
    CarriedRow,
    Latest,
    Places,
    block_tables,
    bucket_of,
    carried_over,
    drawn,
    last_tokens,
)
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.frame_step import FrameStep, frame_cache
from ms_omni.runtime.fused_thinker import media_positions
from ms_omni.runtime.graph_cache import GraphCache, captured, compiled, of_rows
from ms_omni.runtime.kept import Kept, Prompt
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.sampling import penalize_repeated
from ms_omni.runtime.talker_sampling import GREEDY_TALKER, TalkerSampling, TalkerTensors
from ms_omni.runtime.text_projection import TextProjection
from ms_omni.runtime.token_step import TokenStep
from ms_omni.scheduling.sequence import Sequence as TokenSequence
from ms_omni.scheduling.state import RequestState
from ms_omni.stages import stage


class TalkerGraph(nn.Cell):
    """From one frame's first code to the next frame's, of `rows` sequences, or, captured, of as many as it is given."""

    def __init__(self, parts: FusedTalker, rows: int | None, num_kept: tuple[int, int]) -> None:
        """rows: None for any number, captured. num_kept: of the TalkerTensors that it is for."""
        super().__init__()
        self.ops, self.world = parts.decoder.ops, parts.world
        name = f"talker {rows} of {num_kept}"
        self.num_kept, self.is_captured, any_rows = num_kept, rows is None, rows or 1
        self.talker = TokenStep(parts.decoder, parts.cache, name, any_rows, parts.max_blocks)
        self.predictor = FrameStep(parts.predictor, any_rows, parts.config.num_code_groups, name, parts.frame_cache)
        self.text = TextProjection(parts.model, self.world)
        self.embed, self.head = parts.shell.model.codec_embedding.weight, parts.shell.codec_head.weight
        # Tuples, not lists: MindSpore's compile cache gives a graph only the Parameters that its cell has registered
        self.code_embeds, self.code_heads = ParameterTuple(parts.code_embeds), ParameterTuple(parts.code_heads)
        config = parts.config
        self.num_first = config.text_config.vocab_size
        self.num_codes = config.code_predictor_config.vocab_size
        self.vocabulary = Tensor(np.arange(self.num_first, dtype=np.int32)[None])
        self.num_residuals = len(parts.code_heads)
        self.sampler = self.ops.Sampler(any_rows, self.num_first, num_kept[0], name)
        self.code_sampler = self.ops.Sampler(any_rows, self.num_codes, num_kept[1], f"{name} residual")
        cells = (self.talker, self.predictor, self.sampler, self.code_sampler)
        numbers = tuple(number for cell in cells for number in cell.kernel_numbers)
        if rows is None:
            self.frame: Any = captured(self, self._inputs(parts), self.ops.JIT_OPTIONS, name)
            self.run: Any = self._run_captured
        else:
            full_name = f"{name} {self.talker.graph_name} {numbers}"
            self.run = compiled(self.construct, self.ops.JIT_OPTIONS, parts.graphs, full_name)

    def _inputs(self, parts: FusedTalker) -> tuple[Tensor, ...]:
        """What `construct` is given, of any number of rows."""
        numbers, whole, scores = of_rows(ms.float32), of_rows(ms.int32), of_rows(ms.float32, self.num_first)
        hidden = of_rows(parts.decoder.dtype, parts.decoder.spec.hidden_size)
        tables = of_rows(ms.int32, parts.max_blocks)
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
        hidden: Tensor,
        seen: Tensor,
        uniform: Tensor,
        penalty: Tensor,
        suppressed: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """hidden: (rows, hidden), normed. uniform: float32 (rows,). The others: of TalkerTensors. The first codes of a
        frame, int32 (rows,), and what has been seen since."""
        scores = logits(hidden, self.head, self.world, self.num_first).astype(ms.float32)
        scores = penalize_repeated(scores, seen, penalty) + suppressed
        token = self.sampler(scores, uniform, temperature, top_k, top_p)
        return token, ops.maximum(seen, (self.vocabulary == token.reshape(-1, 1)).astype(ms.float32))

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
        int32 (rows,), the words that are added to this frame. batch_valid_length: int32 (rows,), how many tokens the
        sequences have with this frame; Ascend's PagedAttention finds the lengths by this name. rope_positions: float32
        (rows,). tables: int32 (rows, max_blocks), the sequences' blocks. uniform: float32 (num_code_groups, rows), the
        first for the next token. The others: of TalkerTensors. Returns this frame's codes and the next token, int32
        ((num_code_groups + 1) * rows,), to be read at once, and the next hidden and seen."""
        numbers = self.ops.rows_of(uniform, self.num_residuals + 1)
        total, codes = self.predict(hidden, token, text, tables, numbers, code_temperature, code_top_k, code_top_p)
        # The sum of the codes that all ranks are about to agree on, not of this one's, which may differ by a rounding
        total = broadcast(total, self.world)
        hidden, _ = self.talker.decode(total, rope_positions, batch_valid_length, tables)
        token, seen = self.choose(hidden, seen, numbers[0], penalty, suppressed, temperature, top_k, top_p)
        made = broadcast(ops.concat(codes + (token,), 0), self.world)
        if self.is_captured:
            # One output, made at the end: MindSpore frees others before a replay has made them
            parts = (hidden.astype(ms.float32).reshape(-1), seen.reshape(-1), made.astype(ms.float32))
            return mint.cat(parts)
        return made, hidden, seen

    def predict(
        self,
        hidden: Tensor,
        token: Tensor,
        text: Tensor,
        tables: Tensor,
        numbers: tuple[Tensor, ...],
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Any:
        """The code predictor's part of `construct`. numbers: the rows of its `uniform`. Returns what the Talker
        reads next, (rows, hidden), and the frame's codes, int32 (rows,) each."""
        words = self.text(text)
        gathered = self.predictor.decoder.gather()
        _, past = self.predictor.decode(hidden, 0, self.predictor.start(tables), gathered)
        x = lookup(self.embed, token, self.world, self.num_first)
        summands: Any = (words, x)
        codes: Any = (token,)
        for i in range(self.num_residuals):
            state, past = self.predictor.decode(x, i + 1, past, gathered)
            scores = logits(state, self.code_heads[i], self.world, self.num_codes).astype(ms.float32)
            code = self.code_sampler(scores, numbers[i + 1], temperature, top_k, top_p)
            x = lookup(self.code_embeds[i], code, self.world, self.num_codes)
            summands, codes = summands + (x,), codes + (code,)
        # Rounded once; sums of two would each be rounded in half precision
        by_summand = ops.concat(summands, 0).reshape(len(summands), -1, words.shape[1])
        total = mint.sum(by_summand, 0, dtype=ms.float32)
        return total.astype(words.dtype), codes


class FusedTalker:
    """The Talker's part of an executor. Its graphs are compiled when they are first needed, and kept. last: the call
    that was made last, its graph and arguments."""

    def __init__(
        self,
        model: Any,
        decoder: StackedDecoder,
        predictor: StackedDecoder,
        cache: PagedKVCache,
        max_blocks: int,
        max_num_seqs: int,
        world: World,
        graphs: GraphCache | None,
        is_captured: bool = False,
    ):
        """model: a corrected Qwen3-Omni without decoder layers: projections, embeddings, heads. max_blocks: of a
        sequence. world: of the group, whether or not it shares the Talker's layers. graphs: kept on disk.
        is_captured: as of FusedThinker."""
        self.model = model
        self.shell, self.config = model.talker, model.config.talker_config
        self.decoder, self.predictor, self.cache = decoder, predictor, cache
        self.max_blocks, self.world, self.graphs = max_blocks, world, graphs
        self.code_embeds: list[Parameter] = [e.weight for e in self.shell.code_predictor.model.codec_embedding]
        self.code_heads: list[Parameter] = [head.weight for head in self.shell.code_predictor.lm_head]
        num_rows = bucket_of(max_num_seqs)
        self.frame_cache = frame_cache(predictor, num_rows, self.config.num_code_groups, "code_predictor")
        self.last: tuple[TalkerGraph, tuple[Tensor, ...]] | None = None
        vocabularies = self.config.text_config.vocab_size, self.config.code_predictor_config.vocab_size
        self.captured_kept = tuple(decoder.ops.num_kept(2, size) for size in vocabularies) if is_captured else (0, 0)
        self._graphs: dict[tuple[int | None, tuple[int, ...]], TalkerGraph] = {}
        self._rows: Latest[tuple[Tensor, TalkerTensors]] = Latest()

    def start(self, state: RequestState, kept: Kept) -> None:
        """The prompt, of what the Thinker read and its first token."""
        sequence, arrays = state.sequence("talker"), state.prepared.arrays
        assert kept.embeds is not None and state.request.speech is not None, "nothing was kept to speak about"
        with stage("talker_prefill"):
            hidden = kept.hidden[0] if len(kept.hidden) == 1 else mint.cat(kept.hidden, dim=0)
            first_word = self.model.thinker.get_input_embeddings()(Tensor(state.thinker.token_ids[:1], ms.int32))
            speaker = state.request.speech.speaker_id
            prompt = build_talker_prompt(
                self.model, state.prepared.prompt_ids, kept.embeds, hidden, first_word, speaker
            )
            kept.embeds, kept.hidden = None, []  # as long as the prompt, and not needed any more
            positions, delta = self.shell.host_rope_index(host(prompt.input_ids), *media_positions(arrays, False))
        embeds = prompt.inputs_embeds[0]
        assert embeds.shape[0] == sequence.num_prompt, f"a prompt of {embeds.shape[0]}, not {sequence.num_prompt}"
        kept.prompt, sequence.rope_delta = Prompt(embeds, positions), float(delta)

    def prefill(self, state: RequestState, kept: Kept, start: int, stop: int) -> None:
        """A chunk of the prompt; with the last one the first codec token."""
        prompt, sequence = kept.prompt, state.sequence("talker")
        assert prompt is not None, "the prompt was read"
        with stage("talker_prefill"):
            hidden, _ = self.decoder.prefill_chunk(
                prompt.embeds[start:stop], prompt.positions[..., start:stop], self.cache, sequence.blocks, start, [], -1
            )
            if stop < sequence.num_prompt:
                return
            kept.prompt = None
            settings = self.tensors([TalkerSampling.of(state.request.sampling)])
            seen = mint.zeros((1, self.config.text_config.vocab_size), dtype=ms.float32)
            uniform = Tensor(sequence.draw(1))
            hidden = hidden[-1:]
            token, seen = self._graph(1, settings.num_kept).choose(hidden, seen, uniform, *settings.first_code)
            kept.frame = CarriedRow((hidden, seen), 0)
            made = int(broadcast(token, self.world).asnumpy()[0])
        state.add_codec_tokens([made])

    def decode(self, states: Sequence[RequestState]) -> None:
        """The next frame of each."""
        sequences = [state.sequence("talker") for state in states]
        rows, num_groups = bucket_of(len(states)), self.config.num_code_groups
        with stage("talker_decode"):
            tables, settings = self._rows.get(
                (rows, *(state.kept.number for state in states)), lambda: self._tensors(states, rows)
            )
            hidden, seen = carried_over([state.kept.frame for state in states], rows)
            codes, *left = self._decoded(sequences, rows, hidden, seen, self._text(states, rows), tables, settings)
        carried = tuple(left)
        for row, state in enumerate(states):
            state.kept.frame = CarriedRow(carried, row)
            state.add_frames(codes[:num_groups, row : row + 1])
            state.add_codec_tokens([int(codes[num_groups, row])])

    def warm_up(self, rows: int, sampling: TalkerSampling) -> None:
        """As `FusedThinker.warm_up`."""
        hidden = mint.zeros((rows, self.decoder.spec.hidden_size), dtype=self.decoder.dtype)
        seen = mint.zeros((rows, self.config.text_config.vocab_size), dtype=ms.float32)
        tables = block_tables([], rows, self.max_blocks)
        self._decoded([], rows, hidden, seen, self._text([], rows), tables, self.tensors([sampling] * rows))

    def _decoded(
        self,
        sequences: Sequence[TokenSequence],
        rows: int,
        hidden: Tensor,
        seen: Tensor,
        text: Tensor,
        tables: Tensor,
        settings: TalkerTensors,
    ) -> tuple[Any, ...]:
        """The codes of the next frames and the tokens after them, int32 (num_code_groups + 1, rows), and what
        `TalkerGraph` leaves for the next call."""
        num_groups = self.config.num_code_groups
        graph = self._graph(rows, settings.num_kept)
        arguments = (
            hidden, last_tokens(sequences, rows), seen, text, *Places.of(sequences, rows).tensors(), tables,
            Tensor(drawn(sequences, num_groups, rows)), *settings.first_code, *settings.predictor.tensors,
        )  # fmt: skip
        self.last = graph, arguments
        made, *left = graph.run(*arguments)
        return made.asnumpy().reshape(num_groups + 1, rows), *left

    def tensors(self, rows: Sequence[TalkerSampling]) -> TalkerTensors:
        """Settings of a call."""
        return TalkerTensors.of(rows, self.config, self.decoder.ops)

    def _text(self, states: Sequence[RequestState], rows: int) -> Tensor:
        """What is added to the next frames, int32 (rows,)."""
        config = self.model.config
        ids = np.full(rows, config.tts_pad_token_id, np.int32)
        ids[: len(states)] = [state.text_of_frame(config.tts_eos_token_id, config.tts_pad_token_id) for state in states]
        return Tensor(ids)

    def _tensors(self, states: Sequence[RequestState], rows: int) -> tuple[Tensor, TalkerTensors]:
        """Of a call for these: block tables and settings."""
        settings = [TalkerSampling.of(state.request.sampling) for state in states]
        settings += [GREEDY_TALKER] * (rows - len(states))
        tables = block_tables([state.sequence("talker") for state in states], rows, self.max_blocks)
        return tables, self.tensors(settings)

    def _graph(self, rows: int, num_kept: tuple[int, int]) -> TalkerGraph:
        fits = all(kept <= most for kept, most in zip(num_kept, self.captured_kept, strict=True))
        key = (None, self.captured_kept) if fits else (rows, num_kept)
        if key not in self._graphs:
            self._graphs[key] = TalkerGraph(self, *key)
        return self._graphs[key]
