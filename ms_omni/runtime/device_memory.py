"""How much memory a device has free."""

from __future__ import annotations

from ms_omni.hardware.memory import meminfo_bytes

GIB = 1 << 30


def free_device_bytes(device: str) -> int | None:
    """Bytes that can still be allocated on "CPU" or "Ascend"; None where the system does not say."""
    if device == "Ascend":
        return _free_on_card()
    return meminfo_bytes("MemAvailable")


def _free_on_card() -> int | None:
    """Bytes left in MindSpore's pool; the rest of the card is for HCCL and CANN."""
    import mindspore as ms

    from ms_omni.runtime.card import limit_pool

    limit = limit_pool()
    return None if limit is None else limit - int(ms.runtime.memory_allocated())
