"""Records what transformers 4.57.1 answers (float32, greedy, torch on CPU): ids, codec frames, wave.

Without arguments: builds the checkpoints of reference_cases.py in a temporary directory and writes
answers/<checkpoint>/<case>.json and .npz for all its conversations. With --cases FILE: records the cases of a JSON list
(Case.to_dict, `checkpoint` being a directory) into --out; this is how the live tests use it.

To record again, in a virtual environment of its own (nothing in it is needed to run ms_omni):

    pip install -r tests/live/requirements.txt        # torch, transformers, qwen-omni-utils, decord ...; ffmpeg beside
    PYTHONPATH=. python tests/reference/record.py [--only PATTERN]

Media are read by qwen-omni-utils itself (video by decord, sound of videos by the ffmpeg program), so that the package's
own readers are part of what the answers test. torch_patches.py lists where transformers itself is corrected.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
import torch_patches
from margins import Margins
from reference_cases import ANSWERS, CASES, CODE2WAV_FRAMES, Case, code2wav_codes, ids_hash, kept_samples, located
from reference_checkpoints import build_checkpoint, fingerprint

os.environ["FORCE_QWENVL_VIDEO_READER"] = "decord"
torch_patches.allow_torchvision_without_its_extension()
from qwen_omni_utils import process_mm_info  # noqa: E402
from transformers import (  # noqa: E402
    AutoTokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3OmniMoeForConditionalGeneration,
    Qwen3OmniMoeProcessor,
    WhisperFeatureExtractor,
)

# Rounding differs by about 1e-6 between two correct implementations: a closer decision than this may fall either way.
LEAST_MARGIN = 1e-5


class Reference:
    """transformers' model of one checkpoint, patched and watched."""

    def __init__(self, directory: Path, dtype: torch.dtype = torch.float32) -> None:
        self.directory = directory
        model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(
            directory, dtype=dtype, attn_implementation="eager"
        )
        self.model = torch_patches.patch(model.eval())
        self.margins = Margins(self.model)

    def processor(self, **pixels: int) -> Qwen3OmniMoeProcessor:
        """As Qwen3OmniMoeProcessor.from_pretrained, with Pillow's image processor: the torchvision one, which
        transformers takes by default, differs from the original by rounding."""
        parts = (Qwen2VLImageProcessor, Qwen2VLVideoProcessor, WhisperFeatureExtractor)
        image, video, audio = (part.from_pretrained(self.directory, **pixels) for part in parts)
        tokenizer = AutoTokenizer.from_pretrained(self.directory)
        template = Qwen3OmniMoeProcessor.from_pretrained(self.directory).chat_template
        return Qwen3OmniMoeProcessor(image, video, audio, tokenizer, chat_template=template)

    def inputs(self, case: Case) -> Any:
        """Tensors as in the model card: chat template, process_mm_info, processor."""
        processor = self.processor(**case.pixels)
        conversation = located(case.conversation)
        text = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
        audios, images, videos = process_mm_info(conversation, use_audio_in_video=case.use_audio_in_video)
        options = {} if case.fps is None else {"fps": case.fps}
        return processor(
            text=text, audio=audios, images=images, videos=videos, return_tensors="pt", padding=True,
            use_audio_in_video=case.use_audio_in_video, **options,
        )  # fmt: skip

    def answer(self, case: Case) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What goes into the case's .json and .npz."""
        inputs = self.inputs(case)
        config = self.model.config
        self.margins.reset()
        penalty = case.thinker_repetition_penalty
        options = {} if penalty is None else {"thinker_repetition_penalty": penalty}
        _, wave = self.model.generate(
            **inputs,
            use_audio_in_video=case.use_audio_in_video,
            return_audio=case.speak,
            thinker_max_new_tokens=case.thinker_max_new_tokens,
            thinker_eos_token_id=config.im_end_token_id,
            thinker_do_sample=False,
            **options,
            **self._talker_options(case),
        )
        prompt = inputs["input_ids"][0].tolist()
        token_ids = self.margins.results["thinker"].sequences[0, len(prompt) :].tolist()
        thinker = config.thinker_config
        answer = {
            "case": case.name,
            "prompt_tokens": len(prompt),
            "prompt_sha256": ids_hash(prompt),
            "image_tokens": prompt.count(thinker.image_token_id),
            "audio_tokens": prompt.count(thinker.audio_token_id),
            "video_tokens": prompt.count(thinker.video_token_id),
            "token_ids": token_ids,
            "finish_reason": "stop" if token_ids[-1] == config.im_end_token_id else "length",
        }
        arrays = {}
        if case.speak:
            arrays = self._speech(wave)
            last = int(self.margins.results["talker"].sequences[0, -1])
            answer["talker_finish_reason"] = "stop" if last == config.talker_config.codec_eos_token_id else "length"
            answer["num_frames"] = int(arrays["codes"].shape[-1])
            answer["num_samples"] = int(arrays["wave"].shape[-1])
        answer["smallest_margins"] = {stage: float(f"{gap:.3g}") for stage, gap in self.margins.smallest.items()}
        return answer, arrays

    def _talker_options(self, case: Case) -> dict[str, Any]:
        if not case.speak:
            return {}
        return {
            "speaker": case.speaker,
            "talker_max_new_tokens": case.talker_max_new_tokens,
            "talker_do_sample": False,
        }

    def _speech(self, wave: torch.Tensor) -> dict[str, np.ndarray]:
        """Codec frames int32 (num_code_groups, num_frames) and the wave float32 (num_samples,). As transformers does,
        the last token of the Talker makes no frame: its residual codes are never predicted."""
        frames = [hidden[-1][0] for hidden in self.margins.results["talker"].hidden_states if hidden[-1] is not None]
        codes = torch.stack(frames, dim=-1)
        return {"codes": codes.numpy().astype(np.int32), "wave": wave.reshape(-1).numpy().astype(np.float32)}

    def decoded(self, codes: np.ndarray) -> np.ndarray:
        """The wave of codec frames (num_code_groups, num_frames) in a single shot: float32, (num_samples,)."""
        with torch.no_grad():
            return self.model.code2wav(torch.from_numpy(codes).long()[None]).reshape(-1).numpy()


def kept(wave: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
    """What is stored of a wave: the samples that the tests compare, and how many there are in all."""
    return {"wave": wave[kept_samples(len(wave))], "num_samples": np.array(len(wave)), **others}


def record_code2wav(directory: Path, out: Path) -> None:
    """Waves of long random codes, which no short conversation reaches."""
    reference = Reference(directory)
    for num_frames in CODE2WAV_FRAMES:
        wave = reference.decoded(code2wav_codes(num_frames))
        np.savez_compressed(out / f"code2wav_{num_frames}.npz", **kept(wave))
        print("code2wav", num_frames, len(wave), float(np.abs(wave).max()), flush=True)


def record_fingerprint(directory: Path, folder: Path) -> None:
    """So that the tests notice a checkpoint that is no longer rebuilt as it was."""
    (folder / "weights.json").write_text(json.dumps({"fingerprint": fingerprint(directory)}) + "\n", encoding="utf-8")


def record(cases: list[Case], directories: dict[str, Path], out: Path) -> None:
    """Answer the cases, checkpoint by checkpoint, into out/<checkpoint>/<case>.json (and .npz when spoken)."""
    for checkpoint in dict.fromkeys(case.checkpoint for case in cases):
        reference = Reference(directories[checkpoint])
        folder = out / checkpoint
        folder.mkdir(parents=True, exist_ok=True)
        for case in (case for case in cases if case.checkpoint == checkpoint):
            answer, arrays = reference.answer(case)
            (folder / f"{case.name}.json").write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")
            if arrays:
                np.savez_compressed(folder / f"{case.name}.npz", **kept(**arrays))
            print(checkpoint, case.name, answer["prompt_tokens"], answer["finish_reason"], answer.get("num_frames"),
                  answer["smallest_margins"], flush=True)  # fmt: skip
            if min(answer["smallest_margins"].values()) < LEAST_MARGIN:
                print(f"  too close to call: choose another prompt, size or seed (margin below {LEAST_MARGIN:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="names of the cases to record, with wildcards")
    parser.add_argument("--cases", type=Path, help="JSON list of cases whose checkpoint is a directory")
    parser.add_argument("--out", type=Path, default=ANSWERS)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as scratch:
        if args.cases:
            cases = [Case(**item) for item in json.loads(args.cases.read_text(encoding="utf-8"))]
            directories = {case.checkpoint: Path(case.checkpoint) for case in cases}
            cases = [case.with_checkpoint_name() for case in cases]
            directories = {path.name: path for path in directories.values()}
        else:
            cases = [case for case in CASES if fnmatch.fnmatch(case.name, args.only)]
            names = {case.checkpoint for case in cases}
            directories = {name: build_checkpoint(name, Path(scratch) / name) for name in sorted(names)}
        record(cases, directories, args.out)
        if args.cases:
            return
        for name, directory in directories.items():
            record_fingerprint(directory, args.out / name)
        if args.only == "*":
            record_code2wav(directories["tiny"], args.out / "tiny")


if __name__ == "__main__":
    main()
