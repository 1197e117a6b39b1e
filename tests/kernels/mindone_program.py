"""Runs mindone's own Qwen3-Omni classes, imported before the CPU fills are installed, and prints what came out as JSON.

Usage: mindone_program.py DIR, with the config.json of a tiny checkpoint in DIR. The weights are mindone's random ones.
"""

import json
import sys

import mindspore as ms
import numpy as np
from mindone.transformers import Qwen3OmniMoeForConditionalGeneration
from transformers import Qwen3OmniMoeConfig

from ms_omni.kernels import setup_device

SHORT_AUDIO_FRAMES = 80  # under one second: mindone 0.5.0 cannot take more
SHORT_AUDIO_TOKENS = 10
IMAGE_GRID = (1, 4, 4)  # patches; the merge of 2x2 leaves 4 tokens


class Collector:
    """A streamer that keeps the numpy arrays that mindone gives it: the prompt, then every token."""

    def __init__(self):
        self.ids, self.ended = [], False

    def put(self, value):
        self.ids += np.ravel(value).tolist()

    def end(self):
        self.ended = True


def build(directory):
    config = Qwen3OmniMoeConfig.from_pretrained(directory)
    config._attn_implementation = "eager"
    ms.manual_seed(0)
    return Qwen3OmniMoeForConditionalGeneration(config).set_train(False)


def prompt(config, *content):
    """input_ids and attention_mask of one user turn and the opening of the answer."""
    start, end = config.im_start_token_id, config.im_end_token_id
    ids = [start, config.user_token_id, 5, *content, 6, 7, 8, 9, end, 5, start, config.assistant_token_id, 5]
    return {"input_ids": ms.Tensor([ids]), "attention_mask": ms.Tensor([[1] * len(ids)])}


def with_audio(config):
    thinker, draw = config.thinker_config, np.random.default_rng(0)
    mel = draw.standard_normal((1, thinker.audio_config.num_mel_bins, SHORT_AUDIO_FRAMES)).astype(np.float32)
    ids = [thinker.audio_start_token_id, *[thinker.audio_token_id] * SHORT_AUDIO_TOKENS, thinker.audio_end_token_id]
    mask = np.ones((1, SHORT_AUDIO_FRAMES), np.int64)
    return {**prompt(config, *ids), "input_features": ms.Tensor(mel), "feature_attention_mask": ms.Tensor(mask)}


def with_image(config):
    thinker, vision, draw = config.thinker_config, config.thinker_config.vision_config, np.random.default_rng(0)
    size = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    patches = draw.standard_normal((int(np.prod(IMAGE_GRID)), size)).astype(np.float32)
    num_tokens = int(np.prod(IMAGE_GRID)) // vision.spatial_merge_size**2
    ids = [thinker.vision_start_token_id, *[thinker.image_token_id] * num_tokens, thinker.vision_end_token_id]
    return {**prompt(config, *ids), "pixel_values": ms.Tensor(patches), "image_grid_thw": ms.Tensor([IMAGE_GRID])}


def new_tokens(model, inputs, **options):
    """What the Thinker alone appends."""
    out = model.thinker.generate(**inputs, max_new_tokens=6, eos_token_id=-1, pad_token_id=0, **options)
    return out.asnumpy()[0, inputs["input_ids"].shape[1] :].tolist()


def spoken(model, inputs, sample):
    """Text and speech of the whole model."""
    options = {"temperature": 0.8, "top_p": 0.9, "top_k": 20} if sample else {}
    _, wave = model.generate(
        **inputs,
        thinker_max_new_tokens=4,
        thinker_do_sample=sample,
        talker_max_new_tokens=4,
        talker_do_sample=sample,
        **{f"thinker_{name}": value for name, value in options.items()},
    )
    wave = wave.asnumpy()
    return {"num_samples": wave.size, "finite": bool(np.isfinite(wave).all())}


def main(directory):
    setup_device("CPU")
    model = build(directory)
    inputs = {"text": prompt(model.config), "audio": with_audio(model.config), "image": with_image(model.config)}
    result = {kind: new_tokens(model, given, do_sample=False) for kind, given in inputs.items()}
    streamer = Collector()
    sampling = {"do_sample": True, "top_p": 0.8, "top_k": 50, "temperature": 0.7, "repetition_penalty": 1.1}
    result["streamed"] = new_tokens(model, inputs["text"], streamer=streamer, **sampling)
    result["streamer"] = {"ids": streamer.ids[inputs["text"]["input_ids"].shape[1] :], "ended": streamer.ended}
    result["greedy_speech"] = spoken(model, inputs["audio"], sample=False)
    result["sampled_speech"] = spoken(model, inputs["image"], sample=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1])
