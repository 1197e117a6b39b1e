"""OmniEngine: a conversation in, an OmniOutput or a stream of chunks out."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.errors import OmniError
from ms_omni.outputs import AudioChunk, AudioOutput, OmniOutput, StreamChunk, StreamEnd, TextDelta, Usage

if TYPE_CHECKING:
    from ms_omni.runtime.results import Runtime

Progress = Callable[[str, int, int], None]
DEFAULT_SPEAKER = "ethan"


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
    def from_pretrained(cls, model: str | Path, *, progress: Progress | None = None, **settings: Any) -> OmniEngine:
        """Loads a checkpoint directory, or a hub name that is in the local hub cache.

        settings: the fields of EngineConfig (engine, parallel, device, dtype, attn_implementation, with_talker,
        min_pixels, max_pixels). progress: called with (stage, done, total). Raises OmniError."""
        return cls(EngineConfig(model=str(model), **settings), progress)

    def _load(self, progress: Progress | None) -> None:
        from ms_omni.kernels import setup_device

        self.device = setup_device(self.settings.device)
        self.dtype = _choose_dtype(self.settings.dtype, self.device)
        self.attn_implementation = _choose_attention(self.settings.attn_implementation, self.device)
        import mindspore as ms

        from ms_omni.inputs.processor import InputProcessor

        self.processor = InputProcessor.from_pretrained(
            self.directory, min_pixels=self.settings.min_pixels, max_pixels=self.settings.max_pixels
        )
        self.runtime = self._make_runtime(getattr(ms, self.dtype), progress)
        self.model = self.runtime.model

    def _make_runtime(self, dtype: Any, progress: Progress | None) -> Runtime:
        with_talker = self.settings.with_talker
        if self.settings.engine == "fused":
            from ms_omni.runtime.fused_runtime import FusedRuntime

            return FusedRuntime(
                self.directory, self.device, dtype, self.attn_implementation, with_talker, progress=progress
            )
        from ms_omni.runtime.mindone_runtime import MindoneRuntime

        return MindoneRuntime(self.directory, dtype, self.attn_implementation, with_talker, progress)

    @property
    def has_talker(self) -> bool:
        """Whether speech can be made."""
        return bool(self.model.has_talker)

    @property
    def speakers(self) -> list[str]:
        """Names for `speaker`, as the checkpoint writes them."""
        return list(self.config.talker_config.speaker_id) if self.has_talker else []

    def generate(self, conversation: list[dict[str, Any]], **options: Any) -> OmniOutput:
        """Answers a conversation.

        conversation: messages as in the seed (role, content parts of text, image, audio, video).
        return_audio: speak (default: if the Talker is loaded). speaker: a name of `speakers` (default Ethan).
        use_audio_in_video: hear the videos' sound. fps: what the processor takes the videos' frame rate for.
        sampling: a SamplingParams. progress: called with (stage, done, total); stages thinker, talker, code2wav.
        Raises OmniError for a conversation or a medium that cannot be used."""
        return self._answer(conversation, lambda chunk: None, **options)

    def stream(self, conversation: list[dict[str, Any]], **options: Any) -> Iterator[StreamChunk]:
        """As `generate`, in pieces as they come: TextDelta and AudioChunk, then a StreamEnd. Closing the iterator ends
        the work at its next token or chunk."""
        chunks: queue.Queue[StreamChunk | BaseException] = queue.Queue()
        closed = threading.Event()

        def emit(chunk: StreamChunk) -> None:
            if closed.is_set():
                raise _StreamClosed
            chunks.put(chunk)

        def work() -> None:
            try:
                emit(StreamEnd(self._answer(conversation, emit, **options)))
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

    def _answer(
        self,
        conversation: list[dict[str, Any]],
        emit: Callable[[StreamChunk], None],
        *,
        return_audio: bool | None = None,
        speaker: str | None = None,
        use_audio_in_video: bool = False,
        fps: float | None = None,
        sampling: SamplingParams | None = None,
        progress: Progress | None = None,
    ) -> OmniOutput:
        from ms_omni.inputs.cast import cast_inputs
        from ms_omni.models.talker_prompt import build_talker_prompt

        speak = self.has_talker if return_audio is None else return_audio
        speaker_id = self._speaker_id(speaker) if speak else None
        sampling = (sampling or SamplingParams()).resolved(self.generation_config)
        self._seed(sampling)
        stats = _Stats()
        prepared = self.processor.prepare(conversation, use_audio_in_video=use_audio_in_video, fps=fps)
        self._check_length(prepared.usage_counts["prompt_tokens"])
        inputs = cast_inputs(prepared.arrays, self.dtype)
        stats.lap("prepare_s")
        text = _TextStream(self.processor.decode, emit, self.eos_token_ids)
        thinker = self.runtime.think(
            inputs,
            sampling,
            self.eos_token_ids,
            use_audio_in_video=use_audio_in_video,
            keep_hidden=speak,
            on_tokens=_counting(text.put, progress, "thinker", sampling.thinker_max_new_tokens),
        )
        text.end()
        stats.lap("thinker_s")
        audio = None
        if speaker_id is not None:
            prompt_ids = prepared.arrays["input_ids"][0].tolist()
            prompt = build_talker_prompt(
                self.model,
                np.array([*prompt_ids, *thinker.token_ids], dtype=np.int32),
                len(prompt_ids),
                thinker.embeds,
                thinker.hidden,
                speaker_id,
            )
            audio = self._speak(prompt, inputs, sampling, emit, progress, stats)
        usage = Usage(completion_tokens=len(thinker.token_ids), **prepared.usage_counts)
        return OmniOutput(
            text=self.processor.decode(thinker.token_ids),
            token_ids=tuple(thinker.token_ids),
            finish_reason=thinker.finish_reason,
            usage=usage,
            audio=audio,
            stats={"load_s": self.load_s, **stats.values, "total_s": stats.total_s},
        )

    def _speak(
        self,
        prompt: Any,
        inputs: Any,
        sampling: SamplingParams,
        emit: Any,
        progress: Any,
        stats: _Stats,
    ) -> AudioOutput:
        num_groups = self.config.talker_config.num_code_groups
        if prompt is None:  # nothing was said
            return AudioOutput(np.zeros(0, np.float32), np.zeros((num_groups, 0), np.int32), "stop")
        on_tokens = _counting(lambda ids: None, progress, "talker", sampling.talker_max_new_tokens)
        talker = self.runtime.talk(prompt, inputs, sampling, on_tokens)
        stats.lap("talker_s")
        pieces = []
        if talker.codes.shape[1]:
            for piece in self._waves(talker.codes, progress):
                pieces.append(piece)
                emit(AudioChunk(piece))
        stats.lap("code2wav_s")
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return AudioOutput(samples, talker.codes, talker.finish_reason)

    def _waves(self, codes: np.ndarray, progress: Progress | None) -> Iterator[np.ndarray]:
        import mindspore as ms

        from ms_omni.models.code2wav import CHUNK_FRAMES

        num_frames, done = codes.shape[1], 0
        for wave in self.model.code2wav.chunks(ms.Tensor(codes[None])):
            done = min(done + CHUNK_FRAMES, num_frames)
            if progress:
                progress("code2wav", done, num_frames)
            yield wave.astype(ms.float32).asnumpy().reshape(-1)

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

    def _check_length(self, prompt_tokens: int) -> None:
        limit = self.config.thinker_config.text_config.max_position_embeddings
        if prompt_tokens > limit:
            raise OmniError(
                f"the prompt has {prompt_tokens} tokens, the model takes {limit} (max_position_embeddings): shorten "
                "the text or the media, or lower --max-pixels or a video's fps"
            )

    def _seed(self, sampling: SamplingParams) -> None:
        import mindspore as ms

        ms.manual_seed(sampling.seed if sampling.seed is not None else int.from_bytes(np.random.bytes(3), "little"))


class _StreamClosed(Exception):
    """Whoever read the stream has gone."""


class _Stats:
    """Seconds of each stage, taken off one clock."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.values[name] = now - self._last
        self._last = now

    @property
    def total_s(self) -> float:
        return time.perf_counter() - self._start


class _TextStream:
    """Turns ids into text deltas, holding back characters whose bytes are not complete."""

    def __init__(self, decode: Callable[[list[int]], str], emit: Callable[[StreamChunk], None], eos: list[int]):
        self._decode, self._emit, self._eos = decode, emit, eos
        self._ids: list[int] = []
        self._pending: list[int] = []
        self._shown = ""

    def put(self, ids: list[int]) -> None:
        self._ids += ids
        self._pending += ids
        text = self._decode(self._ids)
        if not text.endswith("\ufffd"):
            self._flush(text)

    def end(self) -> None:
        self._flush(self._decode(self._ids))

    def _flush(self, text: str) -> None:
        if self._pending:
            self._emit(TextDelta(text[len(self._shown) :], tuple(self._pending)))
            self._shown, self._pending = text, []


def _counting(
    then: Callable[[list[int]], None], progress: Progress | None, stage: str, total: int | None
) -> Callable[[list[int]], None]:
    """`then`, and the number of tokens so far told to `progress`."""
    count = 0

    def on_tokens(ids: list[int]) -> None:
        nonlocal count
        count += len(ids)
        then(ids)
        if progress:
            progress(stage, count, total or count)

    return on_tokens


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
