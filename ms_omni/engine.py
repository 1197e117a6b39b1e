"""OmniEngine: conversations in, OmniOutputs or streams of chunks out."""

from __future__ import annotations

import atexit
import time
import weakref
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ms_omni.checkpoint import built_in
from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.distributed import make_loop
from ms_omni.errors import OmniError
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess
from ms_omni.loading import load
from ms_omni.options import WHOLE_WAVE, Options
from ms_omni.outputs import OmniOutput, StreamChunk
from ms_omni.scheduling.follower import Follower
from ms_omni.scheduling.request import Progress, Request, RequestHandle
from ms_omni.speakers import (
    FIRST_CHUNK_FRAMES,
    STREAM_CHUNK_FRAMES,
    check_chunks,
    speaker_names,
    speech_of,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ms_omni.preprocessing import Conversation


class OmniEngine:
    """One loaded checkpoint, for any number of conversations and threads at once. It ends with `close`, at the
    end of its `with` block, when neither it nor any of its handles is referenced, or with the process."""

    def __init__(self, config: EngineConfig, progress: Progress | None = None):
        from ms_omni.checkpoint.config import read_config, read_generation_config
        from ms_omni.checkpoint.resolve import resolve_checkpoint
        from ms_omni.preprocessing import Preprocessor
        from ms_omni.tasks.variant import variant_of

        self.settings = config
        self.directory: Path = resolve_checkpoint(config.model)
        self.config = read_config(self.directory)
        self.generation_config = read_generation_config(self.directory)
        start = time.perf_counter()
        loaded = load(config, self.directory, self.config, self.generation_config, progress)
        self.device, self.dtype, self.parallel = loaded.device, loaded.dtype, loaded.parallel
        self.attn_implementation, self.world = loaded.attn_implementation, loaded.world
        self.quantize = loaded.quantize
        self.processor, self.executor, self.model = loaded.processor, loaded.executor, loaded.executor.model
        self._preprocessor = Preprocessor(self.processor, self.config, config, variant_of(self.directory))
        self.load_s = time.perf_counter() - start
        self._loop = make_loop(self.executor, self.processor.decode, self.world)
        self._finalizer = weakref.finalize(self, self._loop.close)
        # Threads that compute while the interpreter exits would abort it. finalize's own exit hook may be registered
        # before MindSpore's hooks, and would then run after them.
        self._finalizer.atexit = False
        atexit.register(self._finalizer)

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = built_in.NAME,
        *,
        engine: str = "auto",
        parallel: str = "none",
        device: str = "auto",
        dtype: str = "auto",
        attn_implementation: str = "auto",
        with_talker: bool = True,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        media_reader: str = "auto",
        media_access: MediaAccess | None = None,
        compile_cache: str | None = None,
        max_num_seqs: int | None = None,
        max_model_len: int | None = None,
        warm_up: bool = False,
        launch_capture: str = "none",
        quantize: str = "auto",
        progress: Progress | None = None,
    ) -> OmniEngine:
        """Loads a checkpoint directory, a hub name that is in the local hub cache, or the built-in tiny model.

        All but progress are fields of EngineConfig. engine: auto, fused, mindone. parallel: none, auto, zero3, ep, tp.
        device: auto, CPU, Ascend. dtype: auto, float32, float16, bfloat16. attn_implementation: auto, eager,
        flash_attention_2. media_reader: auto, ms_omni, qwen_omni_utils. launch_capture: none, thinker, talker.
        quantize: auto, none, int8, int8-dynamic. min_pixels, max_pixels: of images. media_access None: any file and
        host. progress: called with ("load", weights done, weights in all) and ("compile", graphs done, graphs in all).
        Raises OmniError."""
        config = EngineConfig(
            model=str(model),
            engine=engine,
            parallel=parallel,
            device=device,
            dtype=dtype,
            attn_implementation=attn_implementation,
            with_talker=with_talker,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            media_reader=media_reader,
            media_access=media_access or UNRESTRICTED,
            compile_cache=compile_cache,
            max_num_seqs=max_num_seqs,
            max_model_len=max_model_len,
            warm_up=warm_up,
            launch_capture=launch_capture,
            quantize=quantize,
        )
        return cls(config, progress)

    def __enter__(self) -> OmniEngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends running requests with EngineStopped, an OmniError, and returns when the work has stopped. A second call
        does nothing."""
        self._finalizer()
        atexit.unregister(self._finalizer)

    def follow(self) -> None:
        """For a process that shares its model with others and submits nothing itself: takes part in the requests that
        the first process of its group submits, until that one closes its engine. Returns at once in the first process
        and where the model is not shared. Raises EngineStopped when another process has failed."""
        if isinstance(self._loop, Follower):
            self._loop.follow()

    @property
    def has_talker(self) -> bool:
        """Whether speech can be made."""
        return bool(self.model.has_talker)

    @property
    def speakers(self) -> list[str]:
        """Names for `speaker`, as the checkpoint writes them."""
        return speaker_names(self.config.talker_config) if self.has_talker else []

    @property
    def max_num_seqs(self) -> int:
        """How many conversations run at a time; more are queued."""
        return int(self.executor.limits.max_num_seqs)

    @property
    def free_blocks(self) -> dict[str, int]:
        """Free blocks of the key-value caches, by "thinker" and "talker". Empty on ranks that do not lead their
        group."""
        return {str(stage): count for stage, count in self._loop.free_blocks.items()}

    @property
    def num_blocks(self) -> dict[str, int]:
        """All blocks of the key-value caches, free or not. Known on every rank."""
        return {str(stage): count for stage, count in self.executor.limits.num_blocks.items()}

    @property
    def num_running(self) -> int:
        """Conversations that are running. 0 on ranks that do not lead their group."""
        return self._loop.num_running

    @property
    def stopped(self) -> str:
        """Why the engine gives no more answers: it was closed, or has failed. Empty while it runs."""
        return self._loop.stopped

    @property
    def is_writer(self) -> bool:
        """Whether this process prints and writes for its job: rank 0, or the only process."""
        return self.world.is_writer

    def submit(
        self,
        conversation: Conversation,
        *,
        return_audio: bool | None = None,
        speaker: str | None = None,
        use_audio_in_video: bool = False,
        fps: float | None = None,
        sampling: SamplingParams | None = None,
        stop: str | Sequence[str] = (),
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        first_chunk_frames: int = FIRST_CHUNK_FRAMES,
        chunk_frames: int = STREAM_CHUNK_FRAMES,
    ) -> RequestHandle:
        """Queues one conversation and returns at once. The handle may be read from any thread.

        conversation: a question as plain text; messages (role, content parts of text, image, audio, video;
        docs/inputs.md); or the processor's result for one prompt, arrays or tensors by name. The other arguments are
        described in `ms_omni.options.Options`.
        Raises OmniError for settings that cannot be used and when the engine was closed. Mistakes in the conversation
        and its media are raised by the handle."""
        check_chunks(first_chunk_frames, chunk_frames)
        speak = self.has_talker if return_audio is None else return_audio
        if speak and not self.has_talker:
            reason = "has no Talker" if self.settings.with_talker else "was loaded without its Talker"
            raise OmniError(f"speech was asked for, but {self.settings.model} {reason}")
        speech = speech_of(self.config.talker_config, speaker, first_chunk_frames, chunk_frames) if speak else None
        sampling = (sampling or SamplingParams()).resolved(self.generation_config)
        stop_texts = (stop,) if isinstance(stop, str) else tuple(stop)
        if not all(stop_texts):
            raise OmniError("stop: an empty text would end every answer; expected texts that are not empty")
        handle = self._loop.submit(
            Request(
                prepare=partial(
                    self._preprocessor.prepare,
                    conversation,
                    sampling,
                    speak=speak,
                    use_audio_in_video=use_audio_in_video,
                    fps=fps,
                    tools=tools,
                    chat_template_kwargs=chat_template_kwargs,
                ),
                sampling=sampling,
                stop_ids=tuple(self.eos_token_ids),
                stop_texts=stop_texts,
                use_audio_in_video=use_audio_in_video,
                speech=speech,
                progress=progress,
                stats={"load_s": self.load_s},
            )
        )
        handle.owner = self
        return handle

    @overload  # a list of messages is one conversation, although each of its items looks like a mapping of arrays
    def generate(  # type: ignore[overload-overlap]
        self, conversation: Conversation, **options: Unpack[Options]
    ) -> OmniOutput: ...

    @overload
    def generate(self, conversation: list[Conversation], **options: Unpack[Options]) -> list[OmniOutput]: ...

    def generate(
        self, conversation: Conversation | list[Conversation], **options: Unpack[Options]
    ) -> OmniOutput | list[OmniOutput]:
        """Answers one conversation, or a list of conversations together; results come in the order of the list.

        The options are those of `submit`, for every conversation; waves are made in pieces of 300 frames. When one
        conversation fails, its error is raised and the others are cancelled; with `submit` each fails alone."""
        from ms_omni.preprocessing import are_several

        whole: Options = {**WHOLE_WAVE, **options}
        several = are_several(conversation)
        asked: list[Any] = list(conversation) if several else [conversation]
        handles: list[RequestHandle] = []
        try:
            for each in asked:
                handles.append(self.submit(each, **whole))  # noqa: PERF401 when one is refused, earlier ones are cancelled
            outputs = [handle.result() for handle in handles]
        finally:
            for handle in handles:
                handle.cancel()
        return outputs if several else outputs[0]

    def stream(self, conversation: Conversation, **options: Unpack[Options]) -> Generator[StreamChunk, None, None]:
        """As `submit`, but yields the answer while it is made: TextDelta and AudioChunk, then one StreamEnd. Closing
        the iterator cancels the request."""
        return iter(self.submit(conversation, **options))

    @property
    def eos_token_ids(self) -> list[int]:
        """Tokens that end an answer: those of generation_config.json, else the tokenizer's <|im_end|>."""
        configured = self.generation_config.get("thinker_eos_token_id", self.generation_config.get("eos_token_id"))
        if configured is None:
            configured = self.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
        return list(configured) if isinstance(configured, (list, tuple)) else [int(configured)]
