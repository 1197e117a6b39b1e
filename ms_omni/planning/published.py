"""Published figures for comparison with a plan: the memory table of Qwen3-Omni's README, and mindone's speed."""

from __future__ import annotations

from dataclasses import dataclass

from ms_omni.planning.hardware import find_hardware
from ms_omni.planning.memory import Planned, plan_memory
from ms_omni.planning.model import plan_config
from ms_omni.planning.workload import Workload

# mindone 0.5.0's example, Qwen3-Omni-30B-A3B-Instruct, bf16, 2 cards, ZeRO-3: tokens/s, of the Talker one a frame.
MINDONE_THINKER, MINDONE_TALKER = 0.73, 0.88

VIDEO_SECONDS = (15, 30, 60, 120)
# README of Qwen3-Omni, "Minimum GPU memory requirements": transformers, BF16, flash attention, "GB". Between 15 and
# 120 s the Thinking row grows by 0.60 a second from 59.7, and its weights are 63.4 GB = 59.1 GiB: these are GiB.
README_GIB = {
    "instruct": (78.85, 88.52, 107.74, 144.81),
    "thinking": (68.74, 77.79, 95.76, 131.65),
}


@dataclass(frozen=True)
class MemoryComparison:
    """One released model, bytes for each of VIDEO_SECONDS. weights: of all cards together, whole."""

    model: str
    weights: int
    published: tuple[float, ...]
    planned: tuple[float, ...]


def compare_memory() -> list[MemoryComparison]:
    """The README's table beside this engine's projection for one card of any size, bfloat16: weights, caches and
    activations for a video of 720p at 2 frames a second with its sound, 64 tokens of text, 1024 of answer; with speech
    of 4096 frames where there is a Talker."""
    rows = []
    for name, published in README_GIB.items():
        config = plan_config(name)
        planned = Planned(config, find_hardware("910b2"), "bfloat16", config.enable_audio_output)
        plans = [
            plan_memory(planned, Workload(video_seconds=s, use_audio_in_video=True), "none", 1) for s in VIDEO_SECONDS
        ]
        rows.append(
            MemoryComparison(
                model=name,
                weights=plans[0].weight_bytes,
                published=tuple(gib * 2**30 for gib in published),
                planned=tuple(plan.total - plan.reserved for plan in plans),
            )
        )
    return rows
