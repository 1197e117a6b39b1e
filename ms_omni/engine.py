"""OmniEngine: a conversation in, an OmniOutput or a stream of chunks out."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ms_omni.checkpoint import built_in
from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.errors import OmniError, UnknownDecoderError
from ms_omni.outputs import AudioOutput, OmniOutput, StreamChunk, StreamEnd, Usage
from ms_omni.reporter import AnswerReporter, Emit, Progress
from ms_omni.sharing import agreed_seed, join_job, raise_together
from ms_omni.stages import stage

if TYPE_CHECKING:
    from ms_omni.inputs.processor import PreparedInputs
    from ms_omni.runtime.results import Runtime

# A question, messages, or a processor's arrays of one prompt
Conversation = str | list[dict[str, Any]] | Mapping[str, Any]

logger = logging.getLogger(__name__)

DEFAULT_SPEAKER = "ethan"
# Of a stream: 4 frames are 0.3 s of speech, enough to begin with; 25 are 2 s, made in less time than they last.
FIRST_CHUNK_FRAMES = 4
CHUNK_FRAMES = 25
# When nobody listens before the end: fewer, larger pieces cost less, 300 frames still bound the memory.
WHOLE_CHUNK_FRAMES = 300


@dataclass(frozen=True)
class _Options:
    """The arguments of `generate` and `stream`."""

    return_audio: bool | None
    speaker: str | None
    use_audio_in_video: bool
    fps: float | None
    sampling: SamplingParams | None
    progress: Progress | None
    first_chunk_frames: int
    chunk_frames: int


class OmniEngine:
    """One loaded checkpoint. Not thread-safe: one conversation at a time."""

    def __init__(self, config: EngineConfig, progress: Progress | None = None):
        from ms_omni.checkpoint.config import read_config, read_generation_config
        from ms_omni.checkpoint.resolve import resolve_checkpoint

        self.settings = config
        self.directory: Path = resolve_checkpoint(config.model)
        self.config = read_config(self.directory)
        self.generation_config = read_generation_config(self.directory)
        start = time.perf_counter()
        self._load(progress)
        self.load_s = time.perf_counter() - start

    @classmethod
    def from_pretrained(
        cls, model: str | Path = built_in.NAME, *, progress: Progress | None = None, **settings: Any
    ) -> OmniEngine:
        """Loads a checkpoint directory, a hub name that is in the local hub cache, or the built-in tiny model.

        settings: the fields of EngineConfig (engine, parallel, device, dtype, attn_implementation, with_talker,
        min_pixels, max_pixels, media_reader, compile_cache, data_parallel). progress: called with (stage, done,
        total). Raises OmniError."""
        return cls(EngineConfig(model=str(model), **settings), progress)

    def _load(self, progress: Progress | None) -> None:
        from ms_omni.fitting import check_weights
        from ms_omni.kernels import setup_device
        from ms_omni.runtime.card import limit_pool, start_card
        from ms_omni.runtime.room import free_device_bytes

        self.device = setup_device(self.settings.device)
        if self.device == "Ascend":
            limit_pool()  # before anything is allocated
        self.dtype = _choose_dtype(self.settings.dtype, self.device)
        self.world, self.parallel = join_job(self.settings, self.device, self.dtype, self.config)
        if self.device == "Ascend":
            start_card()
        check_weights(
            self.settings, self.config, self.parallel, self.world.group_size, self.device, self.dtype,
            free_device_bytes(self.device),
        )  # fmt: skip
        self.attn_implementation = _choose_attention(self.settings.attn_implementation, self.device)
        import mindspore as ms

        from ms_omni.inputs.processor import InputProcessor

        self.processor = InputProcessor.from_pretrained(
            self.directory, min_pixels=self.settings.min_pixels, max_pixels=self.settings.max_pixels
        )
        self.runtime = self._make_runtime(getattr(ms, self.dtype), progress)
        self.model = self.runtime.model

    def _make_runtime(self, dtype: Any, progress: Progress | None) -> Runtime:
        from ms_omni.runtime.fused_runtime import FusedRuntime
        from ms_omni.runtime.mindone_runtime import MindoneRuntime

        options = {
            "dtype": dtype,
            "attn_implementation": self.attn_implementation,
            "with_talker": self.settings.with_talker,
            "parallel": self.parallel,
            "world": self.world,
            "progress": progress,
        }
        if self.settings.engine != "mindone":
            try:
                return FusedRuntime(self.directory, self.device, compile_cache=self.settings.compile_cache, **options)
            except UnknownDecoderError as error:
                if self.settings.engine == "fused" or self.world.data_parallel:
                    raise
                logger.warning("%s: using --engine mindone, which is slower", error)
        return MindoneRuntime(self.directory, **options)

    @property
    def has_talker(self) -> bool:
        """Whether speech can be made."""
        return bool(self.model.has_talker)

    @property
    def speakers(self) -> list[str]:
        """Names for `speaker`, as the checkpoint writes them."""
        return list(self.config.talker_config.speaker_id) if self.has_talker else []

    @property
    def is_writer(self) -> bool:
        """Whether this process prints and writes for its job: one of those that msrun starts, or the only one."""
        return self.world.is_writer

    def generate(
        self,
        conversation: Conversation,
        *,
        return_audio: bool | None = None,
        speaker: str | None = None,
        use_audio_in_video: bool = False,
        fps: float | None = None,
        sampling: SamplingParams | None = None,
        progress: Progress | None = None,
        first_chunk_frames: int = WHOLE_CHUNK_FRAMES,
        chunk_frames: int = WHOLE_CHUNK_FRAMES,
    ) -> OmniOutput:
        """Answers a conversation.

        conversation: a question as a plain text; messages (role, content parts of text, image, audio, video;
        docs/inputs.md); or what the processor made of one: arrays or tensors by name, of one prompt.
        return_audio: speak (default: if the Talker is loaded). speaker: a name of `speakers` (default Ethan).
        use_audio_in_video: hear the videos' sound. fps: what the processor takes the videos' frame rate for.
        sampling: a SamplingParams. progress: called with (stage, done, total); stages thinker, talker, code2wav.
        first_chunk_frames, chunk_frames: of how many codec frames the pieces of the wave are made.
        Raises OmniError for a conversation or a medium that cannot be used."""
        options = _Options(
            return_audio, speaker, use_audio_in_video, fps, sampling, progress, first_chunk_frames, chunk_frames
        )
        return self._answer(conversation, lambda chunk: None, options)

    def take_part(self) -> None:
        """With `data_parallel`, to be called once this rank has no more conversations: helps the other ranks of its
        group with theirs, until they have called it too. Otherwise returns at once."""
        self.runtime.take_part()

    def stream(
        self,
        conversation: Conversation,
        *,
        return_audio: bool | None = None,
        speaker: str | None = None,
        use_audio_in_video: bool = False,
        fps: float | None = None,
        sampling: SamplingParams | None = None,
        progress: Progress | None = None,
        first_chunk_frames: int = FIRST_CHUNK_FRAMES,
        chunk_frames: int = CHUNK_FRAMES,
    ) -> Generator[StreamChunk, None, None]:
        """As `generate`, in pieces as they come: TextDelta and AudioChunk, then a StreamEnd. Closing the iterator ends
        the work at its next token or chunk."""
        options = _Options(
            return_audio, speaker, use_audio_in_video, fps, sampling, progress, first_chunk_frames, chunk_frames
        )
        return self._stream(conversation, options)

    def _stream(self, conversation: Conversation, options: _Options) -> Generator[StreamChunk, None, None]:
        chunks: queue.Queue[StreamChunk | BaseException] = queue.Queue()
        closed = threading.Event()

        def emit(chunk: StreamChunk | None) -> None:
            if closed.is_set():
                raise _StreamClosed
            if chunk is not None:
                chunks.put(chunk)

        def work() -> None:
            try:
                emit(StreamEnd(self._answer(conversation, emit, options)))
            except BaseException as error:
                chunks.put(error)

        thread = threading.Thread(target=work, name="ms-omni-stream", daemon=True)
        thread.start()
        try:
            while True:
                chunk = chunks.get()
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
                if isinstance(chunk, StreamEnd):
                    return
        finally:
            closed.set()
            thread.join()

    def _answer(self, conversation: Conversation, emit: Emit, options: _Options) -> OmniOutput:
        from ms_omni.inputs.cast import cast_inputs
        from ms_omni.runtime.results import Question

        start = time.perf_counter()
        _check_chunks(options.first_chunk_frames, options.chunk_frames)
        speak = self.has_talker if options.return_audio is None else options.return_audio
        speaker_id = self._speaker_id(options.speaker) if speak else None
        sampling = (options.sampling or SamplingParams()).resolved(self.generation_config)
        sampling = replace(sampling, seed=agreed_seed(sampling.seed, self.world))
        self._seed(sampling)
        prepared = self._prepare(conversation, options, sampling, speak)
        with stage("processor"):
            inputs = cast_inputs(prepared.arrays, self.dtype)
        question = Question(
            inputs=inputs,
            prompt_ids=prepared.arrays["input_ids"][0],
            sampling=sampling,
            stop_ids=self.eos_token_ids,
            use_audio_in_video=options.use_audio_in_video,
            speaker_id=speaker_id,
        )
        prepare_s = time.perf_counter() - start
        reporter = AnswerReporter(self.processor.decode, emit, options.progress, sampling, start)
        if speak:
            reporter.voice(self.model.code2wav, options.first_chunk_frames, options.chunk_frames)
        answer = self.runtime.answer(question, reporter)
        reporter.finish()
        audio = None
        if answer.codes is not None:
            audio = AudioOutput(reporter.samples(), answer.codes, answer.talker_finish_reason)
        return OmniOutput(
            text=self.processor.decode(answer.token_ids),
            token_ids=tuple(answer.token_ids),
            finish_reason=answer.finish_reason,
            usage=Usage(completion_tokens=len(answer.token_ids), **prepared.usage_counts),
            audio=audio,
            stats={
                "load_s": self.load_s,
                "prepare_s": prepare_s,
                **answer.seconds,
                **reporter.seconds,
                "total_s": time.perf_counter() - start,
            },
        )

    def _prepare(
        self, conversation: Conversation, options: _Options, sampling: SamplingParams, speak: bool
    ) -> PreparedInputs:
        """The processor's inputs. A mistake that one rank of a group finds ends the answer of all: what it would not
        compute, the others would wait for."""
        prepared: Any = None
        failure = None
        try:
            with stage("processor"):
                if isinstance(conversation, Mapping):
                    prepared = self.processor.accept(conversation)
                else:
                    if isinstance(conversation, str):
                        conversation = [{"role": "user", "content": conversation}]
                    prepared = self.processor.prepare(
                        conversation, options.use_audio_in_video, options.fps, self.settings.media_reader
                    )
            self._check_room(prepared.usage_counts["prompt_tokens"], sampling, speak)
        except OmniError as error:
            failure = error
        raise_together(failure, self.world)
        return prepared

    @property
    def eos_token_ids(self) -> list[int]:
        """What ends an answer: generation_config.json, else the tokenizer's <|im_end|>."""
        configured = self.generation_config.get("thinker_eos_token_id", self.generation_config.get("eos_token_id"))
        if configured is None:
            configured = self.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
        return list(configured) if isinstance(configured, (list, tuple)) else [int(configured)]

    def _speaker_id(self, speaker: str | None) -> int:
        if not self.has_talker:
            reason = "has no Talker" if self.settings.with_talker else "was loaded without its Talker"
            raise OmniError(f"speech was asked for, but {self.settings.model} {reason}")
        ids = {name.lower(): value for name, value in self.config.talker_config.speaker_id.items()}
        name = (speaker or (DEFAULT_SPEAKER if DEFAULT_SPEAKER in ids else next(iter(ids)))).lower()
        if name not in ids:
            raise OmniError(f"--speaker {speaker}: expected one of {', '.join(self.speakers)}")
        return int(ids[name])

    def _check_room(self, prompt_tokens: int, sampling: SamplingParams, speak: bool) -> None:
        from ms_omni.runtime.room import check_memory, check_positions, free_device_bytes

        check_positions(prompt_tokens, sampling, self.config.thinker_config.text_config.max_position_embeddings)
        check_memory(self.runtime, prompt_tokens, sampling, free_device_bytes(self.device), speak)

    def _seed(self, sampling: SamplingParams) -> None:
        import mindspore as ms

        ms.manual_seed(sampling.seed if sampling.seed is not None else int.from_bytes(np.random.bytes(3), "little"))


class _StreamClosed(Exception):
    """Whoever read the stream has gone."""


def _choose_dtype(asked: str, device: str) -> str:
    if asked == "auto":
        return "float32" if device == "CPU" else "bfloat16"
    if device == "CPU" and asked != "float32":
        raise OmniError(
            f"--dtype {asked}: MindSpore's CPU backend computes in float32 only; allowed here: float32, auto"
        )
    return asked


def _choose_attention(asked: str, device: str) -> str:
    if asked == "auto":
        return "eager" if device == "CPU" else "flash_attention_2"
    if device == "CPU" and asked == "flash_attention_2":
        raise OmniError(f"--attn-implementation {asked}: needs an Ascend card; allowed here: eager, auto")
    return asked


def _check_chunks(first_chunk_frames: int, chunk_frames: int) -> None:
    """A convolution of CANN takes at most 1,000,000 values along an axis: with 1920 a frame, and 72 frames of context,
    some 450 frames are too many. Raises OmniError."""
    for name, frames in (("first_chunk_frames", first_chunk_frames), ("chunk_frames", chunk_frames)):
        if not 1 <= frames <= WHOLE_CHUNK_FRAMES:
            raise OmniError(f"{name} {frames}: expected 1 to {WHOLE_CHUNK_FRAMES}")
