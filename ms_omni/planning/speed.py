"""Projected decoding speed: bytes read at a share of the bandwidth, launches, collectives. The context of every
conversation has the prompt's length. No figure of this was measured on a card."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ms_omni.config import CAPTURED_WAYS
from ms_omni.parallel.table import check_world, num_owners, shares_talker
from ms_omni.planning.counted import EagerCounts, StepCounts, eager_talker, eager_thinker, talker_frame, thinker_token
from ms_omni.planning.hardware import CPU, Hardware
from ms_omni.planning.memory import Planned
from ms_omni.planning.precision import NONE, Precision

# Speech in real time: 24000 Hz / 1920 samples a frame.
REAL_TIME_FRAMES = 12.5


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, a Thinker token or a Talker frame of each of `batch` conversations, by what they are spent
    on. Reading weights and launching do not overlap here, which is pessimistic; collectives wait for neither, which is
    optimistic. launch_s: of launches, replays of captured ones, and synchronisations. What a call does for several
    tokens is divided among them."""

    read_s: float
    launch_s: float
    collective_s: float
    launches: float
    synchronisations: float
    collectives: float
    collective_bytes: float
    batch: int = 1
    replays: float = 0.0

    @property
    def total_s(self) -> float:
        """Seconds of the step."""
        return self.read_s + self.launch_s + self.collective_s

    @property
    def per_second(self) -> float:
        """Tokens or frames of all conversations together."""
        return self.batch / self.total_s


@dataclass(frozen=True)
class SpeedPlan:
    """talker: None without a Talker. limit: Thinker tokens a second if weights were read at the full bandwidth and
    nothing else took time. captured_thinker, captured_talker: the same steps with captured launches (of one decoder in
    a process); None where launches cannot be captured."""

    thinker: StepTime
    talker: StepTime | None
    limit: float
    captured_thinker: StepTime | None = None
    captured_talker: StepTime | None = None


def plan_speed(planned: Planned, context: int, mode: str, cards: int, batch: int = 1) -> SpeedPlan:
    """context: tokens in the cache of each of `batch` conversations. Raises OmniError for a mode that cannot share this
    model between so many cards."""
    check_world(mode, cards, planned.sizes)
    read = thinker_read_bytes(planned, context, mode, cards, batch)
    limit = batch * planned.hardware.bandwidth / read
    plan = SpeedPlan(_thinker(planned, read, mode, cards, batch), None, limit)
    if planned.speak:
        plan = replace(plan, talker=_talker(planned, context, mode, cards, batch))
    if planned.hardware.device == CPU or (cards > 1 and mode not in CAPTURED_WAYS):
        return plan
    plan = replace(plan, captured_thinker=_thinker(planned, read, mode, cards, batch, True))
    if planned.speak:
        plan = replace(plan, captured_talker=_talker(planned, context, mode, cards, batch, True))
    return plan


def thinker_read_bytes(planned: Planned, context: int, mode: str, cards: int, batch: int = 1) -> float:
    """Bytes that the busiest card reads for one token of each conversation: attention, router, chosen experts and head
    once for all conversations, the cache of each. tp: as if all scales were split with their matrices; most are."""
    text, (split, held), rows = planned.text_config, _shares(mode, cards), own_rows(mode, cards, batch)
    matrices = _attention_bytes(text, planned.precision) / split
    matrices += _experts_read(text, mode, cards, rows) * _expert_bytes(text, planned.precision)
    router = text.num_experts * text.hidden_size
    head = text.vocab_size * text.hidden_size / held
    cache = 2 * rows * context * max(text.num_key_value_heads / split, 1) * text.head_dim
    values = text.num_hidden_layers * (router + cache) + head
    return text.num_hidden_layers * matrices + values * planned.itemsize


def own_rows(mode: str, cards: int, batch: int) -> int:
    """For how many of `batch` conversations the busiest card computes the layers."""
    return -(-batch // num_owners(mode, cards))


def distinct_experts(num_chosen: float, num_experts: float, batch: int) -> float:
    """How many of `num_experts` are chosen by at least one of `batch` tokens, on average, if each token chooses
    `num_chosen` of them and all experts are equally likely."""
    return num_experts * (1 - (1 - num_chosen / num_experts) ** batch)


def busiest_share(num_chosen: int, cards: int) -> float:
    """How many of `num_chosen` experts are on the card that has most of them, on average, if each is on any card with
    the same probability."""
    if cards == 1:
        return float(num_chosen)

    def at_most(limit: int) -> float:
        """P(no card has more): num_chosen! / cards^num_chosen times a coefficient of a power of sum x^i / i!."""
        ways = [1.0] + [0.0] * num_chosen
        for _ in range(cards):
            ways = [
                sum(ways[n - i] / math.factorial(i) for i in range(min(limit, n) + 1)) for n in range(num_chosen + 1)
            ]
        return ways[num_chosen] * math.factorial(num_chosen) / cards**num_chosen

    return sum(1 - at_most(limit) for limit in range(num_chosen))


def mindone_zero3(planned: Planned, cards: int) -> tuple[StepTime, StepTime | None]:
    """mindone's own generate with prepare_network: one Thinker token and one Talker frame. It has no 8-bit weights."""
    planned = replace(planned, quantize=NONE)
    hardware, text = planned.hardware, planned.text_config
    thinker = _eager(hardware, eager_thinker(text), thinker_read_bytes(planned, 0, "none", 1), cards)
    if not planned.speak:
        return thinker, None
    return thinker, _eager(hardware, eager_talker(planned.config.talker_config), _talker_read(planned, 0, 1, 1), cards)


def _eager(hardware: Hardware, counts: EagerCounts, read: float, cards: int) -> StepTime:
    gathered = read * (cards - 1) / cards
    each = hardware.eager_launch_s + hardware.eager_collective_s
    return StepTime(
        read_s=read / (hardware.bandwidth * hardware.efficiency),
        launch_s=counts.launches * hardware.eager_launch_s + counts.syncs * hardware.call_s,
        collective_s=counts.gathers * each + gathered / hardware.gather_rate(cards),
        launches=counts.launches,
        synchronisations=counts.syncs,
        collectives=counts.gathers,
        collective_bytes=gathered,
    )


def _thinker(planned: Planned, read: float, mode: str, cards: int, batch: int, is_captured: bool = False) -> StepTime:
    text = planned.text_config
    mode, moved = mode if cards > 1 else "none", 0.0
    row = batch * text.hidden_size * planned.itemsize
    if mode == "ep":  # the sums of a layer's experts
        moved = text.num_hidden_layers * row
    elif mode == "tp":  # the sums of attention and experts, the embedding, the logits
        moved = (2 * text.num_hidden_layers + 1) * row + batch * text.vocab_size * planned.itemsize
    elif mode == "zero3":
        expert = 3 * text.hidden_size * text.moe_intermediate_size
        layer = _attention(text) + own_rows(mode, cards, batch) * text.num_experts_per_tok * expert
        moved = text.num_hidden_layers * layer * planned.precision.weight * (cards - 1) / cards  # scales are everywhere
        read += 2 * moved  # gathered weights are written to memory, and read again when they are put in order
    work = thinker_token(text, mode, batch, is_captured, planned.quantize)
    return _step(planned.hardware, read, work, moved, cards, batch)


def _talker(planned: Planned, context: int, mode: str, cards: int, batch: int, is_captured: bool = False) -> StepTime:
    talker = planned.config.talker_config
    text = talker.text_config
    is_shared = cards > 1 and shares_talker(mode, cards, planned.sizes)
    ep, tp = (cards if is_shared and mode == m else 1 for m in ("ep", "tp"))
    rows = own_rows(mode, cards, batch)
    read, moved = _talker_read(planned, context, ep, tp, rows), 0.0
    if cards == 1 or (mode != "zero3" and not is_shared):
        mode = "none"
    if mode in ("ep", "tp"):
        moved = (1 if mode == "ep" else 2) * text.num_hidden_layers * batch * text.hidden_size * planned.itemsize
    elif mode == "zero3":
        moved = _talker_weights(talker, rows) * planned.precision.weight * (cards - 1) / cards
        read += 2 * moved
    work = talker_frame(talker, mode, is_captured, planned.quantize)
    return _step(planned.hardware, read, work, moved, cards, batch)


def _talker_weights(talker: Any, rows: int) -> float:
    """Values of the layers that a frame gathers: the Talker's with the chosen experts of each row, and the code
    predictor's once although it takes 16 steps, since a graph joins equal gathers."""
    text, predictor = talker.text_config, talker.code_predictor_config
    expert = 3 * text.hidden_size * text.moe_intermediate_size
    shared = 3 * text.hidden_size * text.shared_expert_intermediate_size
    layer = _attention(text) + rows * text.num_experts_per_tok * expert + shared
    return text.num_hidden_layers * layer + predictor.num_hidden_layers * _dense_layer(predictor)


def _dense_layer(predictor: Any) -> float:
    return _attention(predictor) + 3 * predictor.hidden_size * predictor.intermediate_size


def _dense_layer_bytes(predictor: Any, precision: Precision) -> float:
    hidden, inner = predictor.hidden_size, predictor.intermediate_size
    return _attention_bytes(predictor, precision) + _gated_bytes(hidden, inner, precision)


def _talker_read(planned: Planned, context: int, ep: int, tp: int, rows: int = 1) -> float:
    """Bytes read for a frame of each of `rows` conversations: one step of the Talker and 16 of the code predictor,
    which has a head for each code except the first."""
    talker, precision = planned.config.talker_config, planned.precision
    text, predictor, hidden = talker.text_config, talker.code_predictor_config, talker.text_config.hidden_size
    chosen = distinct_experts(busiest_share(text.num_experts_per_tok, ep), text.num_experts / ep, rows)
    matrices = _attention_bytes(text, precision) + chosen * _expert_bytes(text, precision)
    matrices += _gated_bytes(hidden, text.shared_expert_intermediate_size, precision)
    dense = talker.num_code_groups * predictor.num_hidden_layers * _dense_layer_bytes(predictor, precision)
    router = text.num_experts * hidden
    cache = 2 * rows * context * max(text.num_key_value_heads / tp, 1) * text.head_dim
    heads = text.vocab_size * hidden + (talker.num_code_groups - 1) * predictor.vocab_size * predictor.hidden_size
    values = text.num_hidden_layers * (router + cache) + heads
    return text.num_hidden_layers * matrices / tp + dense + values * planned.itemsize


def _step(hardware: Hardware, read: float, work: StepCounts, moved: float, cards: int, batch: int) -> StepTime:
    launch_s = work.launches * hardware.launch_s
    launch_s += work.replays * hardware.replay_s + work.replayed * hardware.replayed_s
    collective_s = work.collectives * hardware.collective_s
    return StepTime(
        read_s=read / (hardware.bandwidth * hardware.efficiency),
        launch_s=launch_s + work.synchronisations * hardware.call_s,
        collective_s=collective_s + (moved / hardware.gather_rate(cards) if moved else 0.0),
        launches=work.launches,
        synchronisations=work.synchronisations,
        collectives=work.collectives,
        collective_bytes=moved,
        batch=batch,
        replays=work.replays,
    )


def _shares(mode: str, cards: int) -> tuple[int, int]:
    """Into how many parts attention and the head are split."""
    return (cards, cards) if mode == "tp" else (1, cards if mode == "zero3" else 1)


def _experts_read(text: Any, mode: str, cards: int, batch: int) -> float:
    """In whole experts. ep: as if one card had most of the experts of every token."""
    if mode == "ep":
        return distinct_experts(busiest_share(text.num_experts_per_tok, cards), text.num_experts / cards, batch)
    return distinct_experts(text.num_experts_per_tok, text.num_experts, batch) / (cards if mode == "tp" else 1)


def _attention(text: Any) -> float:
    """Values of the four projections of a layer."""
    return 2 * text.hidden_size * _head_dim(text) * (text.num_attention_heads + text.num_key_value_heads)


def _attention_bytes(text: Any, precision: Precision) -> float:
    """Of the four projections of a layer."""
    heads, hidden = text.num_attention_heads * _head_dim(text), text.hidden_size
    qkv = heads + 2 * text.num_key_value_heads * _head_dim(text)
    return precision.matrix(qkv, hidden) + precision.matrix(hidden, heads)


def _head_dim(text: Any) -> int:
    return getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads


def _expert_bytes(text: Any, precision: Precision) -> float:
    return _gated_bytes(text.hidden_size, text.moe_intermediate_size, precision)


def _gated_bytes(hidden: int, inner: int, precision: Precision) -> float:
    """Of a gated feed-forward network."""
    return precision.matrix(2 * inner, hidden) + precision.matrix(hidden, inner)
