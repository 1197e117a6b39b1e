"""How much memory a device has free, and what the pool of a card is told."""

from types import SimpleNamespace

import pytest

from ms_omni import OmniError
from ms_omni.runtime.device_memory import GIB, free_device_bytes


def test_this_machine_says_how_much_is_free():
    assert free_device_bytes("CPU") > 1 << 20


def card(monkeypatch, free, allocated=0):
    """A card of 64 GiB; (what MindSpore's pool is told, `limit_pool`)."""
    import mindspore as ms

    from ms_omni.runtime import card

    told = []
    properties = SimpleNamespace(total_memory=64 * GIB, free_memory=free)
    monkeypatch.setattr(ms.hal, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(ms.runtime, "memory_allocated", lambda: allocated)
    monkeypatch.setattr(ms.runtime, "set_memory", lambda **sizes: told.append(sizes["max_size"]))
    card.limit_pool.cache_clear()
    return told, card.limit_pool


@pytest.fixture
def forget_limit():
    yield
    from ms_omni.runtime.card import limit_pool

    limit_pool.cache_clear()


@pytest.mark.usefixtures("cpu", "forget_limit")
def test_a_card_has_free_what_its_pool_may_take(monkeypatch):
    # 60 GiB * 15 / 16 = 56.25, and whole steps of the pool
    told, limit_pool = card(monkeypatch, 60 * GIB, allocated=4 * GIB)
    assert limit_pool() == 56 * GIB and told == ["56GB"]
    assert free_device_bytes("Ascend") == 52 * GIB and told == ["56GB"]
    told, _ = card(monkeypatch, 0)
    assert free_device_bytes("Ascend") is None and told == []


@pytest.mark.usefixtures("cpu", "forget_limit")
def test_ranks_leave_room_for_the_buffers_of_two_communicators(monkeypatch):
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    told, limit_pool = card(monkeypatch, 60 * GIB)
    assert limit_pool() == 55 * GIB and told == ["55GB"]  # 56.25 - 4 * 200 MiB
    monkeypatch.setenv("HCCL_BUFFSIZE", "1024")
    _, limit_pool = card(monkeypatch, 60 * GIB)
    assert limit_pool() == 52 * GIB


@pytest.mark.usefixtures("cpu", "forget_limit")
def test_the_scheduler_of_a_job_has_no_card(monkeypatch):
    import mindspore as ms

    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    told, limit_pool = card(monkeypatch, 60 * GIB)
    monkeypatch.setattr(ms.hal, "get_device_properties", lambda index: None)
    assert limit_pool() is None and told == []


@pytest.mark.usefixtures("cpu", "forget_limit")
def test_a_card_that_others_have_filled(monkeypatch):
    _, limit_pool = card(monkeypatch, GIB)
    with pytest.raises(OmniError, match="--device Ascend: 1.0 GiB of the card are free"):
        limit_pool()


def test_a_host_of_few_cores(monkeypatch):
    from ms_omni.runtime import card

    def host(cores):
        monkeypatch.setattr(card.ctypes, "CDLL", lambda _: SimpleNamespace(get_nprocs=lambda: cores))

    host(12)
    card.check_cores()
    host(11)
    with pytest.raises(OmniError, match="--device Ascend: this process has 11 cores .* needs 12: .*--engine mindone"):
        card.check_cores()
