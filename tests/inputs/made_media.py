"""Media for the input tests, lossless, so that every machine makes the same pixels and samples."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "ms_omni" / "assets"
REFERENCE_MEDIA = ROOT / "tests" / "reference" / "media"
OWN_MEDIA = Path(__file__).parent / "media"


def pixels(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """uint8 (height, width, channels): gradients with rows of noise."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 3 + y * (k + 1 + seed) for k in range(channels)], axis=-1).astype(np.uint8)
    image[::7] = np.random.default_rng(seed).integers(0, 256, image[::7].shape)
    return image


def tone(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    """float32 (samples, channels): a rising tone with a little noise, so that no mel band is empty."""
    time = np.arange(int(rate * seconds)) / rate
    noise = np.random.default_rng(rate).standard_normal((len(time), channels)) * 0.01
    wave = np.stack([0.4 * np.sin(2 * np.pi * (300 + 200 * k + 400 * time) * time) for k in range(channels)], axis=1)
    return (wave + noise).astype(np.float32)


def write_clip(path: Path, frames: np.ndarray, fps: int, sound_rate: int | None = None, codec: str = "ffv1") -> Path:
    """Frames uint8 (T, H, W, 3) as lossless video, with two channels of 16-bit sound as long when a rate is given."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=fps)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=sound_rate, layout="stereo") if sound_rate else None
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound_rate is not None:
            samples = (tone(sound_rate, len(frames) / fps, 2) * 32767).astype(np.int16)
            block = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
            block.sample_rate, block.pts, block.time_base = sound_rate, 0, Fraction(1, sound_rate)
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def write_all(directory: Path) -> Path:
    """Everything that input_cases.py names as {made}/..."""
    import soundfile

    directory.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(123, 211, 3)).save(directory / "rgb.png")
    Image.fromarray(pixels(123, 211, 4), "RGBA").save(directory / "rgba.png")
    Image.fromarray(pixels(64, 90, 2), "LA").save(directory / "la.png")
    Image.fromarray(pixels(90, 120, 1)[..., 0]).quantize(32).save(directory / "palette.png", transparency=3)
    Image.fromarray(pixels(64, 80, 1)[..., 0].astype(np.uint16) * 257).save(directory / "deep.png")
    Image.fromarray(pixels(64, 80, 4), "CMYK").save(directory / "cmyk.tiff")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels(60, 100, 3)).save(directory / "turned.png", exif=turned)
    soundfile.write(directory / "stereo.wav", tone(44100, 1.7, 2), 44100, subtype="PCM_16")
    soundfile.write(directory / "slow.wav", tone(8000, 0.9), 8000, subtype="FLOAT")
    soundfile.write(directory / "six.flac", tone(48000, 0.5, 6), 48000, subtype="PCM_24")
    frames = np.stack([pixels(90, 130, 3, seed) for seed in range(24)])
    write_clip(directory / "clip.mkv", frames, 8, 22050)
    write_clip(directory / "mute.mkv", frames[:11, :60, :80], 5)
    return directory
