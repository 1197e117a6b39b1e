"""The compiled runtime: stacked decoders in ms.jit graphs around mindone's encoders and Code2Wav."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.config import SamplingParams
from ms_omni.errors import UnknownDecoderError
from ms_omni.kernels.decoder_ops import decoder_ops
from ms_omni.models.load import load_network
from ms_omni.models.talker import CODE_PREDICTOR_SAMPLING
from ms_omni.models.talker_prompt import TrailingText, build_talker_prompt
from ms_omni.parallel.shards import ShardedReader
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.table import ZERO3_LAYERS, check_world
from ms_omni.parallel.world import World
from ms_omni.runtime.card import check_cores
from ms_omni.runtime.decoder import StackedDecoder
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.fused_talker import FusedTalker, TalkerSampling
from ms_omni.runtime.fused_thinker import FusedThinker, ThinkerStep
from ms_omni.runtime.graph_cache import GraphCache
from ms_omni.runtime.lockstep import Lockstep
from ms_omni.runtime.results import Answer, Listener, Question, Stopwatch
from ms_omni.runtime.sampling import GREEDY, Sampling
from ms_omni.runtime.share import Share
from ms_omni.stages import stage


class FusedRuntime:
    """Decodes with one graph call for several Thinker tokens, and one a Talker frame."""

    def __init__(
        self,
        directory: Path,
        device: str,
        *,
        dtype: Any,
        attn_implementation: str,
        with_talker: bool,
        parallel: str,
        world: World,
        progress: Any = None,
        compile_cache: str | None = None,
    ):
        """directory: a checkpoint. dtype: a MindSpore float type. compile_cache: a directory for compiled graphs.
        parallel: none, zero3, ep or tp, over the groups of `world`; zero3 where these are data parallel. Raises
        OmniError for decoder layers that only mindone's classes have, for a group of a size that cannot share the
        model, and for an Ascend host of too few cores."""
        if device == "Ascend":
            check_cores()
        config = read_config(directory)
        parallel = ZERO3_LAYERS if world.data_parallel else parallel
        self._mode, self._world, self._sizes = parallel, world, ModelSizes.from_config(config)
        check_world(parallel, self._world.group_size, self._sizes)
        self.model = load_network(
            directory,
            dtype=dtype,
            attn_implementation=attn_implementation,
            with_talker=with_talker,
            with_decoders=False,
            parallel=parallel,
            world=self._world,
            progress=progress,
        )
        self._reader = ShardedReader(CheckpointReader(directory), parallel, self._world, self._sizes)
        self._operators, self._dtype, has_talker = decoder_ops(device), dtype, self.model.has_talker
        sizes = (directory / "config.json").read_text(encoding="utf-8")
        graphs = GraphCache.open(compile_cache, sizes, dtype, parallel, self._world) if compile_cache else None
        self._lockstep = Lockstep(world)
        self._thinker = FusedThinker(
            self.model.thinker,
            self._decoder("thinker.model.", config.thinker_config.text_config),
            config.talker_config.accept_hidden_layer if has_talker else -1,
            graphs,
            self._lockstep,
        )
        if has_talker:
            talker = config.talker_config
            self._talker = FusedTalker(
                self.model.talker,
                self._decoder("talker.model.", talker.text_config),
                self._decoder("talker.code_predictor.model.", talker.code_predictor_config),
                talker,
                graphs,
                self._lockstep,
            )

    @property
    def talker(self) -> FusedTalker:
        """What speaks, of a model that does."""
        return self._talker

    def answer(self, question: Question, listener: Listener) -> Answer:
        """Text and speech, interleaved: after every step of the Thinker the Talker makes the frames whose text is
        known. The result is that of one after the other."""
        watch, sampling = Stopwatch(time.perf_counter), question.sampling
        steps = self._thinker.steps(
            question.inputs,
            _sampling(sampling.thinker_temperature, sampling.thinker_top_k, sampling.thinker_top_p),
            sampling.thinker_max_new_tokens or 1,
            [] if sampling.ignore_eos else question.stop_ids,
            sampling.seed,
            use_audio_in_video=question.use_audio_in_video,
            keep_hidden=question.speaker_id is not None,
        )
        speech = None if question.speaker_id is None else _Speech(self.model, self._talker, question, watch, listener)
        token_ids: list[int] = []
        while (step := watch.time("thinker_s", lambda: next(steps, None))) is not None:
            token_ids += step.token_ids
            listener.tokens(step.token_ids)
            if speech is not None:
                speech.hear(step)
        reason = "stop" if not sampling.ignore_eos and token_ids[-1] in question.stop_ids else "length"
        if speech is None:
            return Answer(token_ids, reason, seconds=watch.seconds)
        codes, talker_reason = speech.finish()
        return Answer(token_ids, reason, codes, talker_reason, watch.seconds)

    def take_part(self) -> None:
        """In the answers of the group's other ranks, where each answers its own conversations, until all are done."""
        self._lockstep.take_part()

    def missing_cache_bytes(self, stage: str, num_prompt: int, max_new_tokens: int) -> int:
        """Of this rank's share, without the caches that earlier answers have left."""
        part = self._thinker if stage == "thinker" else self._talker
        return part.missing_cache_bytes(num_prompt, max_new_tokens)

    def _decoder(self, prefix: str, config: Any) -> StackedDecoder:
        try:
            spec = DecoderSpec.from_config(config)
        except ValueError as error:
            message = f"--engine fused: {prefix[:-1]}: {error}; use --engine mindone"
            raise UnknownDecoderError(message) from error
        share = Share.of(prefix, self._mode, self._world, self._sizes)
        return StackedDecoder(self._reader, prefix, spec, self._operators, self._dtype, share)


class _Speech:
    """The Talker's side of one answer: begins once the answer's first token was read, and speaks as far as it knows."""

    def __init__(self, model: Any, talker: FusedTalker, question: Question, watch: Stopwatch, listener: Listener):
        self._model, self._talker, self._question = model, talker, question
        self._watch, self._listener = watch, listener
        self._read: tuple[Tensor, Tensor] | None = None
        self._text: TrailingText | None = None
        self._frames: Iterator[np.ndarray | None] | None = None
        self._made: list[np.ndarray] = []
        self._finish_reason = "length"

    def hear(self, step: ThinkerStep) -> None:
        """A step of the Thinker, the prompt's first."""
        if self._read is None and self._text is None:
            self._read = (step.embeds, step.hidden)
            return
        with stage("talker_prefill" if self._text is None else "talker_decode"):
            self._watch.time("talker_s", lambda: self._take(step.embeds))
        self._speak()

    def finish(self) -> tuple[np.ndarray, str]:
        """The text has ended: the rest of the speech. All codes, int32 (num_code_groups, frames), and why they end."""
        if self._text is None:  # not a word was said
            return np.zeros((self._model.config.talker_config.num_code_groups, 0), np.int32), "stop"
        self._text.complete()
        self._speak()
        num_groups = self._model.config.talker_config.num_code_groups
        codes = np.stack(self._made, axis=1) if self._made else np.zeros((num_groups, 0), np.int32)
        return codes, self._finish_reason

    def _take(self, embeds: Tensor) -> None:
        if self._text is None:
            self._begin(embeds[:1])
            embeds = embeds[1:]
        if self._text is not None and embeds.shape[0]:
            self._text.add(self._model.talker.text_projection(embeds))

    def _begin(self, first_word: Tensor) -> None:
        question, (embeds, hidden) = self._question, self._read or (None, None)
        prompt = build_talker_prompt(
            self._model, question.prompt_ids, embeds, hidden, first_word, question.speaker_id or 0
        )
        self._read = None  # as long as the prompt, and not needed any more
        self._text = TrailingText(prompt)
        self._frames = self._watched(
            self._talker.frames(
                prompt,
                self._text,
                question.inputs,
                _talker_sampling(question.sampling),
                question.sampling.talker_max_new_tokens or 2,
                question.sampling.seed,
            )
        )

    def _watched(self, frames: Generator[np.ndarray | None, None, bool]) -> Iterator[np.ndarray | None]:
        """The same frames, with their time taken and their return value kept."""
        while True:
            try:
                frame = self._watch.time("talker_s", lambda: next(frames))
            except StopIteration as end:
                self._finish_reason = "stop" if end.value else "length"
                return
            yield frame

    def _speak(self) -> None:
        for frame in self._frames or ():
            if frame is None:
                return
            self._made.append(frame.astype(np.int32))
            self._listener.talker_token()
            self._listener.frames(self._made[-1][:, None])


def _talker_sampling(sampling: SamplingParams) -> TalkerSampling:
    talker = _sampling(sampling.talker_temperature, sampling.talker_top_k, sampling.talker_top_p)
    codes = Sampling(1.0, CODE_PREDICTOR_SAMPLING["top_k"], CODE_PREDICTOR_SAMPLING["top_p"])
    return TalkerSampling(
        talker,
        GREEDY if talker == GREEDY else codes,
        float(sampling.talker_repetition_penalty or 1.0),
        sampling.ignore_eos,
    )


def _sampling(temperature: float | None, top_k: int | None, top_p: float | None) -> Sampling:
    if not temperature:
        return GREEDY
    return Sampling(float(temperature), int(top_k or 0), float(1.0 if top_p is None else top_p))
