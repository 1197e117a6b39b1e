"""The shard table: which part of each weight a rank stores, for every sharding mode. Loading, memory plans and tests
use it. Pure arithmetic of (rank, world_size), without MindSpore."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ms_omni.checkpoint.int8 import weight_of
from ms_omni.errors import OmniError
from ms_omni.parallel.sizes import TALKER, THINKER, ModelSizes

MODES = ("none", "zero3", "ep", "tp")

REPLICATED, EXPERTS, SPLIT = "replicated", "experts", "split"
ROW, HEAD, KV_HEAD = "row", "head", "kv_head"

# Under zero3, tensors with fewer values are replicated: gathering them would cost more than it saves. So are tensors of
# one axis: norms, biases, scales.
ZERO3_SMALLEST = 512


@dataclass(frozen=True)
class Rule:
    """How one weight is stored.

    kind: REPLICATED, whole on every rank; EXPERTS, whole on the rank that has its expert; SPLIT along `axis` in units
    of `unit`: ROW, blocks as `part` makes them, padded to the first; HEAD or KV_HEAD, whole heads, of which key-value
    heads are repeated where ranks outnumber them."""

    kind: str
    axis: int = 0
    unit: str = ROW


WHOLE = Rule(REPLICATED)

# The first matching pattern decides; weights without a match are replicated: norms, routers, gates of shared experts,
# biases added after a sum over ranks, projections between the models, encoders, Code2Wav. The code predictor is
# replicated too: with 16 steps a frame, its collectives would take longer than reading its 0.3 GB.
_DECODER = r"(thinker|talker)\.model\.layers\.\d+\."
_EXPERT = re.compile(_DECODER + r"mlp\.experts\.(?P<expert>\d+)\.")
_TABLES: dict[str, tuple[tuple[str, Rule], ...]] = {
    "none": (),
    "ep": ((_EXPERT.pattern, Rule(EXPERTS)),),
    "tp": (
        (_DECODER + r"self_attn\.q_proj\.(weight|bias)$", Rule(SPLIT, 0, HEAD)),
        (_DECODER + r"self_attn\.[kv]_proj\.(weight|bias)$", Rule(SPLIT, 0, KV_HEAD)),
        (_DECODER + r"self_attn\.o_proj\.weight$", Rule(SPLIT, 1, HEAD)),
        (_DECODER + r"mlp\.(experts\.\d+\.|shared_expert\.)?(gate|up)_proj\.weight$", Rule(SPLIT, 0)),
        (_DECODER + r"mlp\.(experts\.\d+\.|shared_expert\.)?down_proj\.weight$", Rule(SPLIT, 1)),
        # Rows of the vocabulary; the Talker's 3072 rows are few enough to be replicated.
        (r"thinker\.(model\.embed_tokens|lm_head)\.weight$", Rule(SPLIT, 0)),
    ),
    "zero3": (
        (_DECODER + r"mlp\.(gate|shared_expert_gate)\.weight$", WHOLE),
        (r".*", Rule(SPLIT, 0)),
    ),
}
_COMPILED = {mode: tuple((re.compile(p), found) for p, found in table) for mode, table in _TABLES.items()}


def rule(name: str, mode: str) -> Rule:
    """The rule for a weight of a Hugging Face checkpoint. Raises OmniError for an unknown mode."""
    if mode not in _TABLES:
        raise OmniError(f"--parallel {mode}: expected one of {', '.join(MODES)}")
    return next((found for pattern, found in _COMPILED[mode] if pattern.match(name)), WHOLE)


def applied_rule(name: str, shape: Sequence[int], mode: str, world_size: int, sizes: ModelSizes) -> Rule:
    """`rule`, or REPLICATED if this weight is not split over so many ranks: under zero3, tensors of one axis, of fewer
    rows than ranks, or of fewer than ZERO3_SMALLEST values; under ep and tp, a Talker with too few heads or experts."""
    if world_size == 1:
        return WHOLE
    if weight := weight_of(name):
        return _rule_of_scales(applied_rule(weight, shape, mode, world_size, sizes), mode)
    found = rule(name, mode)
    if mode == "zero3":
        is_small = len(shape) < 2 or shape[0] < world_size or math.prod(shape) < ZERO3_SMALLEST
        return WHOLE if is_small else found
    if name.startswith(TALKER) and not shares_talker(mode, world_size, sizes):
        return WHOLE
    return found


def _rule_of_scales(weight: Rule, mode: str) -> Rule:
    """The rule for the scales of 8-bit weights, one a row. weight: the rule of the weights. Under zero3 every rank has
    all scales: they are small, and not int8, so they could not be gathered together with the weights."""
    return WHOLE if mode == "zero3" or (weight.kind == SPLIT and weight.axis == 1) else weight


def shares_talker(mode: str, world_size: int, sizes: ModelSizes) -> bool:
    """Whether the Talker is split like the Thinker under ep and tp, rather than replicated."""
    talker = sizes.decoders.get(TALKER)
    if talker is None or mode not in ("ep", "tp"):
        return False
    return talker.num_experts >= world_size if mode == "ep" else talker.heads_divide(world_size)


def num_owners(mode: str, world_size: int) -> int:
    """Ranks of a group that have conversations of their own (data parallel): each keeps the keys and values of its own
    conversations only, and computes their rows. 1 if all ranks work on all conversations."""
    return world_size if mode == "zero3" else 1


def check_world(mode: str, world_size: int, sizes: ModelSizes) -> None:
    """Raises OmniError, naming what would work, if the Thinker cannot be split over so many ranks."""
    rule("", mode)
    thinker = sizes.decoders[THINKER]
    if world_size < 1:
        raise OmniError(f"--cards {world_size}: expected a whole number of at least 1")
    if mode == "ep" and world_size > thinker.num_experts:
        raise OmniError(
            f"--parallel ep with --cards {world_size}: more ranks than the {thinker.num_experts} experts of a layer; "
            f"use at most {thinker.num_experts} cards to a group, or --parallel zero3"
        )
    if mode == "tp" and not thinker.heads_divide(world_size):
        allowed = [str(n) for n in range(2, thinker.num_heads + 1) if thinker.heads_divide(n)]
        raise OmniError(
            f"--parallel tp with --cards {world_size}: {thinker.num_heads} heads and {thinker.num_kv_heads} key-value "
            f"heads are not shared evenly by {world_size} ranks; use {', '.join(allowed)} cards, or --parallel ep"
        )


def part(total: int, rank: int, world_size: int) -> slice:
    """The items of `total` that a rank has: consecutive blocks of ceil(total / world_size), the last ones shorter or
    empty. The parts of all ranks, padded to the first one's length and gathered, begin with all items."""
    size = -(-total // world_size)
    return slice(min(rank * size, total), min((rank + 1) * size, total))


def expert_range(num_experts: int, rank: int, world_size: int) -> range:
    """The experts of a rank under ep: contiguous; every rank's stack may be padded to the first one's length."""
    block = part(num_experts, rank, world_size)
    return range(block.start, block.stop)


def head_part(num_heads: int, rank: int, world_size: int) -> slice:
    """The heads of a rank under tp: equal blocks, or one shared head if there are more ranks than (key-value) heads."""
    if num_heads >= world_size:
        count = num_heads // world_size
        return slice(rank * count, (rank + 1) * count)
    head = rank * num_heads // world_size
    return slice(head, head + 1)


def shard_slices(
    name: str, shape: Sequence[int], mode: str, rank: int, world_size: int, sizes: ModelSizes
) -> tuple[slice, ...] | None:
    """What rank `rank` of `world_size` (the ranks of one group) reads of the weight `name`: one slice for each axis of
    `shape`, the shape in the checkpoint; None when it does not store the weight. A slice may be empty under zero3, and
    for the vocabulary under tp: see `padded_shape`. Call `check_world` first."""
    found = applied_rule(name, shape, mode, world_size, sizes)
    whole = tuple(slice(0, length) for length in shape)
    if found.kind == REPLICATED:
        return whole
    _, decoder = sizes.of(name) or (THINKER, sizes.decoders[THINKER])
    if found.kind == EXPERTS:
        match = _EXPERT.match(name)
        expert = int(match["expert"]) if match else 0
        return whole if expert in expert_range(decoder.num_experts, rank, world_size) else None
    length = shape[found.axis]
    if found.unit == ROW:
        chosen = part(length, rank, world_size)
    else:
        heads = decoder.num_heads if found.unit == HEAD else decoder.num_kv_heads
        width, block = length // heads, head_part(heads, rank, world_size)
        chosen = slice(block.start * width, block.stop * width)
    return (*whole[: found.axis], chosen, *whole[found.axis + 1 :])


def padded_shape(name: str, shape: Sequence[int], mode: str, world_size: int, sizes: ModelSizes) -> tuple[int, ...]:
    """The shape that every rank which stores the weight holds: rank 0's part, which is as long as any. A shorter part
    is padded with zeros at the end of the split axis: zero rows and columns of a gated network add nothing, and rows
    beyond the vocabulary are cut off after gathering."""
    found = applied_rule(name, shape, mode, world_size, sizes)
    if found.kind != SPLIT:
        return tuple(shape)
    slices = shard_slices(name, shape, mode, 0, world_size, sizes) or ()
    return tuple(s.stop - s.start for s in slices)
