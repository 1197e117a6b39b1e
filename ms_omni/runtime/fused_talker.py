"""The Talker: prompts in chunks, then frames of several conversations in one call of a compiled graph, residual codes
included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, mint

from ms_omni.kernels.concatenate import concatenated
from ms_omni.models.talker_prompt import ThinkerOutput, build_talker_prompts
from ms_omni.parallel.collectives import broadcast
from ms_omni.parallel.world import World
from ms_omni.runtime.decode_rows import (
    CarriedRow,
    Latest,
    RowLayout,
    TokenPositions,
    block_tables,
    bucket_of,
    carried_over,
    last_tokens,
    uniform_numbers,
)
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.device_state import Prompt, chunks_of, finished_prompts
from ms_omni.runtime.fused_thinker import media_positions
from ms_omni.runtime.graph_cache import GraphCache
from ms_omni.runtime.head import Head
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.numpy_frames import NumpyFrames
from ms_omni.runtime.talker_graph import TalkerGraph
from ms_omni.runtime.talker_sampling import GREEDY_TALKER, TalkerSampling, TalkerTensors
from ms_omni.scheduling.sequence import Sequence as TokenSequence
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Span
from ms_omni.stages import stage


class FusedTalker:
    """The Talker's part of an executor. Graphs are compiled when they are first needed, and kept."""

    def __init__(
        self,
        model: Any,
        decoder: Decoder,
        predictor: Decoder,
        cache: PagedKVCache,
        max_blocks: int,
        max_num_seqs: int,
        world: World,
        graphs: GraphCache | None,
        is_captured: bool = False,
    ):
        """model: a corrected Qwen3-Omni without decoder layers: projections, embeddings, heads. max_blocks: of one
        sequence. world: of the group, whether or not it shares the Talker's layers. graphs, is_captured: as for
        FusedThinker."""
        self.model = model
        self.base_model, self.config = model.talker, model.config.talker_config
        self.decoder, self.predictor, self.cache = decoder, predictor, cache
        self.max_blocks, self.world, self.graphs = max_blocks, world, graphs
        self.code_embeds: list[Parameter] = [e.weight for e in self.base_model.code_predictor.model.codec_embedding]
        self.code_heads: list[Parameter] = [head.weight for head in self.base_model.code_predictor.lm_head]
        num_first, num_codes = self.config.text_config.vocab_size, self.config.code_predictor_config.vocab_size
        table = self.base_model.model.codec_embedding.weight
        self.head = Head(self.base_model.codec_head.weight, table, world, num_first, decoder.in_numpy)
        self.frames: NumpyFrames | None = None
        if decoder.in_numpy:
            num_rows = bucket_of(max_num_seqs)
            self.frames = NumpyFrames(predictor, self.code_heads, self.code_embeds, num_codes, num_rows, world)
        self.captured_kept = (0, 0)
        if is_captured:
            self.captured_kept = (decoder.ops.num_kept(2, num_first), decoder.ops.num_kept(2, num_codes))
        self._graphs: dict[tuple[int | None, tuple[int, ...]], TalkerGraph] = {}
        self._rows: Latest[tuple[Tensor, TalkerTensors]] = Latest()

    def start(self, states: Sequence[RequestState]) -> None:
        """Builds the prompts from the Thinker's prompts and first tokens."""
        with stage("talker_prefill"):
            prompts = build_talker_prompts(self.model, [_answer(state) for state in states])
            for state, prompt in zip(states, prompts, strict=True):
                own, sequence = state.device_state, state.sequence("talker")
                own.embeds, own.hidden = None, []  # as long as the prompt, and not needed any more
                media = media_positions(state.prepared.arrays, False)
                positions, delta = self.base_model.host_rope_index(prompt.ids[None], *media)
                assert len(prompt.ids) == sequence.num_prompt, f"{len(prompt.ids)}, not {sequence.num_prompt}"
                own.prompt, sequence.rope_delta = Prompt(prompt.embeds, positions), float(delta)

    def prefill(self, states: Sequence[RequestState], spans: Sequence[Span]) -> None:
        """Prefills a chunk of each prompt; the last chunk of a prompt gives its first codec token."""
        with stage("talker_prefill"):
            chunks = chunks_of(states, "talker", spans)
            hidden, _ = self.decoder.prefill(chunks, self.cache)
            read, hidden = finished_prompts(states, "talker", chunks, hidden)
            if not read:
                return
            rows = RowLayout.of_all(len(read))
            settings = self._settings(read, rows)
            seen = mint.zeros((len(rows), self.config.text_config.vocab_size), dtype=ms.float32)
            uniform = Tensor(uniform_numbers([state.sequence("talker") for state in read], 1, rows)[0])
            graph = self._graph(rows.bucket, settings.num_kept)
            token, seen = graph.choose(self.head(hidden), seen, uniform, *settings.first_code)
            made = broadcast(token, self.world).asnumpy()
        for row, state in enumerate(read):
            state.device_state.frame = CarriedRow((hidden, seen), row)
            state.add_codec_tokens([int(made[row])])

    def decode(self, states: Sequence[RequestState]) -> None:
        """The next frame of each."""
        sequences = [state.sequence("talker") for state in states]
        rows = RowLayout.of([state.owner for state in states], self.decoder.num_owners)
        num_groups = self.config.num_code_groups
        with stage("talker_decode"):
            tables, settings = self._rows.get(
                (rows, *(state.device_state.number for state in states)), lambda: self._tensors(states, rows)
            )
            hidden, seen = carried_over([state.device_state.frame for state in states], rows)
            text = self._text(states, rows)
            codes, carried = self._decoded(sequences, rows, hidden, seen, text, tables, settings)
        for row, state in zip(rows.numbers, states, strict=True):
            state.device_state.frame = CarriedRow(carried, row)
            state.add_frames(codes[:num_groups, row : row + 1])
            state.add_codec_tokens([int(codes[num_groups, row])])

    def warm_up(self, bucket: int, sampling: TalkerSampling) -> None:
        """As `FusedThinker.warm_up`."""
        self._decoded(*self._padding(bucket, sampling))

    def idle_call(self, bucket: int, sampling: TalkerSampling) -> tuple[TalkerGraph, tuple[Tensor, ...]]:
        """A graph, and arguments for it of rows without a sequence, which use only the cache's block of padding."""
        return self._call(*self._padding(bucket, sampling))

    def _padding(self, bucket: int, sampling: TalkerSampling) -> tuple[Any, ...]:
        """Arguments of `_decoded` and `_call` with padding rows alone."""
        rows = RowLayout((), bucket, self.decoder.num_owners)
        hidden = mint.zeros((len(rows), self.decoder.spec.hidden_size), dtype=self.decoder.dtype)
        seen = mint.zeros((len(rows), self.config.text_config.vocab_size), dtype=ms.float32)
        tables, settings = block_tables([], rows, self.max_blocks), self.tensors([sampling] * len(rows))
        return [], rows, hidden, seen, self._text([], rows), tables, settings

    def _decoded(
        self, sequences: Sequence[TokenSequence], rows: RowLayout, *inputs: Any
    ) -> tuple[np.ndarray, tuple[Tensor, ...]]:
        """The codes of the next frames and the tokens after them, int32 (num_code_groups + 1, rows), and the state that
        `TalkerGraph` returns for the next call. inputs: the others of `_call`."""
        graph, arguments = self._call(sequences, rows, *inputs)
        made, *left = graph.run(*arguments)
        return made.asnumpy().reshape(self.config.num_code_groups + 1, len(rows)), tuple(left)

    def _call(
        self,
        sequences: Sequence[TokenSequence],
        rows: RowLayout,
        hidden: Tensor,
        seen: Tensor,
        text: Tensor,
        tables: Tensor,
        settings: TalkerTensors,
    ) -> tuple[TalkerGraph, tuple[Tensor, ...]]:
        """The graph of the next frames, and its arguments. sequences: draws their random numbers."""
        num_groups = self.config.num_code_groups
        graph = self._graph(rows.bucket, settings.num_kept)
        return graph, (
            hidden, last_tokens(sequences, rows), seen, text,
            *TokenPositions.of(sequences, rows, self.decoder.owner).tensors(), tables,
            Tensor(uniform_numbers(sequences, num_groups, rows)), *settings.first_code, *settings.predictor.tensors,
        )  # fmt: skip

    def tensors(self, rows: Sequence[TalkerSampling]) -> TalkerTensors:
        """Settings of a call with these rows."""
        return TalkerTensors.of(rows, self.config, self.decoder.ops)

    def _text(self, states: Sequence[RequestState], rows: RowLayout) -> Tensor:
        """The answer tokens that are added to the next frames, int32 (rows,)."""
        end, pad = self.model.config.tts_eos_token_id, self.model.config.tts_pad_token_id
        ids = rows.spread([state.text_of_frame(end, pad) for state in states], pad)
        return Tensor(np.array(ids, np.int32))

    def _tensors(self, states: Sequence[RequestState], rows: RowLayout) -> tuple[Tensor, TalkerTensors]:
        """Block tables and settings of a call for these states."""
        tables = block_tables([state.sequence("talker") for state in states], rows, self.max_blocks)
        return tables, self._settings(states, rows)

    def _settings(self, states: Sequence[RequestState], rows: RowLayout) -> TalkerTensors:
        return self.tensors(rows.spread([TalkerSampling.of(state.request.sampling) for state in states], GREEDY_TALKER))

    def _graph(self, bucket: int, num_kept: tuple[int, int]) -> TalkerGraph:
        fits = all(kept <= most for kept, most in zip(num_kept, self.captured_kept, strict=True))
        key = (None, self.captured_kept) if fits else (bucket, num_kept)
        if key not in self._graphs:
            self._graphs[key] = TalkerGraph(self, *key)
        return self._graphs[key]


def _answer(state: RequestState) -> ThinkerOutput:
    own, speech = state.device_state, state.request.speech
    assert own.embeds is not None and speech is not None, "nothing was kept to speak about"
    hidden = concatenated(own.hidden)
    return ThinkerOutput(state.prepared.prompt_ids, own.embeds, hidden, state.thinker.token_ids[0], speech.speaker_id)
