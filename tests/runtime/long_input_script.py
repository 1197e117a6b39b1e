"""Answers one long input in a process of its own and prints, as JSON, its tokens and how far memory grew at most."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = {"audio": 2400, "video": 120}


def content(kind: str, engine: Any, directory: Path) -> dict[str, Any]:
    """A message part of the kind: 32,768 tokens of text, 40 minutes of sound, 120 s of video, 4 megapixels."""
    if kind == "text":
        few, many = (len(engine.processor.tokenizer("word " * count).input_ids) for count in (100, 1100))
        return {"type": "text", "text": "word " * -(-32768 * 1000 // (many - few))}
    if kind == "audio":
        sound = np.random.default_rng(0).standard_normal(16000 * SECONDS[kind], dtype=np.float32)
        return {"type": "audio", "audio": np.multiply(sound, 0.1, out=sound)}
    if kind == "image":
        from PIL import Image

        return {"type": "image", "image": Image.new("RGB", (2048, 2048), (90, 60, 200))}
    return {"type": "video", "video": str(write_video(directory / "long.mp4"))}


def write_video(path: Path) -> Path:
    """120 s of 640 x 352 at 4 frames a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 640, 352, "yuv420p"
        for index in range(SECONDS["video"] * 4):
            pixels = np.full((352, 640, 3), index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def answer(engine: Any, kind: str, directory: Path) -> dict[str, Any]:
    from ms_omni import SamplingParams

    message = {"role": "user", "content": [content(kind, engine, directory)]}
    before = peak_mib()
    out = engine.generate([message], return_audio=False, sampling=SamplingParams(thinker_max_new_tokens=2))
    return {"tokens": out.usage.prompt_tokens, "grown_mib": peak_mib() - before, "seconds": out.stats["total_s"]}


def speak(engine: Any, num_frames: int = 22_500) -> dict[str, Any]:
    """Code2Wav on 30 minutes of random codes, its pieces thrown away."""
    import mindspore as ms

    codes = np.random.default_rng(0).integers(0, 2048, (1, 16, num_frames)).astype(np.int32)
    before, samples = peak_mib(), 0
    for piece in engine.model.code2wav.chunks(ms.Tensor(codes)):
        samples += piece.asnumpy().size
    return {"samples": samples, "grown_mib": peak_mib() - before}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(kind: str, model: str, directory: str) -> None:
    from ms_omni import OmniEngine

    engine = OmniEngine.from_pretrained(model, engine="fused", device="CPU", with_talker=kind == "speech")
    result = speak(engine) if kind == "speech" else answer(engine, kind, Path(directory))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
