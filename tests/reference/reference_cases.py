"""The conversations and checkpoints of the reference set: what record.py records and tests/test_parity.py compares."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ANSWERS = HERE / "answers"
FOLDERS = {
    "assets": HERE.parents[1] / "ms_omni" / "assets",
    "media": HERE / "media",
    "held_out": HERE.parent / "tiny" / "media",
}

Conversation = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One conversation on one checkpoint. Media are named `assets/...` or `media/...`; `located` makes them paths."""

    name: str
    conversation: Conversation
    checkpoint: str = "tiny"
    speak: bool = True
    speaker: str = "Ethan"
    use_audio_in_video: bool = False
    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    thinker_max_new_tokens: int = 8
    talker_max_new_tokens: int = 6
    thinker_repetition_penalty: float | None = None
    slow: bool = False

    @property
    def pixels(self) -> dict[str, int]:
        """The processor's limits that are set."""
        limits = {"min_pixels": self.min_pixels, "max_pixels": self.max_pixels}
        return {name: value for name, value in limits.items() if value is not None}

    def with_checkpoint_name(self) -> Case:
        """For a case whose checkpoint is a directory: the directory's name instead."""
        return replace(self, checkpoint=Path(self.checkpoint).name)

    def to_dict(self) -> dict[str, Any]:
        """For record.py --cases."""
        return asdict(self)


def located(conversation: Conversation) -> Conversation:
    """The same conversation with absolute paths for `assets/...` and `media/...`."""

    def path(value: Any) -> Any:
        folder, _, name = value.partition("/") if isinstance(value, str) else ("", "", "")
        return str(FOLDERS[folder] / name) if folder in FOLDERS else value

    def message(item: dict[str, Any]) -> dict[str, Any]:
        content = item["content"]
        if isinstance(content, list):
            content = [{key: path(value) for key, value in part.items()} for part in content]
        return {**item, "content": content}

    return [message(item) for item in conversation]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def media(kind: str, name: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, kind: name, **options}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def assistant(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [text(words)]}


def system(words: str) -> dict[str, Any]:
    return {"role": "system", "content": [text(words)]}


SHAPES = media("image", "assets/shapes.png")
QUESTION = media("audio", "assets/question.wav")
BALL = media("video", "assets/ball.mp4")
FRAME_PIXELS = {"min_pixels": 40_000, "max_pixels": 90_000}
ASK = text("What can you see and hear? Answer in one short sentence.")

CASES: list[Case] = [
    # Speech that outlasts its text: end of text, then padding, for ever.
    Case("text", [user(text("Hello, who are you?"))], thinker_max_new_tokens=4, talker_max_new_tokens=10),
    Case("text_plain_string", [{"role": "user", "content": "Tell me a story about a dog."}], speaker="Chelsie"),
    Case("system_prompt", [system("You answer in one word."), user(text("Is the house old?"))], speaker="Aiden"),
    Case("image", [user(SHAPES, text("What colour is the animal?"))]),
    Case(
        "images_of_many_sizes",
        [
            user(
                media("image", "media/wide.png"),
                text("and"),
                media("image", "media/tall_odd.png"),
                media("image", "media/small.jpg", min_pixels=20_000),
                media("image", "media/transparent.png", resized_height=100, resized_width=70),
                media("image", "media/grey.png", max_pixels=4_000),
                text("Which picture is the largest?"),
            )
        ],
    ),
    Case(
        "image_processor_pixels",
        [user(SHAPES, text("Look closely."))],
        min_pixels=64 * 64,
        max_pixels=128 * 128,
    ),
    Case("audio_half_second", [user(media("audio", "media/half_second.wav"), text("Listen."))]),
    Case("audio_one_second", [user(media("audio", "media/one_second.wav"))]),
    Case("audio_question", [user(QUESTION)]),
    Case("audio_twenty_seconds", [user(text("Listen to this."), media("audio", "media/twenty_seconds.flac"))]),
    Case(
        "audio_two_in_one_turn",
        [user(media("audio", "media/stereo_44k.flac"), text("then"), media("audio", "media/half_second.wav"), ASK)],
    ),
    Case(
        "audio_start_end",
        [user(media("audio", "media/twenty_seconds.flac", audio_start=2.5, audio_end=4.25), text("What word?"))],
    ),
    Case("video_silent", [user(media("video", "media/silent.mp4"), text("What is the animal doing?"))]),
    Case("video_sound_left_out", [user(media("video", "assets/ball.mp4", nframes=4), text("Where is the ball?"))]),
    Case("video_with_sound", [user(BALL, text("What do you hear?"))], use_audio_in_video=True),
    Case(
        "video_start_end_fps",
        [user(media("video", "assets/ball.mp4", video_start=0.5, video_end=2.5, fps=4.0, **FRAME_PIXELS))],
        use_audio_in_video=True,
        fps=4.0,
    ),
    Case("image_and_video", [user(SHAPES, media("video", "media/silent.mp4"), text("Which one is new?"))]),
    Case("image_audio_text", [user(SHAPES, QUESTION, ASK)]),
    Case(
        "everything",
        [system("You are a good listener."), user(SHAPES, QUESTION, BALL, media("image", "media/small.jpg"), ASK)],
        use_audio_in_video=True,
    ),
    Case(
        "several_turns",
        [
            system("Be quick."),
            user(media("image", "media/wide.png"), text("What is this?")),
            assistant("Three shapes and a line."),
            user(media("audio", "media/one_second.wav")),
            assistant("Good morning to you."),
            user(media("video", "media/silent.mp4"), text("And what is that?")),
        ],
    ),
    Case("no_speech", [user(SHAPES, QUESTION)], speak=False, thinker_max_new_tokens=24),
    Case("stops_by_itself", [user(text("Say one word."))], checkpoint="stops", talker_max_new_tokens=16),
    Case("text", [user(text("Think about it: where is the river?"))], checkpoint="no_talker", speak=False),
    Case("everything", [user(SHAPES, QUESTION, BALL, ASK)], checkpoint="no_talker", speak=False),
]

# The same few conversations on checkpoints of other sizes.
for _checkpoint in ("wide", "deep"):
    CASES += [
        Case("text", [user(text("How many people live in the city?"))], checkpoint=_checkpoint,
             thinker_max_new_tokens=5, talker_max_new_tokens=10),
        Case(
            "image_audio_video",
            [user(media("image", "media/tall_odd.png"), media("audio", "media/twenty_seconds.flac"),
                  media("video", "assets/ball.mp4"), ASK)],
            checkpoint=_checkpoint,
            speaker="Chelsie",
            slow=_checkpoint == "wide",
        ),
        Case(
            "video_with_sound",
            [user(media("video", "assets/ball.mp4", nframes=4), ASK)],
            checkpoint=_checkpoint,
            use_audio_in_video=True,
            speaker="Aiden",
        ),
    ]  # fmt: skip

CASES += [
    Case(
        "long_speech",
        [user(text("Tell me everything about the mountain and the river in summer."))],
        thinker_max_new_tokens=24,
        talker_max_new_tokens=320,
        slow=True,
    ),
]


def ids_hash(ids: Any) -> str:
    """Of token ids (a list or an array) as little-endian int64."""
    return hashlib.sha256(np.asarray(ids, "<i8").tobytes()).hexdigest()


# Lengths of random codes that Code2Wav alone turns into a wave: one frame past transformers' chunk of 300, and 70 s.
CODE2WAV_FRAMES = (301, 880)


def code2wav_codes(num_frames: int, codebook_size: int = 2048, num_groups: int = 16) -> np.ndarray:
    """Random codec frames: int32, (num_groups, num_frames)."""
    return np.random.default_rng(num_frames).integers(0, codebook_size, (num_groups, num_frames), dtype=np.int32)


def kept_samples(num_samples: int) -> np.ndarray:
    """Which samples of a wave are committed: all of a short one; of a long one the beginning, the end, those around
    every multiple of 25 frames (where decoders in chunks have their seams), and every 97th of the rest."""
    frame, near, limit = 1920, 40, 40 * 1920
    if num_samples <= limit:
        return np.arange(num_samples)
    position = np.arange(num_samples)
    # Seams lie at multiples of frames, or 555 samples earlier (what the transposed convolutions trim).
    distance = np.minimum(_to_multiple(position, 25 * frame), _to_multiple(position + 555, 25 * frame))
    return position[(distance <= near) | (position % 97 == 0) | (position > num_samples - frame)]


def _to_multiple(position: np.ndarray, step: int) -> np.ndarray:
    return np.minimum(position % step, -position % step)
