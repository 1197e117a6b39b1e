"""Picks the device that MindSpore runs on and prepares it."""

from __future__ import annotations

import os

from ms_omni.config import DEVICES
from ms_omni.errors import OmniError
from ms_omni.mindspore_version import check_mindspore

# What MindSpore reads when it launches its first operator on Ascend, or compiles its first graph.
# - Graphs with infer_boost take its internal kernels. Of these Swiglu does not compile in 2.7.1, and for attention of
#   prompts there is CANN's operator. For paged attention the wheel has two: its own is off, so that ATB's is taken.
# - LCCL makes communicators beside HCCL's, of one machine only.
# - A graph that writes a cache several times would copy it whole before each read.
ASCEND_SETTINGS = {
    "MS_DISABLE_INTERNAL_KERNELS_LIST": "Swiglu,FlashAttentionScore",
    "MS_INTERNAL_DISABLE_CUSTOM_KERNEL_LIST": "FlashAttentionScore,PagedAttention",
    "MS_ENABLE_LCCL": "off",
    "MS_DEV_SIDE_EFFECT_LOAD_ELIM": "3",
}


def setup_device(device: str = "auto") -> str:
    """Point MindSpore at a device; call it before the first tensor operation and before mindone is imported.

    `auto` takes Ascend when MindSpore sees a card, else CPU. On CPU, execution becomes synchronous (faster on few
    cores, and errors surface where they happen) and the operators that the CPU build lacks are filled in. On Ascend,
    those of ASCEND_SETTINGS that the environment has not are set.

    Returns "Ascend" or "CPU". Calling it again with the same device changes nothing.
    Raises OmniError for an unknown device, an Ascend that is not there, a process already bound to the other one, or a
    MindSpore that is not supported.
    """
    if device not in DEVICES:
        raise OmniError(f"--device {device}: expected one of {', '.join(DEVICES)}")
    check_mindspore()
    cards = num_ascend_cards()
    if device == "Ascend" and cards == 0:
        raise OmniError("--device Ascend: no Ascend card is visible to MindSpore; allowed here: CPU")
    chosen = device if device != "auto" else ("Ascend" if cards else "CPU")
    if chosen == "Ascend":
        for name, value in ASCEND_SETTINGS.items():
            os.environ.setdefault(name, value)
    _bind(chosen)
    if chosen == "CPU":
        _prepare_cpu()
    return chosen


def on_cpu() -> bool:
    """Whether this process computes on the CPU: MindSpore is bound to it."""
    import mindspore as ms

    return bool(ms.get_context("device_target") == "CPU")


def num_ascend_cards() -> int:
    """Ascend cards that MindSpore can use: 0 without a card, a driver or CANN."""
    from mindspore.device_context import ascend

    try:
        return ascend.device_count()
    except RuntimeError:  # how 2.7.1 says that the Ascend backend could not be loaded
        return 0


def _bind(device: str) -> None:
    import mindspore as ms

    try:
        ms.set_device(device)
    except ValueError as error:  # a rank of msrun whose card is not there
        cards = num_ascend_cards()
        message = f"--device {device}: no card for this rank, MindSpore sees {cards}: start {cards} ranks at most"
        raise OmniError(message) from error
    except RuntimeError as error:
        current = ms.get_context("device_target")
        if current == device:
            return
        message = f"--device {device}: this process already runs on {current}; allowed here: {current}"
        raise OmniError(message) from error


def _prepare_cpu() -> None:
    import mindspore as ms

    from ms_omni.kernels.cpu import install_cpu_kernels

    ms.runtime.launch_blocking()
    install_cpu_kernels()
