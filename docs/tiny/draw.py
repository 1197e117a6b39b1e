"""Pictures and videos as files, drawn with Pillow: what the model is tested on, not made as in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scenes import ANGLES, Scene, radius_table
from sounds import RATE, Clip

_OVERSAMPLING = 2


def draw(scene: Scene, share: float = 0.0, seed: int = 0) -> Image.Image:
    """The picture, or the frame at `share` (0 to 1) of the video's length."""
    s = _OVERSAMPLING
    top, bottom = (np.asarray(colour, np.float32) for colour in scene.ground)
    rows = (np.arange(scene.height * s) / (scene.height * s))[:, None, None]
    ground = np.broadcast_to(top * (1 - rows) + bottom * rows, (scene.height * s, scene.width * s, 3))
    picture = Image.fromarray(ground.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    if scene.floor:
        pen.rectangle((0, scene.floor[0] * scene.height * s, scene.width * s, scene.height * s), fill=scene.floor[1])
    table = radius_table()
    progress = scene.progress(share)
    for thing in scene.things:
        x, y = thing.at(progress)
        angles = np.arange(ANGLES) * 2 * np.pi / ANGLES
        radius = thing.r * table[thing.shape]
        points = np.stack([x + radius * np.cos(angles + thing.rot), y + radius * np.sin(angles + thing.rot)], 1) * s
        pen.polygon([tuple(point) for point in points], fill=thing.rgb)
    picture = picture.resize((scene.width, scene.height), Image.Resampling.LANCZOS)
    if scene.noise:
        noise = np.random.default_rng(seed).normal(0, scene.noise, (scene.height, scene.width, 1))
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    return picture


def write_picture(path: Path, scene: Scene) -> None:
    draw(scene).save(path)


def write_sound(path: Path, clip: Clip) -> None:
    import soundfile

    soundfile.write(path, clip.samples, RATE, subtype="PCM_16")


def write_video(path: Path, scene: Scene, clip: Clip | None = None, fps: int = 10) -> None:
    """mp4 (H.264, AAC); sides are made even, as the codec wants them."""
    import av

    width, height = scene.width // 2 * 2, scene.height // 2 * 2
    count = round(scene.seconds * fps)
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=fps)
        track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=RATE, layout="mono", bit_rate=64_000) if clip else None
        for index in range(count):
            picture = draw(scene, index / (count - 1), index).crop((0, 0, width, height))
            container.mux(track.encode(av.VideoFrame.from_image(picture)))
        container.mux(track.encode())
        if sound and clip:
            frame = av.AudioFrame.from_ndarray(clip.samples[None].astype(np.float32), format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
