"""Pictures, sounds and videos for workloads: generated, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000
# Sound is generated a second at a time: half an hour need not fit into memory
_BLOCK_S = 1


class MediaMaker:
    """Writes media into `directory`, each once. Every method returns the path, and a description with all that decides
    the content."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    def image(self, width: int, height: int) -> tuple[str, str]:
        """PNG, RGB: coloured gradients with a disc."""
        path = self._directory / f"picture-{width}x{height}.png"
        if not path.exists():
            from PIL import Image

            Image.fromarray(_canvas(width, height)).save(path)
        return str(path), f"synthetic picture {width}x{height}"

    def audio(self, seconds: float) -> tuple[str, str]:
        """WAV, 16 kHz mono, 16 bit: a wandering tone in a little noise."""
        path = self._directory / f"sound-{seconds:g}s.wav"
        if not path.exists():
            import soundfile

            with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype="PCM_16") as file:
                for block in _sound(seconds):
                    file.write(block)
        return str(path), f"synthetic sound {seconds:g} s"

    def video(self, seconds: float, size: tuple[int, int], fps: int) -> tuple[str, str]:
        """MPEG-4 with AAC sound of the same length: the picture moves sideways."""
        width, height = size
        path = self._directory / f"video-{seconds:g}s-{width}x{height}-{fps}.mp4"
        if not path.exists():
            _write_video(path, seconds, width, height, fps)
        return str(path), f"synthetic video {seconds:g} s, {width}x{height}, {fps} frames/s, with sound"


def _canvas(width: int, height: int) -> np.ndarray:
    """uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    colours = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=-1)
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 3) ** 2
    colours[inside] = 255 - colours[inside]
    return colours.astype(np.uint8)


def _sound(seconds: float) -> Iterator[np.ndarray]:
    """float32 blocks (samples,)."""
    total = max(1, round(seconds * SAMPLE_RATE))
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE * _BLOCK_S) * 0.01
    for first in range(0, total, len(noise)):
        time = np.arange(first, min(first + len(noise), total)) / SAMPLE_RATE
        # 440 Hz, up and down by 200 Hz in 4 s: the phase is the integral of the frequency
        phase = 2 * np.pi * (440 * time - 200 * 4 / (2 * np.pi) * np.cos(2 * np.pi * time / 4))
        yield (0.3 * np.sin(phase) + noise[: len(time)]).astype(np.float32)


def _write_video(path: Path, seconds: float, width: int, height: int, fps: int) -> None:
    import av

    partial = path.with_suffix(".partial.mp4")
    canvas = _canvas(width, height)
    with av.open(str(partial), "w") as container:
        picture = container.add_stream("mpeg4", rate=fps)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        blocks, start = _sound(seconds), 0
        for index in range(max(2, round(seconds * fps))):
            if index % fps == 0 and (block := next(blocks, None)) is not None:
                frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
                start += len(block)
                container.mux(sound.encode(frame))
            # two pixels a frame
            moved = np.roll(canvas, 2 * index, axis=1)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    partial.rename(path)
