"""Whether a conversation has room in the model's positions, and how much memory a device has free."""

from __future__ import annotations

from pathlib import Path

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError

GIB = 1 << 30


def check_positions(prompt_tokens: int, sampling: SamplingParams, limit: int) -> None:
    """limit: max_position_embeddings of the Thinker, or fewer where the user allows fewer. Raises OmniError for a
    prompt, or a prompt and the most new tokens, beyond it."""
    if prompt_tokens > limit:
        raise OmniError(
            f"the prompt has {prompt_tokens} tokens, the model takes {limit} (max_position_embeddings, "
            "--max-model-len): shorten the text or the media, or lower --max-pixels or a video's fps"
        )
    new = sampling.thinker_max_new_tokens or 0
    if prompt_tokens + new > limit:
        raise OmniError(
            f"--thinker-max-new-tokens {new}: with a prompt of {prompt_tokens} tokens that is beyond the {limit} "
            "positions of the model (max_position_embeddings, --max-model-len); expected at most "
            f"{limit - prompt_tokens}"
        )


def free_device_bytes(device: str) -> int | None:
    """What can still be allocated on "CPU" or "Ascend", at most; None where the system does not say."""
    if device == "Ascend":
        return _free_on_card()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kib[0] * 1024 if kib else None


def _free_on_card() -> int | None:
    """Of what MindSpore's pool may take: HCCL and CANN have the rest of the card."""
    import mindspore as ms

    from ms_omni.runtime.card import limit_pool

    limit = limit_pool()
    return None if limit is None else limit - int(ms.runtime.memory_allocated())
