"""The Thinker: prompts in chunks, then tokens of several conversations in one call of a compiled graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint

from ms_omni.inputs.cast import cast_inputs
from ms_omni.kernels.concatenate import concatenated
from ms_omni.limits import TOKENS_PER_CALL
from ms_omni.models.thinker import to_numpy
from ms_omni.parallel.collectives import broadcast
from ms_omni.runtime.decode_rows import (
    CarriedRow,
    Latest,
    RowLayout,
    TokenPositions,
    block_tables,
    carried_over,
    last_tokens,
    uniform_numbers,
)
from ms_omni.runtime.decoder import Decoder
from ms_omni.runtime.device_state import DeviceState, Prompt, chunks_of, finished_prompts
from ms_omni.runtime.graph_cache import GraphCache
from ms_omni.runtime.head import Head
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.prompt_chunk import row_slices
from ms_omni.runtime.sampling import GREEDY, Sampling, SamplingTensors, penalize_repeated
from ms_omni.runtime.thinker_graph import ThinkerGraph
from ms_omni.scheduling.sequence import Sequence as TokenSequence
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Span
from ms_omni.stages import stage


class FusedThinker:
    """The Thinker's part of an executor. Graphs are compiled when they are first needed, and kept."""

    def __init__(
        self,
        base_model: Any,
        decoder: Decoder,
        cache: PagedKVCache,
        max_blocks: int,
        accept_layer: int,
        graphs: GraphCache | None,
        is_captured: bool = False,
    ):
        """base_model: a corrected Thinker without decoder layers: encoders, embeddings, head. max_blocks: of one
        sequence. accept_layer: the layer whose input goes to the Talker; negative: none. graphs: the cache on disk.
        is_captured: one graph for any number of rows, whose launches are captured, decodes where it can."""
        self.base_model, self.decoder, self.cache, self.max_blocks = base_model, decoder, cache, max_blocks
        self.accept_layer, self.graphs = accept_layer, graphs
        self.num_words = base_model.config.text_config.vocab_size
        table = base_model.model.embed_tokens.weight
        self.head = Head(base_model.lm_head.weight, table, decoder.world, self.num_words, decoder.in_numpy)
        self.captured_kept = decoder.ops.num_kept(2, self.num_words) if is_captured else 0
        self.vocabulary = Tensor(np.arange(self.num_words, dtype=np.int32)[None])
        self._graphs: dict[tuple[int | None, int, int, bool], ThinkerGraph] = {}
        self._rows: Latest[tuple[Tensor, SamplingTensors]] = Latest()

    def start(self, states: Sequence[RequestState]) -> None:
        """Encoders, embeddings, rotary positions."""
        for state in states:
            with stage("thinker_prefill"):
                self._start(state, state.device_state)

    def _start(self, state: RequestState, own: DeviceState) -> None:
        inputs = cast_inputs(state.prepared.arrays, self.decoder.dtype)
        ids, base_model, media = to_numpy(inputs["input_ids"]), self.base_model, inputs.get
        features = base_model.encode_media(
            media("input_features"), media("feature_attention_mask"), media("pixel_values"), media("image_grid_thw"),
            media("pixel_values_videos"), media("video_grid_thw"),
        )  # fmt: skip
        embeds, levels = base_model.merge_media(ids, base_model.get_input_embeddings()(inputs["input_ids"]), *features)
        positions, delta = base_model.host_rope_index(
            ids, *media_positions(state.prepared.arrays, state.request.use_audio_in_video)
        )
        own.prompt = Prompt(embeds[0], positions, tuple(level[0] for level in levels or ()))
        own.embeds = embeds[0] if state.talker else None
        state.thinker.rope_delta = float(delta)

    def prefill(self, states: Sequence[RequestState], spans: Sequence[Span]) -> None:
        """Prefills a chunk of each prompt; the last chunk of a prompt gives its first token."""
        speaks = any(state.talker for state in states)
        with stage("thinker_prefill"):
            chunks = chunks_of(states, "thinker", spans)
            hidden, accepted = self.decoder.prefill(chunks, self.cache, self.accept_layer if speaks else -1)
            for state, rows in zip(states, row_slices(chunks), strict=True):
                if state.talker:
                    state.device_state.hidden.append(accepted[rows])
            read, hidden = finished_prompts(states, "thinker", chunks, hidden)
            tokens = self._first_tokens(hidden, read) if read else []
        for state, token in zip(read, tokens, strict=True):
            state.add_tokens([token])

    def decode(self, states: Sequence[RequestState], num_steps: int) -> None:
        """The next `num_steps` tokens of each, in one graph call, or in several without waiting between them: the token
        is the only input that the host does not know."""
        sequences = [state.thinker for state in states]
        rows = RowLayout.of([state.owner for state in states], self.decoder.num_owners)
        with stage("thinker_decode"):
            tables, settings = self._rows.get(
                (rows, *(state.device_state.number for state in states)), lambda: self._tensors(states, rows)
            )
            seen = self._carried([state.device_state.seen for state in states], rows) if settings.penalizes else None
            tokens, seen = self._decoded(sequences, rows, num_steps, tables, settings, seen)
        for row, state in zip(rows.numbers, states, strict=True):
            state.device_state.seen = None if seen is None else CarriedRow((seen,), row)
            state.add_tokens(tokens[:, row].tolist())

    def warm_up(self, bucket: int, sampling: Sampling) -> None:
        """Compiles the graphs for `bucket` rows of each owner with these settings, by calls with padding rows."""
        rows = RowLayout((), bucket, self.decoder.num_owners)
        tables = block_tables([], rows, self.max_blocks)
        settings = SamplingTensors.of([sampling] * len(rows), self.num_words, self.decoder.ops)
        seen = self._nothing_seen(len(rows)) if settings.penalizes else None
        for num_steps in (1, TOKENS_PER_CALL) if bucket == 1 else (1,):
            self._decoded([], rows, num_steps, tables, settings, seen)

    def _decoded(
        self,
        sequences: Sequence[TokenSequence],
        rows: RowLayout,
        num_steps: int,
        tables: Tensor,
        settings: SamplingTensors,
        seen: Tensor | None,
    ) -> tuple[np.ndarray, Tensor | None]:
        """The next tokens, int32 (num_steps, rows), and `seen` with them, if the settings penalize."""
        graph = self._graph(rows.bucket, num_steps, settings)
        token, places = last_tokens(sequences, rows), TokenPositions.of(sequences, rows, self.decoder.owner)
        uniform = uniform_numbers(sequences, num_steps, rows)
        made = []
        for ahead in range(0, num_steps, graph.num_steps):
            numbers = Tensor(uniform[ahead : ahead + graph.num_steps])
            arguments = (token, *places.tensors(ahead), tables, numbers, *settings.tensors)
            if seen is None:
                made.append(graph.run(*arguments))
            else:
                token, seen = graph.run(*arguments, settings.penalty, seen)
                made.append(token)
            token = made[-1][-len(rows) :] if graph.num_steps > 1 else made[-1]
        whole = concatenated(made)  # the host waits once
        return whole.asnumpy().reshape(num_steps, len(rows)), seen

    def _carried(self, carried: Sequence[CarriedRow | None], rows: RowLayout) -> Tensor:
        """The tokens that the rows have seen, float32 (rows, words). None stands for a sequence without a penalty,
        whose row may hold anything."""
        nothing = None if all(carried) else CarriedRow((self._nothing_seen(1),), 0)
        (seen,) = carried_over([row for each in carried if (row := each or nothing)], rows)
        return seen

    def _nothing_seen(self, num_rows: int) -> Tensor:
        return mint.zeros((num_rows, self.num_words), dtype=ms.float32)

    def _first_tokens(self, hidden: Tensor, states: Sequence[RequestState]) -> list[int]:
        """hidden: (rows, hidden), normed, of each prompt's last token, then padding."""
        rows = RowLayout.of_all(len(states))
        settings = self._settings(states, rows)
        sampler = self._graph(rows.bucket, TOKENS_PER_CALL, settings).sampler
        uniform = Tensor(uniform_numbers([state.thinker for state in states], 1, rows)[0])
        scores = self.head(hidden)
        if settings.penalizes:
            seen = np.zeros(scores.shape, np.float32)
            for row, state in zip(seen, states, strict=False):
                row[state.prepared.prompt_ids] = 1
            scores = penalize_repeated(scores, Tensor(seen), settings.penalty)
        tokens = broadcast(sampler(scores, uniform, *settings.tensors), self.decoder.world)
        found = tokens.asnumpy()[: len(states)].tolist()
        if settings.penalizes:
            for number, token in enumerate(found):
                seen[number, token] = 1
            whole = (Tensor(seen),)
            for number, state in enumerate(states):
                state.device_state.seen = CarriedRow(whole, number)
        return found

    def _settings(self, states: Sequence[RequestState], rows: RowLayout) -> SamplingTensors:
        """The settings of a call for these states."""
        settings = rows.spread([Sampling.of(state.request.sampling, "thinker") for state in states], GREEDY)
        return SamplingTensors.of(settings, self.num_words, self.decoder.ops)

    def _tensors(self, states: Sequence[RequestState], rows: RowLayout) -> tuple[Tensor, SamplingTensors]:
        """Block tables and settings of a call for these states."""
        tables = block_tables([state.thinker for state in states], rows, self.max_blocks)
        return tables, self._settings(states, rows)

    def _graph(self, bucket: int, num_steps: int, settings: SamplingTensors) -> ThinkerGraph:
        """The graph for a call of `num_steps`: of all steps, or of one."""
        if settings.penalizes:
            return self._kept_graph(bucket, 1, settings.num_kept, True)
        if settings.num_kept <= self.captured_kept:
            return self._kept_graph(None, 1, self.captured_kept, False)
        joined = bucket == 1 and num_steps == TOKENS_PER_CALL and not self.decoder.ops.ONE_TOKEN_A_GRAPH
        return self._kept_graph(bucket, num_steps if joined else 1, settings.num_kept, False)

    def _kept_graph(self, *key: Any) -> ThinkerGraph:
        if key not in self._graphs:
            self._graphs[key] = ThinkerGraph(self, *key)
        return self._graphs[key]


def media_positions(arrays: Any, use_audio_in_video: bool) -> tuple[Any, ...]:
    """The arguments of `host_rope_index` behind the ids. arrays: from the processor."""
    mask = to_numpy(arrays.get("feature_attention_mask"))
    return (
        arrays.get("image_grid_thw"), arrays.get("video_grid_thw"), use_audio_in_video,
        None if mask is None else mask.sum(-1), arrays.get("video_second_per_grid"),
    )  # fmt: skip
