"""Checks that this process's share of the weights fits its device, before any of it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from ms_omni.config import EngineConfig
from ms_omni.errors import OmniError
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.table import MODES, check_world
from ms_omni.planning.choose import USUAL_CARDS
from ms_omni.planning.hardware import CPU
from ms_omni.planning.precision import INT8, NONE, Precision
from ms_omni.planning.weights import weight_bytes, weight_counts
from ms_omni.runtime.device_memory import GIB


def check_weights(
    settings: EngineConfig, config: Any, mode: str, cards: int, precision: Precision, free_bytes: int | None
) -> None:
    """config: transformers' Qwen3OmniMoeConfig. mode, cards: how the group shares the model. free_bytes: of the device,
    None if it is not known, which every model passes. Raises OmniError, with what would fit, when the weights alone
    need more."""
    if free_bytes is None:
        return
    counts, sizes = weight_counts(config), ModelSizes.from_config(config)
    quantize = precision.quantize

    def bytes_a_card(mode: str, cards: int, speak: bool, quantize: str = quantize) -> int:
        check_world(mode, cards, sizes)
        return sum(weight_bytes(counts, sizes, mode, cards, replace(precision, quantize=quantize), speak).values())

    speak = bool(settings.with_talker and config.enable_audio_output)
    needed = bytes_a_card(mode, cards, speak)
    if needed <= free_bytes:
        return
    modes = ("zero3",) if settings.engine == "mindone" else tuple(mode for mode in MODES if mode != "none")
    options = list(_more_cards(bytes_a_card, modes, cards, precision.device, speak, free_bytes))
    could_be_int8 = quantize == NONE and settings.engine != "mindone" and precision.can_be_int8
    if could_be_int8 and bytes_a_card(mode, cards, speak, INT8) <= free_bytes:
        options.append(f"with --quantize {INT8}")
    if speak and bytes_a_card(mode, cards, False) <= free_bytes:
        options.append("without the Talker (no --audio-out)")
    work = f"it fits {', or '.join(options)}" if options else "more free memory is needed"
    flags = f"--parallel {mode}" if quantize == NONE else f"--parallel {mode} --quantize {quantize}"
    raise OmniError(
        f"--model {settings.model}: its weights need {needed / GIB:.3g} GiB of each device with {flags} on "
        f"{cards} card{'' if cards == 1 else 's'}, {free_bytes / GIB:.3g} GiB are free; {work}"
    )


def _more_cards(
    bytes_a_card: Callable[[str, int, bool], int],
    modes: tuple[str, ...],
    cards: int,
    device: str,
    speak: bool,
    free: int,
) -> Iterator[str]:
    """The first usual count that is enough, if there is one. Processes on a CPU share its memory."""

    def fits(mode: str, count: int) -> bool:
        try:
            return bytes_a_card(mode, count, speak) <= free / (count if device == CPU else 1)
        except OmniError:  # heads or experts do not allow it
            return False

    for count in (n for n in USUAL_CARDS if n > cards):
        if fitting := [mode for mode in modes if fits(mode, count)]:
            yield f"with ms-omni launch --cards {count} and --parallel {' or '.join(fitting)}"
            return
