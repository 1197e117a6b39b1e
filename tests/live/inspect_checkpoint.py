"""Run by the reference Python: what transformers makes of a checkpoint directory, as one JSON line on stdout.

    python inspect_checkpoint.py DIRECTORY [--save DIRECTORY]

--save: writes model and processor again with transformers' own save_pretrained, in shards of at most 3 MB.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
import torch_patches

torch_patches.allow_torchvision_without_its_extension()
from transformers import AutoConfig, Qwen3OmniMoeForConditionalGeneration, Qwen3OmniMoeProcessor  # noqa: E402

CONVERSATION = [{"role": "user", "content": [{"type": "text", "text": "Hello, who are you?"}]}]


def greedy_answer(model, processor, has_talker: bool) -> dict:
    """Numbers that tell a usable random checkpoint: ids, distance of the two best logits, frames, loudness."""
    config = model.config
    text = processor.apply_chat_template(CONVERSATION, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=text, return_tensors="pt")
    gaps: list[float] = []
    model.thinker.lm_head.register_forward_hook(
        lambda module, args, logits: gaps.append(float(-logits[0, -1].topk(2).values.diff()))
    )
    options = {"thinker_do_sample": False, "thinker_eos_token_id": config.im_end_token_id}
    if has_talker:
        torch_patches.greedy_code_predictor(model)
        options |= {"talker_do_sample": False, "talker_max_new_tokens": 25}
    result, wave = model.generate(**inputs, thinker_max_new_tokens=32, return_audio=has_talker, **options)
    sequence = result.sequences if has_talker else result
    answer = {"token_ids": sequence[0, inputs["input_ids"].shape[1] :].tolist(), "smallest_gap": min(gaps)}
    if has_talker:
        samples = wave.reshape(-1).numpy()
        answer["wave"] = {
            "num_samples": samples.size,
            "std": float(samples.std()),
            "peak": float(np.abs(samples).max()),
        }
    return answer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--save")
    arguments = parser.parse_args()
    model, info = Qwen3OmniMoeForConditionalGeneration.from_pretrained(
        arguments.directory, dtype="auto", output_loading_info=True
    )
    processor = Qwen3OmniMoeProcessor.from_pretrained(arguments.directory)
    document = {
        "model_type": AutoConfig.from_pretrained(arguments.directory).model_type,
        "dtype": str(model.dtype),
        "loading": {key: sorted(map(str, value)) for key, value in info.items()},
        "has_talker": model.has_talker,
        "patch_size": [processor.image_processor.patch_size, processor.video_processor.patch_size],
        "mel_bins": processor.feature_extractor.feature_size,
    }
    if arguments.save:
        model.save_pretrained(arguments.save, max_shard_size="3MB")
        processor.save_pretrained(arguments.save)
    else:
        document["answer"] = greedy_answer(model.float().eval(), processor, model.has_talker)
    print(json.dumps(document))


if __name__ == "__main__":
    main()
