"""Draws, speaks and films the small media of the demo (ms_omni/assets) and of the references (tests/reference/media).

Needs the espeak-ng program (Debian: espeak-ng) and the package's own dependencies. The files it makes are committed, so
this is only run to change them; encoders differ between versions, so new files mean recording the answers again.

    python tests/reference/make_media.py
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr
from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
MEDIA = HERE / "media"
ASSETS = HERE.parents[1] / "ms_omni" / "assets"


def speak(sentence: str, rate: int, words_per_minute: int = 160) -> np.ndarray:
    """Mono speech of espeak-ng at `rate` Hz: float32, (num_samples,)."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", "en", "-s", str(words_per_minute), "-w", str(wav), sentence], check=True)
        samples, source_rate = sf.read(wav, dtype="float32")
    return soxr.resample(samples, source_rate, rate)


def fitted(samples: np.ndarray, num_samples: int) -> np.ndarray:
    """Cut, or padded with silence, to exactly `num_samples`."""
    return np.pad(samples[:num_samples], (0, max(0, num_samples - len(samples))))


def draw_shapes(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A red circle, a blue square and a yellow triangle on a light (RGBA: transparent) ground."""
    picture = Image.new(mode, (width, height), (255, 255, 255, 0) if mode == "RGBA" else (238, 240, 244))
    pen = ImageDraw.Draw(picture)
    w, h = width, height
    pen.ellipse((0.06 * w, 0.12 * h, 0.06 * w + 0.4 * h, 0.52 * h), fill=(214, 40, 40))
    pen.rectangle((0.45 * w, 0.15 * h, 0.45 * w + 0.36 * h, 0.51 * h), fill=(29, 78, 216))
    pen.polygon([(0.78 * w, 0.5 * h), (0.97 * w, 0.5 * h), (0.875 * w, 0.12 * h)], fill=(250, 204, 21))
    pen.rectangle((0, 0.7 * h, w, 0.78 * h), fill=(22, 163, 74))
    return picture


def draw_frame(width: int, height: int, progress: float) -> Image.Image:
    """One picture of the film: a red ball at `progress` (0 left, 1 right) above a green floor, with a growing bar."""
    frame = Image.new("RGB", (width, height), (20, 24, 40))
    pen = ImageDraw.Draw(frame)
    radius = 0.14 * height
    centre = radius + progress * (width - 2 * radius)
    pen.rectangle((0, 0.8 * height, width, height), fill=(34, 139, 34))
    pen.rectangle((0, 0.05 * height, progress * width, 0.12 * height), fill=(250, 204, 21))
    pen.ellipse((centre - radius, 0.52 * height, centre + radius, 0.52 * height + 2 * radius), fill=(220, 38, 38))
    return frame


def film(path: Path, seconds: float, fps: int, size: tuple[int, int], codec: str, sound: np.ndarray | None) -> None:
    """Write an mp4 of the rolling ball; `sound` is mono at 44.1 kHz, None leaves the sound track out."""
    rate = 44_100
    with av.open(str(path), "w") as container:
        picture_track = container.add_stream(codec, rate=fps)
        picture_track.width, picture_track.height = size
        picture_track.pix_fmt = "yuv420p"
        sound_track = None
        if sound is not None:
            sound_track = container.add_stream("aac", rate=rate, layout="mono", bit_rate=64_000)
        num_frames = round(seconds * fps)
        for index in range(num_frames):
            frame = av.VideoFrame.from_image(draw_frame(*size, index / (num_frames - 1)))
            container.mux(picture_track.encode(frame))
        container.mux(picture_track.encode())
        if sound_track is not None:
            samples = fitted(sound, round(seconds * rate))
            frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = rate
            container.mux(sound_track.encode(frame))
            container.mux(sound_track.encode())


def make_assets() -> None:
    """What the demo answers: a picture, a spoken question, a film with a speaking voice."""
    draw_shapes(320, 224).save(ASSETS / "shapes.png", optimize=True)
    question = speak("What do you see, and what can you hear?", 16_000)
    sf.write(ASSETS / "question.wav", question, 16_000, subtype="PCM_16")
    voice = speak("A red ball rolls from the left to the right.", 44_100)
    film(ASSETS / "ball.mp4", 3.2, 25, (160, 112), "libx264", voice)


def make_reference_media() -> None:
    """Odd sizes, modes, rates and lengths for the references."""
    draw_shapes(224, 160).save(MEDIA / "wide.png", optimize=True)
    draw_shapes(65, 131).save(MEDIA / "tall_odd.png", optimize=True)
    draw_shapes(97, 50).save(MEDIA / "small.jpg", quality=90)
    draw_shapes(120, 90, "RGBA").save(MEDIA / "transparent.png", optimize=True)
    draw_shapes(90, 90).convert("L").save(MEDIA / "grey.png", optimize=True)

    sf.write(MEDIA / "half_second.wav", fitted(speak("Yes.", 16_000)[800:], 8_000), 16_000, subtype="PCM_16")
    sf.write(MEDIA / "one_second.wav", fitted(speak("Good morning.", 16_000)[800:], 16_000), 16_000, subtype="PCM_16")
    left = fitted(speak("Stereo sound.", 44_100), 65_000)
    stereo = np.stack([left, 0.5 * np.roll(left, 441)], axis=-1)
    sf.write(MEDIA / "stereo_44k.flac", stereo, 44_100, subtype="PCM_16")
    text = (
        "This recording is twenty seconds long. It is longer than one attention window of the audio encoder, which "
        "sees eight seconds at a time. So it tells an encoder that keeps its windows apart from one that does not. "
        "Here are some numbers: one, two, three, five, eight, thirteen, twenty one, thirty four, fifty five."
    )
    long_speech = fitted(speak(text, 8_000, 150), 20 * 8_000)
    sf.write(MEDIA / "twenty_seconds.flac", long_speech, 8_000, subtype="PCM_16")

    film(MEDIA / "silent.mp4", 2.0, 12, (128, 96), "mpeg4", None)


if __name__ == "__main__":
    MEDIA.mkdir(exist_ok=True)
    ASSETS.mkdir(exist_ok=True)
    make_assets()
    make_reference_media()
