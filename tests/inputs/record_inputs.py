"""Records what qwen-omni-utils 0.0.9 and transformers 4.57.1 make of the conversations of input_cases.py.

Writes recorded_inputs.npz: for every case the media as read and the processor's tensors, each as its shape and a few
hundred of its values; and values of torch's bicubic antialiased resize and linspace. To record again, in the virtual
environment of tests/live/requirements.txt with the ffmpeg program beside:

    PYTHONPATH=. python tests/inputs/record_inputs.py
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "ms_omni" / "profiling" / "transformers_reference"))
os.environ["FORCE_QWENVL_VIDEO_READER"] = "decord"
import torch_patches  # noqa: E402

torch_patches.allow_torchvision_without_its_extension()
from input_cases import CASES, InputCase  # noqa: E402
from made_media import write_all  # noqa: E402
from qwen_omni_utils import process_mm_info  # noqa: E402
from recorded import LINSPACES, RESIZES, resize_sample, thinned  # noqa: E402
from transformers import Qwen3OmniMoeProcessor  # noqa: E402

from ms_omni.checkpoint.tiny_tokenizer import write_processor  # noqa: E402


def record(case: InputCase, checkpoint: Path, made: Path) -> dict[str, Any]:
    """Name -> array, all the case's media and tensors."""
    # use_fast=False: mindone has the Pillow image processor; torchvision's differs by rounding
    processor = Qwen3OmniMoeProcessor.from_pretrained(checkpoint, use_fast=False, **case.load)
    conversation = case.conversation(made)
    audios, images, videos, kwargs = process_mm_info(conversation, case.use_audio_in_video, return_video_kwargs=True)
    text = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    tensors = processor(
        text=text, audio=audios, images=images, videos=videos, return_tensors="pt", padding=True,
        use_audio_in_video=case.use_audio_in_video, **case.call,
    )  # fmt: skip
    arrays = {f"tensor.{key}": value.numpy() for key, value in tensors.items()}
    for kind, media in (("audio", audios), ("image", images), ("video", videos)):
        arrays.update({f"{kind}.{index}": np.asarray(medium) for index, medium in enumerate(media or [])})
    arrays["video_fps"] = np.asarray(kwargs["fps"], dtype=np.float64)
    return arrays


def main() -> None:
    recorded: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        made, checkpoint = write_all(Path(folder) / "made"), Path(folder) / "checkpoint"
        checkpoint.mkdir()
        write_processor(checkpoint)
        for case in CASES:
            for key, array in record(case, checkpoint, made).items():
                shape, values = thinned(array)
                recorded[f"{case.name}/{key}/shape"], recorded[f"{case.name}/{key}/values"] = shape, values
    for sizes in RESIZES:
        video = torch.from_numpy(resize_sample(sizes)).float()
        out = torch.nn.functional.interpolate(video, size=sizes[2:], mode="bicubic", antialias=True)
        recorded[f"resize/{sizes}"] = thinned(out.numpy())[1]
    for first, last, count in LINSPACES:
        recorded[f"linspace/{(first, last, count)}"] = torch.linspace(first, last, count).round().int().numpy()
    np.savez_compressed(HERE / "recorded_inputs.npz", **recorded)


if __name__ == "__main__":
    main()
