"""Answers held-out conversations (held_out.py) with transformers or ms_omni and counts what is right.

python docs/tiny/score.py FOLDER --model DIR --through transformers|ms_omni --out FILE.json [--speak N] [--quantize Q]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SPEAKERS = ("chelsie", "ethan")
Answer = tuple[str, np.ndarray | None]
Ask = Callable[[list[dict[str, Any]], bool, str | None], Answer]


def through_transformers(model_dir: Path) -> Ask:
    """transformers 4.57.1 on torch, float32, greedy, with the patches of transformers_reference/torch_patches.py."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
    import torch_patches

    torch_patches.allow_torchvision_without_its_extension()
    import torch
    from qwen_omni_utils import process_mm_info
    from transformers import Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor

    torch.set_num_threads(1)
    loaded = Qwen3OmniMoeForConditionalGeneration.from_pretrained(model_dir, dtype=torch.float32)
    model = torch_patches.patch(loaded.eval())
    processor = Qwen3OmniMoeProcessor.from_pretrained(model_dir, use_fast=False)
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def ask(conversation: list[dict[str, Any]], audio_in_video: bool, speaker: str | None) -> Answer:
        text = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        audios, images, videos = process_mm_info(conversation, use_audio_in_video=audio_in_video)
        inputs = processor(
            text=text, audio=audios, images=images, videos=videos, return_tensors="pt", padding=True,
            use_audio_in_video=audio_in_video,
        )  # fmt: skip
        result, wave = model.generate(
            **inputs, use_audio_in_video=audio_in_video, return_audio=speaker is not None, speaker=speaker or "ethan",
            thinker_max_new_tokens=96, thinker_eos_token_id=end, thinker_do_sample=False, talker_do_sample=False,
            talker_repetition_penalty=1.0, talker_max_new_tokens=300,
        )  # fmt: skip
        ids = getattr(result, "sequences", result)[0, inputs["input_ids"].shape[1] :]
        answer = processor.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return answer, None if wave is None else wave.flatten().numpy()

    return ask


def through_ms_omni(model_dir: Path, quantize: str = "auto") -> Ask:
    """ms_omni, float32, greedy. quantize: of EngineConfig."""
    from ms_omni import OmniEngine, SamplingParams

    engine = OmniEngine.from_pretrained(str(model_dir), quantize=quantize)
    sampling = SamplingParams(
        thinker_temperature=0, thinker_max_new_tokens=96, talker_temperature=0, talker_repetition_penalty=1.0,
        talker_max_new_tokens=300,
    )  # fmt: skip

    def ask(conversation: list[dict[str, Any]], audio_in_video: bool, speaker: str | None) -> Answer:
        out = engine.generate(
            conversation, return_audio=speaker is not None, speaker=speaker, use_audio_in_video=audio_in_video,
            sampling=sampling,
        )  # fmt: skip
        return out.text, out.audio.samples if out.audio else None

    return ask


def with_paths(conversation: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The conversation with the media's paths made whole."""
    kinds = ("image", "audio", "video")
    return [
        {
            "role": message["role"],
            "content": [
                {key: str(folder / value) if key in kinds else value for key, value in part.items()}
                for part in message["content"]
            ],
        }
        for message in conversation
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--through", choices=("transformers", "ms_omni"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quantize", default="auto", help="of ms_omni: none, int8, int8-dynamic")
    parser.add_argument("--speak", type=int, default=0, help="speak every n-th answer into wav files beside FILE.json")
    options = parser.parse_args()
    is_ours = options.through == "ms_omni"
    ask = through_ms_omni(options.model, options.quantize) if is_ours else through_transformers(options.model)
    manifest = json.loads((options.folder / "manifest.json").read_text())
    answers, right = [], {}
    for number, item in enumerate(manifest):
        speaker = SPEAKERS[number // options.speak % 2] if options.speak and number % options.speak == 0 else None
        answer, wave = ask(with_paths(item["conversation"], options.folder), item["use_audio_in_video"], speaker)
        if wave is not None:
            import soundfile

            soundfile.write(options.out.with_suffix(f".{number}.wav"), wave, 24_000)
        answers.append(answer)
        right.setdefault(item["skill"], []).append(answer == item["answer"])
        if answer != item["answer"]:
            asked = item["conversation"][-1]["content"][-1].get("text", "(spoken)")
            print(f"{item['skill']} {number}: {asked} | {answer} | expected: {item['answer']}", flush=True)
    scores = {skill: sum(values) / len(values) for skill, values in right.items()}
    options.out.write_text(json.dumps({"through": options.through, "scores": scores, "answers": answers}, indent=1))
    for skill, score in scores.items():
        print(f"{skill:20s} {score:.3f} of {len(right[skill])}")


if __name__ == "__main__":
    main()
