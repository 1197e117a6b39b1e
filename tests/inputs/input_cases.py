"""Conversations whose prepared inputs were recorded from qwen-omni-utils, librosa and transformers with torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from made_media import ASSETS, OWN_MEDIA, REFERENCE_MEDIA

_PLACES = {"made": None, "assets": ASSETS, "media": REFERENCE_MEDIA, "own": OWN_MEDIA}


@dataclass(frozen=True)
class InputCase:
    """parts: one user turn, paths as "place/name". call: keywords of the processor. load: of from_pretrained."""

    name: str
    parts: list[dict[str, Any]]
    use_audio_in_video: bool = False
    call: dict[str, Any] = field(default_factory=dict)
    load: dict[str, int] = field(default_factory=dict)

    def conversation(self, made: Path) -> list[dict[str, Any]]:
        """With real paths; `made` is where made_media.write_all wrote."""
        parts = [{key: _located(value, made) for key, value in part.items()} for part in self.parts]
        return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]


def _located(value: Any, made: Path) -> Any:
    if isinstance(value, list):
        return [_located(item, made) for item in value]
    place, _, name = value.partition("/") if isinstance(value, str) else ("", "", "")
    if place not in _PLACES:
        return value
    return str((_PLACES[place] or made) / name)


def _image(path: str, **options: Any) -> dict[str, Any]:
    return {"type": "image", "image": path, **options}


def _audio(path: str, **options: Any) -> dict[str, Any]:
    return {"type": "audio", "audio": path, **options}


def _video(path: Any, **options: Any) -> dict[str, Any]:
    return {"type": "video", "video": path, **options}


_BALL, _CLIP, _RGB = "assets/ball.mp4", "made/clip.mkv", "made/rgb.png"
_FRAMES = [_RGB, "made/rgba.png", _RGB]
_IMAGE_FILES = ("rgba.png", "la.png", "palette.png", "deep.png", "cmyk.tiff", "turned.png")

CASES = [
    InputCase("image_modes", [_image(f"made/{name}") for name in _IMAGE_FILES]),
    InputCase("image_pixels", [_image(_RGB, min_pixels=200 * 200, max_pixels=90000), _image(_RGB, max_pixels=64 * 64)]),
    InputCase("image_resized", [_image("media/small.jpg", resized_height=120, resized_width=333)]),
    InputCase("image_url_key", [{"type": "image", "image_url": "assets/shapes.png"}]),
    InputCase(
        "image_load_pixels", [_image(_RGB), _video("made/mute.mkv")], load={"min_pixels": 400, "max_pixels": 9999}
    ),
    InputCase("audio_stereo", [_audio("made/stereo.wav")]),
    InputCase("audio_upsampled", [_audio("made/slow.wav")]),
    InputCase("audio_six_channels", [_audio("made/six.flac")]),
    InputCase("audio_cut", [_audio("made/stereo.wav", audio_start=0.3333, audio_end=1.2877)]),
    InputCase("audio_from", [_audio("media/stereo_44k.flac", audio_start=0.51)]),
    InputCase("audio_several", [_audio("made/slow.wav"), _audio("assets/question.wav"), _audio("made/stereo.wav")]),
    InputCase("audio_of_video_file", [_audio(_CLIP, audio_start=0.21, audio_end=1.3)]),
    InputCase("video", [_video(_BALL)]),
    InputCase("video_sound", [_video(_BALL)], use_audio_in_video=True),
    InputCase("video_range", [_video(_CLIP, video_start=0.55, video_end=2.21)], use_audio_in_video=True),
    InputCase("video_nframes", [_video(_CLIP, nframes=7)]),
    InputCase("video_fps", [_video(_CLIP, fps=4.5, max_frames=9)]),
    InputCase("video_min_frames", [_video(_CLIP, fps=0.5, min_frames=7)]),
    InputCase("video_pixels", [_video(_CLIP, min_pixels=2500, max_pixels=14400)]),
    InputCase("video_total_pixels", [_video(_BALL, total_pixels=200000, min_pixels=50000)]),
    InputCase("video_resized", [_video(_CLIP, resized_height=100, resized_width=170)]),
    InputCase("video_upright", [_video("own/sideways.mp4")]),
    InputCase("video_silent", [_video("media/silent.mp4")]),
    InputCase("videos_of_many_shapes", [_video(_CLIP, fps=1), _video("made/mute.mkv"), _video(_CLIP, nframes=6)]),
    InputCase("frames", [_video(_FRAMES)]),
    InputCase(
        "frames_options",
        [_video(_FRAMES, sample_fps=3, raw_fps=30, min_pixels=50000, max_pixels=90000)],
    ),
    InputCase(
        "everything",
        [_image(_RGB), _audio("made/slow.wav"), _video(_CLIP), _audio("made/stereo.wav"), _image("media/small.jpg")],
        use_audio_in_video=True,
        call={"fps": 3.0},
    ),
]
