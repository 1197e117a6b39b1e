"""What a plan assumes of the hardware, each figure with its source. Nothing here was measured on an Ascend card."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace

from ms_omni.errors import OmniError
from ms_omni.hardware.memory import meminfo_bytes

GB = 1e9
MIB = 1 << 20

ASCEND, CPU = "Ascend", "CPU"
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Hardware:
    """One card (a die of an A3; a process on a CPU), in bytes, seconds and bytes a second.

    efficiency: share of `bandwidth` that reading weights reaches. launch_s: one operator in a compiled graph; call_s: a
    graph call and reading its result. replay_s: a call that replays captured launches; replayed_s: each operator of it,
    on the card. eager_launch_s, eager_collective_s: from Python, as mindone's generate does.
    gather: AllGather's rate by card count, for that many cards and more. reserved_bytes: what a process takes besides
    the model, speech_bytes: and for graphs that speak. sources: where the figures come from, one line each."""

    name: str
    title: str
    device: str
    memory_bytes: float
    bandwidth: float
    gather: dict[int, float]
    efficiency: float
    launch_s: float
    call_s: float
    replay_s: float
    replayed_s: float
    collective_s: float
    eager_launch_s: float
    eager_collective_s: float
    usable: float
    reserved_bytes: float
    speech_bytes: float
    collective_bytes: float
    sources: tuple[str, ...] = field(repr=False)

    @property
    def default_dtype(self) -> str:
        """What `auto` means."""
        return "float32" if self.device == CPU else "bfloat16"

    def memory_per_card(self, cards: int) -> float:
        """Bytes that one of `cards` may use: processes on a CPU share its memory."""
        return self.usable * self.memory_bytes / (cards if self.device == CPU else 1)

    def shared_by(self, replicas: int) -> Hardware:
        """What each of `replicas` groups has: processes on a CPU share its memory and its bandwidth."""
        if self.device != CPU or replicas == 1:
            return self
        return replace(self, memory_bytes=self.memory_bytes / replicas, bandwidth=self.bandwidth / replicas)

    def gather_rate(self, cards: int) -> float:
        """AllGather's bytes a second on so many cards."""
        return self.gather[max(n for n in self.gather if n <= max(cards, min(self.gather)))]


_ASCEND_SOURCES = (
    "memory size and bandwidth: Huawei's documentation; 60 % of the bandwidth reached: assumed",
    "AllGather 38, 64, 149 GB/s on 2, 4, 8 cards: measured elsewhere on A2 servers; taken for A3 as well",
    "25 us a launch in a graph: assumed; 29 tokens/s of vllm-ascend with Qwen3-30B-A3B on 2 x 910B2 leave about 30 us",
    "50 us a replay of captured launches: an example of vLLM-MindSpore's documents; 5 us an operator of it: assumed",
    "50 us a collective in a graph, 100 us a synchronisation, 100 us a collective from Python: assumed",
    "120 us a launch from Python: assumed; with it mindone's published 0.73 tokens/s and 0.88 frames/s come out",
    "90 % of the memory usable, 2 GB for CANN and MindSpore: assumed; two HCCL buffers of 200 MB: HCCL_BUFFSIZE",
)
_CPU_SOURCES = (
    "weights read at 20 GB/s, 5 us a launch, 300 us a graph call, AllGather 45 MB/s, 4 ms a small collective: "
    "measured on 2 x86-64 cores",
    "memory: of this machine, shared by all processes; 250 MiB a process with a compiled Thinker graph, 75 MiB for a "
    "Talker graph: measured",
)


def _ascend(name: str, title: str, memory_gb: float, bandwidth_tb: float) -> Hardware:
    return Hardware(
        name=name,
        title=title,
        device=ASCEND,
        memory_bytes=memory_gb * GB,
        bandwidth=bandwidth_tb * 1e12,
        gather={2: 38 * GB, 4: 64 * GB, 8: 149 * GB},
        efficiency=0.6,
        launch_s=25e-6,
        call_s=100e-6,
        replay_s=50e-6,
        replayed_s=5e-6,
        collective_s=50e-6,
        eager_launch_s=120e-6,
        eager_collective_s=100e-6,
        usable=0.9,
        reserved_bytes=2 * GB,
        speech_bytes=0,
        collective_bytes=400e6,
        sources=_ASCEND_SOURCES,
    )


def _cpu() -> Hardware:
    return Hardware(
        name="cpu",
        title="this machine's CPU",
        device=CPU,
        memory_bytes=meminfo_bytes("MemTotal") or 8 * GB,
        bandwidth=20 * GB,
        gather={2: 0.045 * GB},
        efficiency=1.0,
        launch_s=5e-6,
        call_s=300e-6,
        replay_s=0.0,  # a CPU has none
        replayed_s=0.0,
        collective_s=4e-3,
        eager_launch_s=100e-6,
        eager_collective_s=4e-3,
        usable=0.9,
        reserved_bytes=250 * MIB,
        speech_bytes=35 * MIB,
        collective_bytes=0,
        sources=_CPU_SOURCES,
    )


_ASCEND = {
    "910b1": ("Atlas A2, 910B1", 64, 1.6),
    "910b2": ("Atlas A2, 910B2", 64, 1.6),
    "910b3": ("Atlas A2, 910B3", 64, 1.6),
    "910b4": ("Atlas A2, 910B4", 32, 0.8),
    "910b4-1": ("Atlas A2, 910B4-1", 64, 0.8),
    "a3": ("Atlas A3, one die of a 910C", 64, 1.6),
}
NAMES = (*_ASCEND, "cpu")
# Names that CANN gives cards for what the table calls otherwise: variants with other cores or links, dies of an A3.
_SAME_AS = ((re.compile(r"910_93[0-9a-z]*|910c"), "a3"), (re.compile(r"910b2c"), "910b2"))
# What an unknown card is taken for, except for its memory: the slowest.
_UNKNOWN = "910b4"
# 64 GB are 64e9 bytes in the table and 64 GiB on a card, less what the system keeps.
_SAME_MEMORY = 0.15


def find_hardware(name: str) -> Hardware:
    """By name in any case, also as CANN writes it: Ascend910B2C, Ascend910_9392. Raises OmniError naming those that are
    known."""
    key = _key(name)
    if key == "cpu":
        return _cpu()
    if key not in _ASCEND:
        close = difflib.get_close_matches(key, NAMES, n=1)
        guess = f", did you mean {close[0]}?" if close else ""
        raise OmniError(f"--hardware {name}: not known{guess}; expected one of {', '.join(NAMES)}")
    return _ascend(key, *_ASCEND[key])


def measured_hardware(name: str, memory_bytes: int) -> tuple[Hardware, str]:
    """The card that CANN calls `name`, with the memory that it reports (0: it reports none), and a note of what had to
    be assumed; "" where everything is known."""
    try:
        known, note = find_hardware(name), ""
    except OmniError:
        if memory_bytes == 0:
            raise
        known = replace(find_hardware(_UNKNOWN), name=name, title=f"a card called {name}")
        note = f"{name}: not a known card; its memory is as measured, everything else that of a {_UNKNOWN.upper()}"
    if memory_bytes and abs(memory_bytes / known.memory_bytes - 1) > _SAME_MEMORY:
        note = note or f"{name}: {memory_bytes / GB:.1f} GB as measured, usual are {known.memory_bytes / GB:.0f} GB"
        known = replace(known, memory_bytes=float(memory_bytes))
    return (replace(known, sources=(*known.sources, note)) if note else known), note


def _key(name: str) -> str:
    key = name.lower().replace(" ", "").removeprefix("ascend")
    return next((same for pattern, same in _SAME_AS if pattern.fullmatch(key)), key)
