"""Memory of one card: weights, caches, activations and buffers for a workload, whether it fits, how long it may get."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ms_omni.limits import BLOCK_SIZE, BUCKETS, TOKENS_PER_CALL
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.table import check_world, num_owners, shares_talker
from ms_omni.planning.activations import Execution, stage_bytes
from ms_omni.planning.hardware import CPU, DTYPE_BYTES, Hardware
from ms_omni.planning.precision import NONE, Precision
from ms_omni.planning.weights import Counts, weight_bytes, weight_counts
from ms_omni.planning.workload import MediaSizes, Workload, media_sizes
from ms_omni.runtime.cache_sizes import config_row_bytes, num_blocks_of

# zero3 holds a layer up to three times for a prompt: what was gathered, its matrices, and these packed for the
# operators. (MindSpore's dry run asks for 2.7, docs/benchmarks/plan-memory.md.)
GATHERED_LAYERS = 3
MOST_AT_ONCE = BUCKETS[-1]


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on the card that needs most. stages: what each stage holds at once; the largest one counts."""

    mode: str
    cards: int
    prompt_tokens: int
    weights: Mapping[str, int]
    kv_cache: int
    stages: Mapping[str, float]
    buffers: float
    reserved: float
    available: float

    @property
    def weight_bytes(self) -> int:
        """Of all parts."""
        return sum(self.weights.values())

    @property
    def activations(self) -> float:
        """What the largest stage holds."""
        return max(self.stages.values(), default=0.0)

    @property
    def total(self) -> float:
        """Everything that the card must hold at once."""
        return self.weight_bytes + self.kv_cache + self.activations + self.buffers + self.reserved

    @property
    def fits(self) -> bool:
        """Whether the usable memory is enough."""
        return self.total <= self.available


@dataclass(frozen=True)
class Planned:
    """A model on some hardware. config: transformers' Qwen3OmniMoeConfig. speak: with the Talker. quantize: none,
    int8 or int8-dynamic."""

    config: Any
    hardware: Hardware
    dtype: str
    speak: bool
    quantize: str = NONE

    @cached_property
    def sizes(self) -> ModelSizes:
        """What the shard table needs to know of the model."""
        return ModelSizes.from_config(self.config)

    @cached_property
    def counts(self) -> Counts:
        """How often each kind of weight occurs."""
        return weight_counts(self.config)

    @property
    def itemsize(self) -> int:
        """Bytes of a value of `dtype`."""
        return DTYPE_BYTES[self.dtype]

    @property
    def precision(self) -> Precision:
        """dtype and quantize on this hardware."""
        return Precision(self.dtype, self.quantize, self.hardware.device)

    @property
    def text_config(self) -> Any:
        """The Thinker's."""
        return self.config.thinker_config.text_config

    def weights(self, mode: str, cards: int) -> dict[str, int]:
        """Bytes by part on the card that stores most."""
        return weight_bytes(self.counts, self.sizes, mode, cards, self.precision, self.speak)


def plan_memory(planned: Planned, workload: Workload, mode: str, cards: int) -> MemoryPlan:
    """Raises OmniError for a mode that cannot share this model between so many cards."""
    check_world(mode, cards, planned.sizes)
    media = media_sizes(workload, planned.config)
    return _plan(planned, workload, media, mode, cards, planned.weights(mode, cards))


def _plan(
    planned: Planned, workload: Workload, media: MediaSizes, mode: str, cards: int, weights: dict[str, int]
) -> MemoryPlan:
    prompt, hardware = workload.prompt_tokens + media.prompt_tokens, planned.hardware
    execution = Execution(planned.precision, cards if mode == "tp" else 1, planned.speak)
    buffers = hardware.collective_bytes if cards > 1 and mode != "none" else 0.0
    if mode == "zero3":
        buffers += GATHERED_LAYERS * layer_bytes(planned)
    return MemoryPlan(
        mode=mode,
        cards=cards,
        prompt_tokens=prompt,
        weights=weights,
        kv_cache=kv_cache_bytes(planned, workload, prompt, mode, cards),
        stages=stage_bytes(planned.config, workload, media, execution),
        buffers=buffers,
        reserved=hardware.reserved_bytes + (hardware.speech_bytes if planned.speak else 0),
        available=hardware.memory_per_card(cards),
    )


def layer_bytes(planned: Planned) -> float:
    """Bytes of the weights of one whole Thinker layer."""
    whole = planned.weights("none", 1)
    return (whole["thinker experts"] + whole["thinker layers"]) / planned.text_config.num_hidden_layers


def kv_cache_bytes(planned: Planned, workload: Workload, prompt: int, mode: str, cards: int) -> int:
    """Blocks for `workload.batch` answers of the longest length, and the padding block. Where each conversation belongs
    to one rank, only a rank's share of them counts. The Talker reads about as many tokens as the Thinker. The code
    predictor keeps a frame of each conversation; on a CPU it has a cache for it."""
    ranks, batch = cards if mode == "tp" else 1, -(-workload.batch // num_owners(mode, cards))
    rows = cache_rows(prompt, workload.max_new_tokens, batch, TOKENS_PER_CALL)
    total = rows * config_row_bytes(planned.text_config, planned.itemsize, ranks)
    if planned.speak:
        talker = planned.config.talker_config
        shared = ranks if shares_talker(mode, cards, planned.sizes) else 1
        rows = cache_rows(prompt, workload.talker_max_new_tokens, batch, 1)
        total += rows * config_row_bytes(talker.text_config, planned.itemsize, shared)
        if planned.hardware.device == CPU:
            rows = (workload.batch + 1) * talker.num_code_groups
            total += rows * config_row_bytes(talker.code_predictor_config, planned.itemsize)
    return total


def cache_rows(prompt: int, max_new_tokens: int, batch: int, tokens_per_call: int) -> int:
    """Rows of a paged cache for so many answers at once. The last token is not read again, but a call writes the rows
    of all its tokens."""
    blocks = num_blocks_of(prompt + max_new_tokens - 1 + tokens_per_call - 1)
    return (batch * blocks + 1) * BLOCK_SIZE


def most_at_once(planned: Planned, workload: Workload, mode: str, cards: int) -> int:
    """How many such conversations fit together, up to MOST_AT_ONCE; 0 if not even one does."""

    def fits(batch: int) -> bool:
        return plan_memory(planned, replace(workload, batch=batch), mode, cards).fits

    return _largest(fits, MOST_AT_ONCE)


def most_prompt_tokens(planned: Planned, workload: Workload, mode: str, cards: int) -> int:
    """The longest prompt, media included, that fits with this answer; 0 if none does. The model's own limit counts."""
    media, weights = media_sizes(workload, planned.config), planned.weights(mode, cards)

    def fits(tokens: int) -> bool:
        text = replace(workload, prompt_tokens=max(1, tokens - media.prompt_tokens))
        return _plan(planned, text, media, mode, cards, weights).fits

    most = _largest(fits, planned.text_config.max_position_embeddings)
    return most if most > media.prompt_tokens else 0


def _largest(fits: Callable[[int], bool], high: int) -> int:
    """The largest number up to `high` that fits, 0 if none does. If a number fits, all smaller ones must."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
