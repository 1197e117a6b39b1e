"""How much memory a device has free."""

from __future__ import annotations

from ms_omni.hardware.memory import meminfo_bytes

GIB = 1 << 30


def free_device_bytes(device: str) -> int | None:
    """What can still be allocated on "CPU" or "Ascend", at most; None where the system does not say."""
    if device == "Ascend":
        return _free_on_card()
    return meminfo_bytes("MemAvailable")


def _free_on_card() -> int | None:
    """Of what MindSpore's pool may take: HCCL and CANN have the rest of the card."""
    import mindspore as ms

    from ms_omni.runtime.card import limit_pool

    limit = limit_pool()
    return None if limit is None else limit - int(ms.runtime.memory_allocated())
