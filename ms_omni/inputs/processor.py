"""Turns a conversation into model inputs: reads the media, renders the prompt, runs mindone's corrected processor."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess
from ms_omni.inputs.cast import host_arrays
from ms_omni.inputs.components import feature_extractor, image_processor, video_processor
from ms_omni.inputs.conversation import validate_conversation
from ms_omni.inputs.mm_info import process_mm_info
from ms_omni.inputs.schema import media_parts
from ms_omni.inputs.tools import check_template_options, check_tools
from ms_omni.stages import stage

_KINDS = ("image", "audio", "video")


@dataclass(frozen=True)
class PreparedInputs:
    """What the model takes.

    arrays: transformers' names and shapes as numpy arrays: input_ids and attention_mask int64 (1, tokens);
        pixel_values float32 (patches, 3 * 2 * patch * patch) with image_grid_thw int64 (images, 3); the same for
        pixel_values_videos and video_grid_thw, with video_second_per_grid float64 (videos,); input_features float32
        (audios, mel bins, frames) with feature_attention_mask int32 (audios, frames). Only what the conversation has.
    text: the prompt as the chat template rendered it, before media tokens are repeated.
    usage_counts: prompt_tokens, image_tokens, audio_tokens, video_tokens.
    """

    arrays: dict[str, np.ndarray]
    text: str
    usage_counts: dict[str, int]


class InputProcessor:
    """mindone's Qwen3OmniMoeProcessor with transformers' results (see `components` for what is corrected). Its methods
    may be called from any thread: media are read in parallel, prompts are tokenized one at a time."""

    def __init__(self, processor: Any):
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self._media_ids = {
            kind: self.tokenizer.convert_tokens_to_ids(getattr(processor, f"{kind}_token")) for kind in _KINDS
        }
        # A fast tokenizer must not be used by two threads at once: one is for prompts, one for answers
        self._prompt_lock = threading.Lock()
        self._answer_tokenizer, self._answer_lock = copy.deepcopy(processor.tokenizer), threading.Lock()

    @classmethod
    def from_pretrained(
        cls, directory: str | Path, min_pixels: int | None = None, max_pixels: int | None = None
    ) -> InputProcessor:
        """From a checkpoint directory. min_pixels and max_pixels bound the area of images.

        Call `ms_omni.kernels.setup_device` first: this imports mindone. Raises OmniError for missing or broken files
        and for a checkpoint without a chat template."""
        directory = Path(directory)
        for name, value in (("--min-pixels", min_pixels), ("--max-pixels", max_pixels)):
            if value is not None and value < 1:
                raise OmniError(f"{name} {value}: expected a whole number above 0")
        try:
            processor = _assemble(directory, min_pixels, max_pixels)
        except (TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise OmniError(f"--model {directory}: the processor's settings cannot be used ({reason})") from error
        limits = processor.image_processor
        if limits.min_pixels > limits.max_pixels:
            raise OmniError(
                f"--min-pixels {limits.min_pixels} is above --max-pixels {limits.max_pixels} (the checkpoint's count "
                "where none is given)"
            )
        return cls(processor)

    def prepare(
        self,
        conversation: list[dict[str, Any]],
        use_audio_in_video: bool = False,
        fps: float | None = None,
        reader: str = "auto",
        access: MediaAccess = UNRESTRICTED,
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> PreparedInputs:
        """Reads every medium of `conversation` and returns the model's inputs.

        fps: frames a second that the model assumes of videos (transformers' processor argument, default 1.0); it sets
        video_second_per_grid = temporal_patch_size / fps. It does not change which frames are read: the `fps` key of
        a video part does.
        reader, access: of the media, see `process_mm_info`.
        tools, chat_template_kwargs: see `render`.
        Raises OmniError for a conversation or medium that cannot be used."""
        if fps is not None and not fps > 0:
            raise OmniError(f"--fps {fps}: expected a number above 0")
        conversation = validate_conversation(conversation)
        text = self.render(conversation, tools, chat_template_kwargs)
        with stage("media"):
            audios, images, videos = process_mm_info(
                conversation, use_audio_in_video, reader=reader, video_dtype=np.uint8, access=access
            )
        self._check_audio_lengths(audios or [])
        options = {} if fps is None else {"fps": fps}
        try:
            with self._prompt_lock:
                batch = self.processor(
                    text=text,
                    audio=audios,
                    images=images,
                    videos=videos,
                    return_tensors="np",
                    padding=True,
                    use_audio_in_video=use_audio_in_video,
                    **options,
                )
        except ValueError as error:  # transformers refuses sides of more than 200 to 1
            raise OmniError(f"conversation: {' '.join(str(error).split())}") from error
        arrays = {key: np.asarray(value) for key, value in batch.items()}
        return PreparedInputs(arrays, text, self._count(arrays["input_ids"]))

    def accept(self, inputs: Mapping[str, Any]) -> PreparedInputs:
        """Takes inputs that a processor made for one prompt, arrays or tensors. Raises OmniError for several
        prompts."""
        if "input_ids" not in inputs:
            raise OmniError(f"inputs: no input_ids in {', '.join(inputs) or '{}'}: expected what a processor makes")
        arrays = host_arrays(inputs)
        ids = arrays["input_ids"]
        if ids.ndim != 2 or ids.shape[0] != 1 or ids.shape[1] == 0:
            raise OmniError(f"inputs: input_ids of shape {ids.shape}: expected those of one prompt, (1, tokens)")
        return PreparedInputs(arrays, "", self._count(ids))

    def render(
        self,
        conversation: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt of the checkpoint's chat template, with the opening of the assistant's turn.

        tools: functions that the model may call (`check_tools`). chat_template_kwargs: further variables of the
        template. Raises OmniError when the template refuses the conversation, or does not render one token for each
        medium."""
        from transformers.utils.chat_template_utils import render_jinja_template

        functions: Any = check_tools(tools) if tools else None
        variables = {**self.tokenizer.special_tokens_map, **check_template_options(chat_template_kwargs or {})}
        try:
            rendered: Any = render_jinja_template(
                [conversation],
                tools=functions,
                chat_template=self.processor.chat_template,
                add_generation_prompt=True,
                **variables,
            )
        except Exception as error:  # jinja's own errors, and whatever raise_exception in the template says
            raise OmniError(f"conversation: the chat template refuses it ({' '.join(str(error).split())})") from error
        text = rendered[0][0]
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OmniError("conversation: a text holds half of a surrogate pair, which is no character") from error
        given = [kind for kind, _, _ in media_parts(conversation)]
        for kind in _KINDS:
            token = getattr(self.processor, f"{kind}_token")
            if text.count(token) != given.count(kind):
                raise OmniError(
                    f"conversation: {given.count(kind)} {kind} parts, but the prompt has {text.count(token)} {token} "
                    "(texts must not contain it, and the chat template must place every medium)"
                )
        return text

    def decode(self, ids: Any) -> str:
        """Token ids to text, special tokens left out, spaces as they are."""
        with self._answer_lock:
            return self._answer_tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _count(self, input_ids: np.ndarray) -> dict[str, int]:
        counts = {"prompt_tokens": int(input_ids.size)}
        for kind, token in self._media_ids.items():
            counts[f"{kind}_tokens"] = int((input_ids == token).sum())
        return counts

    def _check_audio_lengths(self, audios: list[np.ndarray]) -> None:
        """Refuses sounds shorter than half a window, which the spectrogram mirrors at both ends."""
        extractor = self.processor.feature_extractor
        needed = extractor.n_fft // 2 + 1
        longest = max((len(audio) for audio in audios), default=needed)
        if longest < needed:
            raise OmniError(
                f"audio too short: {longest} samples at {extractor.sampling_rate} Hz, at least {needed} are needed"
            )


def _assemble(directory: Path, min_pixels: int | None, max_pixels: int | None) -> Any:
    from mindone.transformers.models.qwen3_omni_moe.processing_qwen3_omni_moe import Qwen3OmniMoeProcessor

    class Processor(Qwen3OmniMoeProcessor):
        def __call__(self, *args: Any, **options: Any) -> Any:
            """Keeps all of the sound: transformers 4.57.1 drops what exceeds chunk_length, newer versions do not."""
            return super().__call__(*args, **{"truncation": False, **options})

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> type:
            """Accepts the parts below; mindone's own check would import all of its models."""
            return type(argument)

    return Processor(
        image_processor=image_processor(directory, min_pixels, max_pixels),
        video_processor=video_processor(directory),
        feature_extractor=feature_extractor(directory),
        tokenizer=_load_tokenizer(directory),
        chat_template=_read_template(Processor, directory),
    )


def _read_template(processor_class: Any, directory: Path) -> Any:
    try:
        settings, _ = processor_class.get_processor_dict(str(directory), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise OmniError(f"--model {directory}: the chat template cannot be read ({reason})") from error
    template = settings.get("chat_template")
    if isinstance(template, Mapping):  # several by their names
        template = template.get("default")
    if not template:
        raise OmniError(
            f"--model {directory}: has no chat template (expected chat_template.json or chat_template.jinja)"
        )
    return template


def _load_tokenizer(directory: Path) -> Any:
    from transformers import Qwen2TokenizerFast

    try:
        return Qwen2TokenizerFast.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise OmniError(f"--model {directory}: the tokenizer cannot be loaded ({reason})") from error
