"""The Thinker: prompts in chunks, then tokens of several conversations in one call of a compiled graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from ms_omni.bounds import TOKENS_PER_CALL
from ms_omni.inputs.cast import cast_inputs
from ms_omni.models.thinker import host
from ms_omni.parallel.collectives import broadcast
from ms_omni.parallel.vocabulary import lookup
from ms_omni.runtime.decode_rows import DealtRows, Latest, Places, block_tables, drawn, last_tokens
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.graph_cache import GraphCache, captured, compiled, of_rows
from ms_omni.runtime.head import Head
from ms_omni.runtime.kept import Kept, Prompt, pieces_of, those_read
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.prompt_piece import row_slices
from ms_omni.runtime.sampling import GREEDY, Sampling, SamplingTensors
from ms_omni.runtime.token_step import TokenStep
from ms_omni.scheduling.sequence import Sequence as TokenSequence
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Span
from ms_omni.stages import stage


class ThinkerGraph(nn.Cell):
    """The next `num_steps` tokens of `bucket` sequences of each owner, or, captured, the next one of as many as it is
    given."""

    def __init__(self, thinker: FusedThinker, bucket: int | None, num_steps: int, num_kept: int) -> None:
        """bucket: None for any number, captured. num_kept: of the SamplingTensors that it is for."""
        super().__init__(auto_prefix=False)
        decoder, shell = thinker.decoder, thinker.shell
        name = f"thinker {bucket} x {num_steps} of {num_kept}"
        self.num_steps = num_steps
        self.token_step = TokenStep(decoder, thinker.cache, name, bucket or 1, thinker.max_blocks, head=thinker.head)
        self.embed = shell.model.embed_tokens.weight
        self.world, self.num_words = decoder.world, thinker.num_words
        num_rows = (bucket or 1) * decoder.num_owners
        self.ops, self.sampler = decoder.ops, decoder.ops.Sampler(num_rows, self.num_words, num_kept, name)
        numbered = f"{name} {self.token_step.graph_name} {self.token_step.kernel_numbers + self.sampler.kernel_numbers}"
        if bucket is None:
            numbers, whole = of_rows(ms.float32), of_rows(ms.int32)
            tables, uniform = of_rows(ms.int32, thinker.max_blocks), Tensor(shape=(1, None), dtype=ms.float32)
            inputs = (whole, whole, numbers, tables, uniform, numbers, whole, numbers)
            self.run = captured(self, inputs, decoder.ops.JIT_OPTIONS, name)
        else:
            self.run = compiled(self.construct, decoder.ops.JIT_OPTIONS, thinker.graphs, numbered)

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
            tokens = tokens + (token,)
        return token if self.num_steps == 1 else ops.concat(tokens, 0)


class FusedThinker:
    """The Thinker's part of an executor. Its graphs are compiled when they are first needed, and kept."""

    def __init__(
        self,
        shell: Any,
        decoder: StackedDecoder,
        cache: PagedKVCache,
        max_blocks: int,
        accept_layer: int,
        graphs: GraphCache | None,
        is_captured: bool = False,
    ):
        """shell: a corrected Thinker without decoder layers: encoders, embeddings, head. max_blocks: of a sequence.
        accept_layer: whose inputs the Talker is told; negative: none. graphs: kept on disk.
        is_captured: one graph for any number of rows, whose launches are captured, picks tokens where it can."""
        self.shell, self.decoder, self.cache, self.max_blocks = shell, decoder, cache, max_blocks
        self.accept_layer, self.graphs = accept_layer, graphs
        self.num_words = shell.config.text_config.vocab_size
        table = shell.model.embed_tokens.weight
        self.head = Head(shell.lm_head.weight, table, decoder.world, self.num_words, decoder.in_numpy)
        self.captured_kept = decoder.ops.num_kept(2, self.num_words) if is_captured else 0
        self._graphs: dict[tuple[int | None, int, int], ThinkerGraph] = {}
        self._rows: Latest[tuple[Tensor, SamplingTensors]] = Latest()

    def start(self, states: Sequence[RequestState]) -> None:
        """Encoders, embeddings, rotary positions."""
        for state in states:
            with stage("thinker_prefill"):
                self._start(state, state.kept)

    def _start(self, state: RequestState, kept: Kept) -> None:
        inputs = cast_inputs(state.prepared.arrays, self.decoder.dtype)
        ids, shell, media = host(inputs["input_ids"]), self.shell, inputs.get
        features = shell.encode_media(
            media("input_features"), media("feature_attention_mask"), media("pixel_values"), media("image_grid_thw"),
            media("pixel_values_videos"), media("video_grid_thw"),
        )  # fmt: skip
        embeds, levels = shell.merge_media(ids, shell.get_input_embeddings()(inputs["input_ids"]), *features)
        positions, delta = shell.host_rope_index(
            ids, *media_positions(state.prepared.arrays, state.request.use_audio_in_video)
        )
        kept.prompt = Prompt(embeds[0], positions, tuple(level[0] for level in levels or ()))
        kept.embeds = embeds[0] if state.talker else None
        state.thinker.rope_delta = float(delta)

    def prefill(self, states: Sequence[RequestState], spans: Sequence[Span]) -> None:
        """Pieces of their prompts; with a last one the first token."""
        speaks = any(state.talker for state in states)
        with stage("thinker_prefill"):
            pieces = pieces_of(states, "thinker", spans)
            hidden, accepted = self.decoder.prefill(pieces, self.cache, self.accept_layer if speaks else -1)
            for state, rows in zip(states, row_slices(pieces), strict=True):
                if state.talker:
                    state.kept.hidden.append(accepted[rows])
            read, hidden = those_read(states, "thinker", pieces, hidden)
            tokens = self._first_tokens(hidden, read) if read else []
        for state, token in zip(read, tokens, strict=True):
            state.add_tokens([token])

    def decode(self, states: Sequence[RequestState], num_steps: int) -> None:
        """The next `num_steps` tokens of each: in one call of a graph, or in several without waiting, since the host
        knows all that the next one is given but the token."""
        sequences = [state.thinker for state in states]
        rows = DealtRows.of([state.owner for state in states], self.decoder.num_owners)
        with stage("thinker_decode"):
            tables, settings = self._rows.get(
                (rows, *(state.kept.number for state in states)), lambda: self._tensors(states, rows)
            )
            tokens = self._decoded(sequences, rows, num_steps, tables, settings)
        for row, state in zip(rows.numbers, states, strict=True):
            state.add_tokens(tokens[:, row].tolist())

    def warm_up(self, bucket: int, sampling: Sampling) -> None:
        """Compiles what calls of so many rows of an owner run, `sampling` being one's of them, with rows of nobody."""
        rows = DealtRows((), bucket, self.decoder.num_owners)
        tables = block_tables([], rows, self.max_blocks)
        settings = SamplingTensors.of([sampling] * len(rows), self.num_words, self.decoder.ops)
        for num_steps in (1, TOKENS_PER_CALL) if bucket == 1 else (1,):
            self._decoded([], rows, num_steps, tables, settings)

    def _decoded(
        self,
        sequences: Sequence[TokenSequence],
        rows: DealtRows,
        num_steps: int,
        tables: Tensor,
        settings: SamplingTensors,
    ) -> np.ndarray:
        """The next tokens, int32 (num_steps, rows)."""
        graph = self._graph(rows.bucket, num_steps, settings.num_kept)
        token, places = last_tokens(sequences, rows), Places.of(sequences, rows, self.decoder.owner)
        uniform = drawn(sequences, num_steps, rows)
        made = []
        for ahead in range(0, num_steps, graph.num_steps):
            numbers = Tensor(uniform[ahead : ahead + graph.num_steps])
            made.append(graph.run(token, *places.tensors(ahead), tables, numbers, *settings.tensors))
            token = made[-1][-len(rows) :] if graph.num_steps > 1 else made[-1]
        whole = made[0] if len(made) == 1 else mint.cat(made)  # the host waits once
        return whole.asnumpy().reshape(num_steps, len(rows))

    def _first_tokens(self, hidden: Tensor, states: Sequence[RequestState]) -> list[int]:
        """hidden: (rows, hidden), normed: that of each prompt's last token, then rows of nobody."""
        rows = DealtRows.of_all(len(states))
        settings = self._settings(states, rows)
        sampler = self._graph(rows.bucket, TOKENS_PER_CALL, settings.num_kept).sampler
        uniform = Tensor(drawn([state.thinker for state in states], 1, rows)[0])
        tokens = broadcast(sampler(self.head(hidden), uniform, *settings.tensors), self.decoder.world)
        return tokens.asnumpy()[: len(states)].tolist()

    def _settings(self, states: Sequence[RequestState], rows: DealtRows) -> SamplingTensors:
        """Those of a call for these."""
        settings = rows.spread([Sampling.of(state.request.sampling, "thinker") for state in states], GREEDY)
        return SamplingTensors.of(settings, self.num_words, self.decoder.ops)

    def _tensors(self, states: Sequence[RequestState], rows: DealtRows) -> tuple[Tensor, SamplingTensors]:
        """Of a call for these: block tables and settings."""
        tables = block_tables([state.thinker for state in states], rows, self.max_blocks)
        return tables, self._settings(states, rows)

    def _graph(self, bucket: int, num_steps: int, num_kept: int) -> ThinkerGraph:
        """For a call of so many steps: one graph of all of them, or of one."""
        if num_kept <= self.captured_kept:
            return self._kept_graph(None, 1, self.captured_kept)
        joined = bucket == 1 and num_steps == TOKENS_PER_CALL and not self.decoder.ops.ONE_TOKEN_A_GRAPH
        return self._kept_graph(bucket, num_steps if joined else 1, num_kept)

    def _kept_graph(self, *key: Any) -> ThinkerGraph:
        if key not in self._graphs:
            self._graphs[key] = ThinkerGraph(self, *key)
        return self._graphs[key]


def media_positions(arrays: Any, use_audio_in_video: bool) -> tuple[Any, ...]:
    """What `host_rope_index` wants of a prompt's media. arrays: what the processor made."""
    mask = host(arrays.get("feature_attention_mask"))
    return (
        arrays.get("image_grid_thw"), arrays.get("video_grid_thw"), use_audio_in_video,
        None if mask is None else mask.sum(-1), arrays.get("video_second_per_grid"),
    )  # fmt: skip
