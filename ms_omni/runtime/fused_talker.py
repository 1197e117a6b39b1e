"""The Talker's loop: a prefill, then one compiled graph a frame, residual codes included."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops

from ms_omni.models.talker_prompt import TalkerPrompt, TrailingText
from ms_omni.models.thinker import host
from ms_omni.parallel.collectives import agreed
from ms_omni.parallel.vocabulary import logits, lookup
from ms_omni.runtime.cache_pool import CachePool, places, sequence_blocks
from ms_omni.runtime.capacities import predictor_capacity
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.graph_cache import GraphCache, compiled
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.lockstep import Lockstep, Work
from ms_omni.runtime.results import NUM_TALKER_SPECIALS
from ms_omni.runtime.sampling import GREEDY, UniformStream, Warp, penalize_repeated, pick
from ms_omni.runtime.token_step import TokenStep
from ms_omni.stages import stage

RANDOM_STAGE = 1
SUPPRESSED = -1e30


@dataclass(frozen=True)
class TalkerWarp:
    """How a Talker picks the first code of a frame, and its code predictor the others."""

    talker: Warp
    predictor: Warp
    repetition_penalty: float
    is_eos_suppressed: bool


class TalkerGraph(nn.Cell):
    """From one frame's first code to the next frame's."""

    def __init__(self, parts: FusedTalker, cache: PagedKVCache, warp: TalkerWarp) -> None:
        super().__init__()
        self.ops, self.world = parts.decoder.ops, parts.decoder.world
        name = f"{cache.name} {warp}"
        self.talker = TokenStep(parts.decoder, cache, name, 1, cache.num_blocks - 1)
        self.predictor = TokenStep(parts.predictor, parts.predictor_cache, name, 1, 1)
        self.code_blocks = Tensor(np.arange(1, parts.predictor_cache.num_blocks, dtype=np.int32)[:, None])
        self.embed, self.head = parts.shell.model.codec_embedding.weight, parts.shell.codec_head.weight
        # Tuples, not lists: MindSpore's compile cache gives a graph only the Parameters that its cell has registered
        self.code_embeds, self.code_heads = ParameterTuple(parts.code_embeds), ParameterTuple(parts.code_heads)
        self.suppressed = parts.suppressed(warp.is_eos_suppressed)
        config = parts.config
        self.num_first = config.text_config.vocab_size
        self.num_codes = config.code_predictor_config.vocab_size
        self.vocabulary = Tensor(np.arange(self.num_first, dtype=np.int32)[None])
        self.temperature, self.top_k, self.top_p = warp.talker.temperature, warp.talker.top_k, warp.talker.top_p
        self.code_warp = (warp.predictor.temperature, warp.predictor.top_k, warp.predictor.top_p)
        self.penalty, self.num_residuals = warp.repetition_penalty, len(parts.code_heads)
        numbers = self.talker.kernel_numbers + self.predictor.kernel_numbers
        self.run = compiled(self.step, self.ops.JIT_OPTIONS, parts.graphs, f"{name} {numbers}")

    def choose(self, hidden: Tensor, seen: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """hidden: (1, hidden), normed. The first code of a frame, int32 (1,), and what has been seen since."""
        scores = logits(hidden, self.head, self.world, self.num_first).astype(ms.float32)
        scores = penalize_repeated(scores, seen, self.penalty) + self.suppressed
        token = pick(scores, uniform, self.temperature, self.top_k, self.top_p)
        return token, ops.maximum(seen, (self.vocabulary == token).astype(ms.float32))

    def step(
        self,
        hidden: Tensor,
        token: Tensor,
        seen: Tensor,
        text: Tensor,
        position: Tensor,
        rope_position: Tensor,
        table: Tensor,
        uniform: Tensor,
    ) -> Any:
        """hidden: (1, hidden), what `token`, int32 (1,), was picked from. seen: float32 (1, vocab). text: (1, hidden),
        to add to this frame. position: int32 (1,), the next place in the sequence; rope_position: float32
        (1,). table: int32 (1, max_blocks), the sequence's blocks. uniform: float32
        (num_code_groups,). Returns this frame's codes and the next token, int32 (num_code_groups + 1,), to be read at
        once, and the next hidden, token, seen."""
        total, codes = self.predict(hidden, token, text, table, uniform)
        # The sum of the codes that all ranks are about to agree on, not of this one's, which may differ by a rounding
        total, gathered = self.talker.gather_before(agreed(total, self.world))
        hidden, _ = self.talker.decode(total, rope_position, position, table, gathered)
        token, seen = self.choose(hidden, seen, uniform[0])
        made = agreed(ops.concat(codes + (token,), 0), self.world)
        return made, hidden, made[self.num_residuals + 1 :], seen

    def predict(self, hidden: Tensor, token: Tensor, text: Tensor, table: Tensor, uniform: Tensor) -> Any:
        """The code predictor's part of `step`. Returns what the Talker reads next, (1, hidden), and
        the frame's codes, int32 (1,) each."""
        gathered = self.predictor.gather()
        # Each row has a block of its own, unless it is nobody's
        first = table[:, 0]
        table, place = self.code_blocks * ops.minimum(first, 1).reshape(-1, 1), first - first
        self.predictor.decode(hidden, place.astype(ms.float32), place, table, gathered)
        x = lookup(self.embed, token, self.world, self.num_first)
        summands: Any = (text, x)
        codes: Any = (token,)
        for i in range(self.num_residuals):
            place = place + 1
            state, _ = self.predictor.decode(x, place.astype(ms.float32), place, table, gathered)
            scores = logits(state, self.code_heads[i], self.world, self.num_codes).astype(ms.float32)
            code = pick(scores, uniform[i + 1], self.code_warp[0], self.code_warp[1], self.code_warp[2])
            x = lookup(self.code_embeds[i], code, self.world, self.num_codes)
            summands, codes = summands + (x,), codes + (code,)
        # Rounded once; sums of two would each be rounded in half precision
        total = mint.sum(ops.concat(summands, 0), 0, True, dtype=ms.float32)
        return total.astype(text.dtype), codes


class FusedTalker:
    """Graphs of one Talker, kept by cache capacity and way of picking. last_graph: the one that was last used."""

    def __init__(
        self,
        shell: Any,
        decoder: StackedDecoder,
        predictor: StackedDecoder,
        config: Any,
        graphs: GraphCache | None,
        lockstep: Lockstep,
    ):
        """shell: a corrected Talker without decoder layers: projections, embeddings, heads. config: talker_config.
        graphs: kept on disk."""
        self.shell, self.decoder, self.predictor, self.config, self.graphs = shell, decoder, predictor, config, graphs
        self.code_embeds: list[Parameter] = [e.weight for e in shell.code_predictor.model.codec_embedding]
        self.code_heads: list[Parameter] = [head.weight for head in shell.code_predictor.lm_head]
        self.predictor_cache = predictor.new_cache(2, "code_predictor", predictor_capacity(config.num_code_groups))
        self._graphs: dict[tuple[int, TalkerWarp], TalkerGraph] = {}
        self.last_graph: TalkerGraph | None = None
        self._pool = CachePool(decoder, "talker")
        self._lockstep = lockstep
        self._spare: TalkerGraph | None = None
        lockstep.register(Work.TALKER_PREFILL, decoder.accompany)
        lockstep.register(Work.TALKER_FRAME, self._accompany)

    def suppressed(self, with_eos: bool) -> Tensor:
        """float32 (1, vocab), to add: the ids at the end are no codes, except, mostly, the end of speech."""
        mask = np.zeros((1, self.config.text_config.vocab_size), np.float32)
        mask[:, max(mask.shape[1] - NUM_TALKER_SPECIALS, 0) :] = SUPPRESSED
        if not with_eos:
            mask[:, self.config.codec_eos_token_id] = 0
        return Tensor(mask)

    def missing_cache_bytes(self, num_prompt: int, max_new_tokens: int) -> int:
        """As `Runtime.missing_cache_bytes`."""
        return self._pool.missing_bytes(num_prompt, max_new_tokens, 1)

    def frames(
        self,
        prompt: TalkerPrompt,
        text: TrailingText,
        inputs: Mapping[str, Any],
        warp: TalkerWarp,
        max_new_tokens: int,
        seed: int | None,
    ) -> Generator[np.ndarray | None, None, bool]:
        """Codec frames, int32 (num_code_groups,), as they are made, at most `max_new_tokens` - 1; None where the next
        one waits for `text`. Ends by itself or at the maximum: the return value says whether by itself."""
        num_prompt = prompt.inputs_embeds.shape[1]
        cache = self._pool.start(num_prompt, max_new_tokens)
        uniforms = UniformStream(seed, RANDOM_STAGE)
        mask = inputs.get("feature_attention_mask")
        positions, delta = self.shell.host_rope_index(
            host(prompt.input_ids), inputs.get("image_grid_thw"), inputs.get("video_grid_thw"), False,
            None if mask is None else host(mask).sum(-1), inputs.get("video_second_per_grid"),
        )  # fmt: skip
        num_groups, eos = self.config.num_code_groups, self.config.codec_eos_token_id
        with stage("talker_prefill"):
            graph = self._graph(cache, warp)
            hidden, _ = self._lockstep.prefill(
                Work.TALKER_PREFILL, self.decoder, prompt.inputs_embeds[0], positions, cache,
                sequence_blocks(cache), [], -1,
            )  # fmt: skip
            hidden = hidden[-1:]
            seen = mint.zeros((1, self.config.text_config.vocab_size), dtype=ms.float32)
            token, seen = graph.choose(hidden, seen, uniforms.draw(1)[0])
            token = agreed(token, self.decoder.world)
            has_ended = int(token.asnumpy()[0]) == eos
        for frame in range(max_new_tokens - 1):
            if has_ended:
                break
            while (row := text.at(frame)) is None:
                yield None
            position = num_prompt + frame
            with stage("talker_decode"):
                cache = self._pool.reaching(cache, position)
                arguments = (
                    hidden, token, seen, row, *places(position, delta, sequence_blocks(cache)),
                    uniforms.draw(num_groups),
                )  # fmt: skip
                made, hidden, token, seen = self._run(self._graph(cache, warp), arguments)
                codes = made.asnumpy()
            yield codes[:num_groups]
            has_ended = int(codes[num_groups]) == eos
        return has_ended

    def _run(self, graph: TalkerGraph, arguments: tuple[Tensor, ...]) -> Any:
        return self._lockstep.do(Work.TALKER_FRAME, lambda _: graph.run(*arguments))

    def _accompany(self, _: int) -> None:
        """A frame of another rank's Talker: one of our own, of no conversation."""
        if self._spare is None:
            cache = self.decoder.new_cache(2, "talker.spare")
            self._spare = TalkerGraph(self, cache, TalkerWarp(GREEDY, GREEDY, 1.0, False))
        nothing = mint.zeros((1, self.decoder.spec.hidden_size), dtype=self.decoder.dtype)
        seen = mint.zeros((1, self.config.text_config.vocab_size), dtype=ms.float32)
        uniform = Tensor(np.zeros(self.config.num_code_groups, np.float32))
        self._spare.run(nothing, Tensor(np.zeros(1, np.int32)), seen, nothing, *places(0, 0, [0]), uniform)

    def _graph(self, cache: PagedKVCache, warp: TalkerWarp) -> TalkerGraph:
        key = (cache.num_blocks, warp)
        if key not in self._graphs:
            self._graphs[key] = TalkerGraph(self, cache, warp)
        self.last_graph = self._graphs[key]
        return self.last_graph
