"""The Thinker's loop: a prefill, then several tokens a call, of one compiled graph or of one in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, mint, nn, ops

from ms_omni.bounds import TOKENS_PER_CALL
from ms_omni.models.thinker import host
from ms_omni.parallel.collectives import agreed
from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.runtime.cache_pool import CachePool, places, sequence_blocks
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.graph_cache import GraphCache, compiled
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.lockstep import Lockstep, Work
from ms_omni.runtime.sampling import GREEDY, Sampling, SamplingTensors, UniformStream
from ms_omni.runtime.token_step import TokenStep
from ms_omni.stages import stage

RANDOM_STAGE = 0


class ThinkerGraph(nn.Cell):
    """Decode steps in one graph: TOKENS_PER_CALL, or one where the device wants the rows' lengths from the host."""

    def __init__(
        self,
        decoder: StackedDecoder,
        shell: Any,
        cache: PagedKVCache,
        num_kept: int,
        accept_layer: int,
        graphs: GraphCache | None,
    ) -> None:
        """num_kept: of the SamplingTensors that it is for."""
        super().__init__()
        self.num_steps = 1 if decoder.ops.ONE_TOKEN_A_GRAPH else TOKENS_PER_CALL
        name = f"{cache.name} {num_kept} {self.num_steps} {accept_layer}"
        self.ops, self.token_step = decoder.ops, TokenStep(decoder, cache, name, 1, cache.num_blocks - 1, accept_layer)
        self.embed, self.head = shell.model.embed_tokens.weight, shell.lm_head.weight
        self.world = decoder.world
        self.num_words = shell.config.text_config.vocab_size
        self.sampler = self.ops.Sampler(1, self.num_words, num_kept, name)
        numbered = f"{name} {self.token_step.kernel_numbers + self.sampler.kernel_numbers}"
        self.run = compiled(self.step, decoder.ops.JIT_OPTIONS, graphs, numbered)

    def step(
        self,
        token: Tensor,
        batch_valid_length: Tensor,
        rope_position: Tensor,
        table: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Any:
        """token: int32 (1,), the last one. batch_valid_length: int32 (1,), how many tokens the sequence has with it;
        Ascend's PagedAttention finds the lengths by this name. rope_position: float32 (1,). table: int32 (1,
        max_blocks), the sequence's blocks. uniform: float32 (steps, 1). The others: of SamplingTensors. Returns the
        next ones, int32 (steps,), and of the tokens read the embeddings and the hidden states at the accepted layer,
        (steps, hidden) each."""
        tokens: Any = ()
        embeds: Any = ()
        kept: Any = ()
        lengths = batch_valid_length
        token, gathered = self.token_step.gather_before(token)
        for ahead in range(self.num_steps):
            if ahead:
                rope_position, lengths = rope_position + 1, lengths + 1
            x = lookup(self.embed, token, self.world, self.num_words)
            hidden, accepted = self.token_step.decode(x, rope_position, lengths, table, gathered)
            scores = logits(hidden, self.head, self.world, self.num_words).astype(ms.float32)
            token = agreed(self.sampler(scores, uniform[ahead], temperature, top_k, top_p), self.world)
            tokens, embeds, kept = tokens + (token,), embeds + (x,), kept + (accepted,)
        if self.num_steps == 1:
            return token, embeds[0], kept[0]
        return ops.concat(tokens, 0), ops.concat(embeds, 0), ops.concat(kept, 0)


@dataclass(frozen=True)
class ThinkerStep:
    """token_ids: new ones. embeds, hidden: (tokens read, hidden), of the tokens that were read to make them: layer 0
    and `accept_hidden_layer`, None if nobody wants them. The first step reads the prompt, each other one the token
    before each that it makes."""

    token_ids: list[int]
    embeds: Tensor | None = None
    hidden: Tensor | None = None


class FusedThinker:
    """Graphs of one Thinker, kept by cache capacity and by how much of the vocabulary they look at."""

    def __init__(
        self, shell: Any, decoder: StackedDecoder, accept_layer: int, graphs: GraphCache | None, lockstep: Lockstep
    ):
        """shell: a corrected Thinker without decoder layers: encoders, embeddings, head. graphs: kept on disk."""
        self.shell, self.decoder, self.accept_layer, self._kept = shell, decoder, accept_layer, graphs
        self._graphs: dict[tuple[int, int], ThinkerGraph] = {}
        self._pool = CachePool(decoder, "thinker")
        self._lockstep = lockstep
        self._spare: ThinkerGraph | None = None
        self._greedy = SamplingTensors.of([GREEDY], shell.config.text_config.vocab_size, decoder.ops)
        lockstep.register(Work.THINKER_PREFILL, decoder.accompany)
        lockstep.register(Work.THINKER_STEP, self._accompany)

    def missing_cache_bytes(self, num_prompt: int, max_new_tokens: int) -> int:
        """As `Runtime.missing_cache_bytes`."""
        return self._pool.missing_bytes(num_prompt, max_new_tokens, TOKENS_PER_CALL)

    def steps(
        self,
        inputs: Mapping[str, Any],
        sampling: Sampling,
        max_new_tokens: int,
        stop_ids: list[int],
        seed: int | None,
        *,
        use_audio_in_video: bool,
        keep_hidden: bool,
    ) -> Iterator[ThinkerStep]:
        """The prompt and the first new token, then some tokens a step, up to one of `stop_ids` or the maximum. inputs:
        what the processor made, cast. keep_hidden: for speech."""
        ids = host(inputs["input_ids"])
        num_prompt = ids.shape[1]
        cache = self._pool.start(num_prompt, max_new_tokens)
        uniforms = UniformStream(seed, RANDOM_STAGE)
        world, num_words = self.decoder.world, self.shell.config.text_config.vocab_size
        settings = SamplingTensors.of([sampling], num_words, self.decoder.ops)
        with stage("thinker_prefill"):
            hidden, embeds, accepted, delta = self._prefill(inputs, ids, cache, use_audio_in_video, keep_hidden)
            scores = logits(hidden, self.shell.lm_head.weight, world, num_words).astype(ms.float32)
            sampler = self._graph(cache, settings.num_kept).sampler
            token = agreed(sampler(scores, uniforms.draw(1), *settings.tensors), world)
            last, count = int(token.asnumpy()[0]), 1
        yield ThinkerStep([last], embeds, accepted)
        while count < max_new_tokens and last not in stop_ids:
            position = num_prompt + count - 1
            with stage("thinker_decode"):
                cache = self._pool.reaching(cache, position + TOKENS_PER_CALL - 1)
                graph, blocks = self._graph(cache, settings.num_kept), sequence_blocks(cache)
                made, embeds, accepted = self._run(graph, token, position, delta, blocks, uniforms, settings)
                token = made[-1:]
                fresh = _until_stop(made.asnumpy().tolist()[: max_new_tokens - count], stop_ids)
            last, count = fresh[-1], count + len(fresh)
            yield ThinkerStep(fresh, *((embeds[: len(fresh)], accepted[: len(fresh)]) if keep_hidden else ()))

    def _prefill(
        self, inputs: Mapping[str, Any], ids: np.ndarray, cache: PagedKVCache, use_audio_in_video: bool, keep: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None, float]:
        """The last token's normed hidden state, (1, hidden); if they are to be kept, all embeddings and accepted hidden
        states; by how much the next position differs from its index."""
        shell, media = self.shell, inputs.get
        features = shell.encode_media(
            media("input_features"), media("feature_attention_mask"), media("pixel_values"), media("image_grid_thw"),
            media("pixel_values_videos"), media("video_grid_thw"),
        )  # fmt: skip
        embeds, deepstack = shell.merge_media(ids, shell.get_input_embeddings()(inputs["input_ids"]), *features)
        mask = media("feature_attention_mask")
        positions, delta = shell.host_rope_index(
            ids, media("image_grid_thw"), media("video_grid_thw"), use_audio_in_video,
            None if mask is None else host(mask).sum(-1), media("video_second_per_grid"),
        )  # fmt: skip
        levels = [level[0] for level in deepstack or []]
        accept_layer = self.accept_layer if keep else -1
        hidden, accepted = self._lockstep.prefill(
            Work.THINKER_PREFILL, self.decoder, embeds[0], positions, cache, sequence_blocks(cache), levels,
            accept_layer,
        )  # fmt: skip
        return hidden, embeds[0] if keep else None, accepted, delta

    def _run(self, graph: ThinkerGraph, *arguments: Any) -> Any:
        return self._lockstep.do(Work.THINKER_STEP, lambda _: _several(graph, *arguments))

    def _accompany(self, _: int) -> None:
        """A step of another rank's Thinker: one of our own, of no conversation."""
        if self._spare is None:
            cache = self.decoder.new_cache(2, "thinker.spare")
            self._spare = self._new_graph(cache, self._greedy.num_kept)
        token, uniforms = Tensor(np.zeros(1, np.int32)), UniformStream(0, RANDOM_STAGE)
        _several(self._spare, token, 0, 0, [0], uniforms, self._greedy)

    def _graph(self, cache: PagedKVCache, num_kept: int) -> ThinkerGraph:
        key = (cache.num_blocks, num_kept)
        if key not in self._graphs:
            self._graphs[key] = self._new_graph(cache, num_kept)
        return self._graphs[key]

    def _new_graph(self, cache: PagedKVCache, num_kept: int) -> ThinkerGraph:
        return ThinkerGraph(self.decoder, self.shell, cache, num_kept, self.accept_layer, self._kept)


def _several(
    graph: ThinkerGraph,
    token: Tensor,
    position: int,
    delta: float,
    blocks: Sequence[int],
    uniforms: UniformStream,
    settings: SamplingTensors,
) -> tuple[Tensor, ...]:
    """TOKENS_PER_CALL tokens after `token`, int32 (1,), at `position`, as `ThinkerGraph.step` returns them: calls of
    the graph in turn, without waiting, since the host knows all that the next one is given but the token."""
    parts = []
    for ahead in range(0, TOKENS_PER_CALL, graph.num_steps):
        where = places(position + ahead, delta, blocks)
        parts.append(graph.run(token, *where, uniforms.draw(graph.num_steps, 1), *settings.tensors))
        token = parts[-1][0][-1:]
    if len(parts) == 1:
        return parts[0]
    return tuple(mint.cat(kind, dim=0) for kind in zip(*parts, strict=True))


def _until_stop(tokens: list[int], stop_ids: list[int]) -> list[int]:
    """The tokens up to and with the first that ends the answer."""
    for place, token in enumerate(tokens):
        if token in stop_ids:
            return tokens[: place + 1]
    return tokens
