"""Whether a conversation has room, in the model's positions and in memory for keys and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError

GIB = 1 << 30


def check_positions(prompt_tokens: int, sampling: SamplingParams, limit: int) -> None:
    """limit: max_position_embeddings of the Thinker. Raises OmniError for a prompt, or a prompt and the most new
    tokens, beyond it."""
    if prompt_tokens > limit:
        raise OmniError(
            f"the prompt has {prompt_tokens} tokens, the model takes {limit} (max_position_embeddings): shorten "
            "the text or the media, or lower --max-pixels or a video's fps"
        )
    new = sampling.thinker_max_new_tokens or 0
    if prompt_tokens + new > limit:
        raise OmniError(
            f"--thinker-max-new-tokens {new}: with a prompt of {prompt_tokens} tokens that is beyond the {limit} "
            f"positions of the model (max_position_embeddings); expected at most {limit - prompt_tokens}"
        )


def check_memory(
    config: Any, prompt_tokens: int, sampling: SamplingParams, item_bytes: int, free_bytes: int | None, speak: bool
) -> None:
    """config: transformers' Qwen3OmniMoeConfig. item_bytes: of a cached value. free_bytes: of the device, None if it
    cannot be told. Raises OmniError for caches that would not fit when the answer is as long as it may be."""
    if free_bytes is None:
        return
    stages = [("thinker", config.thinker_config.text_config)]
    if speak:
        stages.append(("talker", config.talker_config.text_config))
    for stage, decoder in stages:
        new = getattr(sampling, f"{stage}_max_new_tokens") or 0
        needed = cache_bytes(decoder, prompt_tokens + new, item_bytes)
        if needed > free_bytes:
            raise OmniError(
                f"--{stage}-max-new-tokens {new}: with a prompt of {prompt_tokens} tokens the {stage.title()}'s keys "
                f"and values take {needed} bytes ({needed / GIB:.1f} GiB), {free_bytes} bytes "
                f"({free_bytes / GIB:.1f} GiB) of the device are free; lower it, or shorten the conversation"
            )
        free_bytes -= needed


def cache_bytes(decoder: Any, tokens: int, item_bytes: int) -> int:
    """Of a cache with room for so many tokens: capacities are powers of two. decoder: a text_config."""
    capacity = 1 << max(0, tokens - 1).bit_length()
    head_dim = getattr(decoder, "head_dim", None) or decoder.hidden_size // decoder.num_attention_heads
    return 2 * decoder.num_hidden_layers * decoder.num_key_value_heads * head_dim * capacity * item_bytes


def free_device_bytes(device: str) -> int | None:
    """What can still be allocated on "CPU" or "Ascend"; None where the system does not say."""
    if device == "Ascend":
        import mindspore as ms

        return int(ms.hal.get_device_properties(0).free_memory)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kib[0] * 1024 if kib else None
