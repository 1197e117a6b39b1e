"""The Talker's loop: a prefill, then one compiled graph a frame, residual codes included."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
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
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.frame_step import FrameStep, frame_cache
from ms_omni.runtime.graph_cache import GraphCache, compiled
from ms_omni.runtime.kv_cache import PagedKVCache
from ms_omni.runtime.lockstep import Lockstep, Work
from ms_omni.runtime.results import NUM_TALKER_SPECIALS
from ms_omni.runtime.sampling import GREEDY, Sampling, SamplingTensors, UniformStream, penalize_repeated
from ms_omni.runtime.token_step import TokenStep
from ms_omni.stages import stage

RANDOM_STAGE = 1
SUPPRESSED = -1e30


@dataclass(frozen=True)
class TalkerSampling:
    """How a Talker picks the first code of a frame, and its code predictor the others."""

    talker: Sampling
    predictor: Sampling
    repetition_penalty: float
    is_eos_suppressed: bool


@dataclass(frozen=True)
class TalkerTensors:
    """`TalkerSampling` of every row of a call, on the device. penalty: float32 (rows,). suppressed: float32 (rows,
    vocab), to add to the logits."""

    talker: SamplingTensors
    predictor: SamplingTensors
    penalty: Tensor
    suppressed: Tensor

    @property
    def num_kept(self) -> tuple[int, int]:
        """Of the Talker and of its code predictor."""
        return self.talker.num_kept, self.predictor.num_kept

    @property
    def first_code(self) -> tuple[Tensor, ...]:
        """In the order of the arguments of `TalkerGraph.choose`."""
        return (self.penalty, self.suppressed, *self.talker.tensors)


class TalkerGraph(nn.Cell):
    """From one frame's first code to the next frame's."""

    def __init__(self, parts: FusedTalker, cache: PagedKVCache, num_kept: tuple[int, int]) -> None:
        """num_kept: of the TalkerTensors that it is for."""
        super().__init__()
        self.ops, self.world = parts.decoder.ops, parts.decoder.world
        name = f"{cache.name} {num_kept}"
        self.talker = TokenStep(parts.decoder, cache, name, 1, cache.num_blocks - 1)
        self.predictor = FrameStep(parts.predictor, 1, parts.config.num_code_groups, name, parts.frame_cache)
        self.embed, self.head = parts.shell.model.codec_embedding.weight, parts.shell.codec_head.weight
        # Tuples, not lists: MindSpore's compile cache gives a graph only the Parameters that its cell has registered
        self.code_embeds, self.code_heads = ParameterTuple(parts.code_embeds), ParameterTuple(parts.code_heads)
        config = parts.config
        self.num_first = config.text_config.vocab_size
        self.num_codes = config.code_predictor_config.vocab_size
        self.vocabulary = Tensor(np.arange(self.num_first, dtype=np.int32)[None])
        self.num_residuals = len(parts.code_heads)
        self.sampler = self.ops.Sampler(1, self.num_first, num_kept[0], name)
        self.code_sampler = self.ops.Sampler(1, self.num_codes, num_kept[1], f"{name} residual")
        cells = (self.talker, self.predictor, self.sampler, self.code_sampler)
        numbers = tuple(number for cell in cells for number in cell.kernel_numbers)
        self.run = compiled(self.step, self.ops.JIT_OPTIONS, parts.graphs, f"{name} {numbers}")

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
        """hidden: (1, hidden), normed. uniform: float32 (1,). The others: of TalkerTensors. The first code of a frame,
        int32 (1,), and what has been seen since."""
        scores = logits(hidden, self.head, self.world, self.num_first).astype(ms.float32)
        scores = penalize_repeated(scores, seen, penalty) + suppressed
        token = self.sampler(scores, uniform, temperature, top_k, top_p)
        return token, ops.maximum(seen, (self.vocabulary == token).astype(ms.float32))

    def step(
        self,
        hidden: Tensor,
        token: Tensor,
        seen: Tensor,
        text: Tensor,
        batch_valid_length: Tensor,
        rope_position: Tensor,
        table: Tensor,
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
        """hidden: (1, hidden), what `token`, int32 (1,), was picked from. seen: float32 (1, vocab). text: (1, hidden),
        to add to this frame. batch_valid_length: int32 (1,), how many tokens the sequence has with this frame; Ascend's
        PagedAttention finds the lengths by this name. rope_position: float32 (1,). table: int32 (1, max_blocks), the
        sequence's blocks. uniform: float32 (num_code_groups, 1), the first for the next token. The others: of
        TalkerTensors. Returns this frame's codes and the next token, int32 (num_code_groups + 1,), to be read at once,
        and the next hidden, token, seen."""
        total, codes = self.predict(hidden, token, text, table, uniform, code_temperature, code_top_k, code_top_p)
        # The sum of the codes that all ranks are about to agree on, not of this one's, which may differ by a rounding
        total, gathered = self.talker.gather_before(agreed(total, self.world))
        hidden, _ = self.talker.decode(total, rope_position, batch_valid_length, table, gathered)
        token, seen = self.choose(hidden, seen, uniform[0], penalty, suppressed, temperature, top_k, top_p)
        made = agreed(ops.concat(codes + (token,), 0), self.world)
        return made, hidden, made[self.num_residuals + 1 :], seen

    def predict(
        self,
        hidden: Tensor,
        token: Tensor,
        text: Tensor,
        table: Tensor,
        uniform: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        top_p: Tensor,
    ) -> Any:
        """The code predictor's part of `step`. Returns what the Talker reads next, (1, hidden), and
        the frame's codes, int32 (1,) each."""
        gathered = self.predictor.decoder.gather()
        _, past = self.predictor.decode(hidden, 0, self.predictor.start(table), gathered)
        x = lookup(self.embed, token, self.world, self.num_first)
        summands: Any = (text, x)
        codes: Any = (token,)
        for i in range(self.num_residuals):
            state, past = self.predictor.decode(x, i + 1, past, gathered)
            scores = logits(state, self.code_heads[i], self.world, self.num_codes).astype(ms.float32)
            code = self.code_sampler(scores, uniform[i + 1], temperature, top_k, top_p)
            x = lookup(self.code_embeds[i], code, self.world, self.num_codes)
            summands, codes = summands + (x,), codes + (code,)
        # Rounded once; sums of two would each be rounded in half precision
        total = mint.sum(ops.concat(summands, 0), 0, True, dtype=ms.float32)
        return total.astype(text.dtype), codes


class FusedTalker:
    """Graphs of one Talker, kept by cache capacity and by how much of the vocabularies they look at. last: the one that
    an answer began with last, and its settings."""

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
        self.frame_cache = frame_cache(predictor, 1, config.num_code_groups, "code_predictor")
        self._graphs: dict[tuple[int, tuple[int, int]], TalkerGraph] = {}
        self.last: tuple[TalkerGraph, TalkerTensors] | None = None
        self._pool = CachePool(decoder, "talker")
        self._lockstep = lockstep
        self._spare: TalkerGraph | None = None
        self._greedy = self.tensors([TalkerSampling(GREEDY, GREEDY, 1.0, False)])
        lockstep.register(Work.TALKER_PREFILL, decoder.accompany)
        lockstep.register(Work.TALKER_FRAME, self._accompany)

    def tensors(self, rows: Sequence[TalkerSampling]) -> TalkerTensors:
        """The ids at the end of the vocabulary are no codes, except, mostly, the end of speech."""
        first, codes = self.config.text_config.vocab_size, self.config.code_predictor_config.vocab_size
        suppressed = np.zeros((len(rows), first), np.float32)
        suppressed[:, max(first - NUM_TALKER_SPECIALS, 0) :] = SUPPRESSED
        for row, sampling in zip(suppressed, rows, strict=True):
            if not sampling.is_eos_suppressed:
                row[self.config.codec_eos_token_id] = 0
        return TalkerTensors(
            SamplingTensors.of([row.talker for row in rows], first, self.decoder.ops),
            SamplingTensors.of([row.predictor for row in rows], codes, self.decoder.ops),
            Tensor(np.array([row.repetition_penalty for row in rows], np.float32)),
            Tensor(suppressed),
        )

    def missing_cache_bytes(self, num_prompt: int, max_new_tokens: int) -> int:
        """As `Runtime.missing_cache_bytes`."""
        return self._pool.missing_bytes(num_prompt, max_new_tokens, 1)

    def frames(
        self,
        prompt: TalkerPrompt,
        text: TrailingText,
        inputs: Mapping[str, Any],
        sampling: TalkerSampling,
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
        settings = self.tensors([sampling])
        num_groups, eos = self.config.num_code_groups, self.config.codec_eos_token_id
        with stage("talker_prefill"):
            graph = self._graph(cache, settings.num_kept)
            self.last = graph, settings
            hidden, _ = self._lockstep.prefill(
                Work.TALKER_PREFILL, self.decoder, prompt.inputs_embeds[0], positions, cache,
                sequence_blocks(cache), [], -1,
            )  # fmt: skip
            hidden = hidden[-1:]
            seen = mint.zeros((1, self.config.text_config.vocab_size), dtype=ms.float32)
            token, seen = graph.choose(hidden, seen, uniforms.draw(1), *settings.first_code)
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
                    uniforms.draw(num_groups, 1), *settings.first_code, *settings.predictor.tensors,
                )  # fmt: skip
                made, hidden, token, seen = self._run(self._graph(cache, settings.num_kept), arguments)
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
            self._spare = TalkerGraph(self, cache, self._greedy.num_kept)
        nothing = mint.zeros((1, self.decoder.spec.hidden_size), dtype=self.decoder.dtype)
        seen = mint.zeros((1, self.config.text_config.vocab_size), dtype=ms.float32)
        uniform = Tensor(np.zeros((self.config.num_code_groups, 1), np.float32))
        settings = (*self._greedy.first_code, *self._greedy.predictor.tensors)
        self._spare.run(nothing, Tensor(np.zeros(1, np.int32)), seen, nothing, *places(0, 0, [0]), uniform, *settings)

    def _graph(self, cache: PagedKVCache, num_kept: tuple[int, int]) -> TalkerGraph:
        key = (cache.num_blocks, num_kept)
        if key not in self._graphs:
            self._graphs[key] = TalkerGraph(self, cache, num_kept)
        return self._graphs[key]
