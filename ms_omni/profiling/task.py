"""One workload as every side of a comparison is asked it, with its generated media and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.inputs.conversation import build_conversation, media_parts
from ms_omni.profiling.synthetic_media import MediaMaker
from ms_omni.profiling.workload import Recipe

_LENGTHS = ("thinker_max_new_tokens", "talker_max_new_tokens")
QUESTION = "Describe what you see and hear, in many words."
# Generated text repeats this
_TEXT = (
    "The harbour wakes slowly while the first boats return and the gulls argue over what falls from the nets ; a "
    "clock counts the hours from the tower , children run along the wall , ropes creak , and a man paints a door blue ."
)


@dataclass(frozen=True)
class Task:
    """conversation, options: for OmniEngine.submit. digest: of everything that decides the work. media: descriptions of
    the prompt's media. batch_size: how many conversations like this one are asked at once."""

    name: str
    conversation: list[dict[str, Any]]
    sampling: SamplingParams
    speech: bool
    use_audio_in_video: bool = False
    speaker: str | None = None
    fps: float | None = None
    digest: str = ""
    media: tuple[str, ...] = ()
    batch_size: int = 1

    @property
    def questions(self) -> list[Task]:
        """The conversations that are asked at once. The second and later ones have their number in their text and in
        their seed, so that no two answers are the same."""
        return [self._question(number) for number in range(self.batch_size)]

    def _question(self, number: int) -> Task:
        if number == 0:
            return replace(self, batch_size=1)
        seed = self.sampling.seed
        sampling = self.sampling if seed is None else replace(self.sampling, seed=seed + number)
        return replace(self, conversation=_numbered(self.conversation, number), sampling=sampling, batch_size=1)

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of OmniEngine.submit."""
        return {
            "return_audio": self.speech,
            "speaker": self.speaker if self.speech else None,
            "use_audio_in_video": self.use_audio_in_video,
            "fps": self.fps,
            "sampling": self.sampling,
        }


@dataclass(frozen=True)
class TaskSettings:
    """Settings for all cases. sampling: lengths that are None are each workload's own. limits: sizes of pictures, which
    decide the work too, for the digest."""

    sampling: SamplingParams
    speaker: str | None = None
    fps: float | None = None
    speech: bool | None = None
    use_audio_in_video: bool | None = None
    limits: Mapping[str, Any] | None = None


def make_task(recipe: Recipe, settings: TaskSettings, media: MediaMaker, count: Callable[[str], int]) -> Task:
    """Writes the recipe's synthetic media. count: counts the tokens of a text with the checkpoint's tokenizer.

    Raises OmniError naming the recipe's origin for a medium that cannot be written."""
    made = _media_parts(recipe, media)
    if recipe.conversation is not None:
        conversation = recipe.conversation
    else:
        text = recipe.text or QUESTION
        if recipe.prompt_tokens is not None:
            text = text_of(recipe.prompt_tokens, count)
        conversation = build_conversation(
            None, text, *([path for kind, path, _ in made if kind == wanted] for wanted in ("image", "audio", "video"))
        )
    sampling = _with_lengths(settings.sampling, recipe)
    speech = recipe.speech if settings.speech is None else settings.speech
    listens = recipe.use_audio_in_video if settings.use_audio_in_video is None else settings.use_audio_in_video
    listens = listens and any(kind == "video" for kind, _, _ in media_parts(conversation))
    identities = {path: what for _, path, what in made}
    digest = _digest(
        {
            "conversation": _identified(conversation, identities),
            "sampling": asdict(sampling),
            "speech": speech,
            "speaker": settings.speaker if speech else None,
            "use_audio_in_video": listens,
            "fps": settings.fps,
            "limits": dict(settings.limits or {}),
            **({"batch_size": recipe.batch_size} if recipe.batch_size > 1 else {}),
        }
    )
    words = tuple(identities.values()) or tuple(_described(conversation))
    return Task(
        recipe.name,
        conversation,
        sampling,
        speech,
        listens,
        settings.speaker,
        settings.fps,
        digest,
        words,
        recipe.batch_size,
    )


def _numbered(conversation: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    """With a number before the text of the last message, or after its media if it has no text."""
    *earlier, last = conversation
    content = last["content"]
    if isinstance(content, str):
        return [*earlier, {**last, "content": f"{number}. {content}"}]
    parts = [dict(part) for part in content]
    for part in parts:
        if "text" in part:
            part["text"] = f"{number}. {part['text']}"
            break
    else:
        parts.append({"type": "text", "text": f"{number}."})
    return [*earlier, {**last, "content": parts}]


def fixed_sampling(given: SamplingParams, generation_config: Mapping[str, Any]) -> SamplingParams:
    """As it will be used, always to the maximum, so that every run does the same work. Lengths that are not given stay
    None: each workload has its own."""
    lengths = {name: getattr(given, name) for name in _LENGTHS}
    return replace(given.resolved(generation_config), ignore_eos=True, **lengths)


def _with_lengths(sampling: SamplingParams, recipe: Recipe) -> SamplingParams:
    """With the workload's lengths for those that are None."""
    lengths = {name: getattr(recipe, name) for name in _LENGTHS if getattr(sampling, name) is None}
    return replace(sampling, ignore_eos=True, **lengths)


def text_of(tokens: int, count: Callable[[str], int]) -> str:
    """As many English words as fit into so many tokens, at least one."""
    low, high = 1, tokens
    while low < high:
        middle = (low + high + 1) // 2
        if count(_words(middle)) <= tokens:
            low = middle
        else:
            high = middle - 1
    return _words(low)


def _words(number: int) -> str:
    return " ".join(islice(cycle(_TEXT.split()), number))


def _media_parts(recipe: Recipe, media: MediaMaker) -> list[tuple[str, str, str]]:
    """(kind, path, description) of the recipe's synthetic media."""
    made = []
    try:
        if recipe.image_pixels is not None:
            made.append(("image", *media.image(*recipe.image_pixels)))
        if recipe.audio_seconds is not None:
            made.append(("audio", *media.audio(recipe.audio_seconds)))
        if recipe.video_seconds is not None:
            made.append(("video", *media.video(recipe.video_seconds, recipe.video_pixels, recipe.video_fps)))
    except OSError as error:
        raise OmniError(f"{recipe.origin}: its media cannot be written ({error})") from error
    return made


def _identified(conversation: list[dict[str, Any]], known: Mapping[str, str]) -> Any:
    """The conversation, with descriptions or digests of its media instead of their paths."""
    copy = json.loads(json.dumps(conversation))
    for kind, medium, part in media_parts(copy):
        items = medium if isinstance(medium, list) else [medium]
        part[next(key for key in part if part[key] is medium)] = [known.get(item) or _content(item) for item in items]
        part["type"] = kind
    return copy


def _content(medium: str) -> str:
    """A digest of a local file; the name of anything else."""
    found = hashlib.sha256()
    try:
        with Path(medium.removeprefix("file://")).open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    except (OSError, ValueError):  # a URL, data:, or a missing file, which the reader will name
        return medium
    return found.hexdigest()


def _described(conversation: list[dict[str, Any]]) -> list[str]:
    return [
        f"{kind} {Path(item).name}" if isinstance(item, str) and not item.startswith("data:") else kind
        for kind, medium, _ in media_parts(conversation)
        for item in (medium if isinstance(medium, list) else [medium])
    ]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
