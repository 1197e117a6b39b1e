"""A conversation of more positions than the model has is refused by the flag; how much memory is free."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from ms_omni import OmniEngine, OmniError, SamplingParams
from ms_omni.runtime.room import GIB, check_positions, free_device_bytes

HELLO = [{"role": "user", "content": "Hello"}]


def test_positions():
    check_positions(90, SamplingParams(thinker_max_new_tokens=10), 100)
    with pytest.raises(OmniError, match="--thinker-max-new-tokens 11: with a prompt of 90 .* 100 positions .* most 10"):
        check_positions(90, SamplingParams(thinker_max_new_tokens=11), 100)
    with pytest.raises(OmniError, match="the prompt has 101 tokens, the model takes 100"):
        check_positions(101, SamplingParams(thinker_max_new_tokens=1), 100)


@pytest.mark.parametrize(
    "tokens, words",
    [
        ({"audio_tokens": 130}, "about 8 s of sound fit (79 % of it); cut it, or ask --task speech-recognition"),
        (
            {"video_tokens": 150, "audio_tokens": 20},
            "about 82 % of the video fits; cut it, or lower its fps",
        ),
        ({"audio_tokens": 20, "image_tokens": 110}, "shorten the text or the media, or lower --max-pixels"),
        ({}, "shorten the text"),
    ],
)
def test_what_would_fit(tokens, words):
    with pytest.raises(OmniError, match=re.escape(words)):
        check_positions(127, SamplingParams(thinker_max_new_tokens=1), 100, tokens)


def test_a_sound_that_is_too_long_is_told_how_much_of_it_fits(fused):
    """By a real prompt: 20 s are 260 tokens."""
    fused = OmniEngine.from_pretrained(fused.directory, device="CPU", max_model_len=200)
    samples = np.random.default_rng(0).normal(0, 0.1, 20 * 16_000).astype(np.float32)
    with fused, pytest.raises(OmniError, match=r"about 1\d s of sound fit \(\d\d % of it\)"):
        fused.generate([{"role": "user", "content": [{"type": "audio", "audio": samples}]}], return_audio=False)


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


@pytest.mark.parametrize("name", ["fused", "baseline"])
def test_both_engines_ask(request, name):
    engine = request.getfixturevalue(name)
    limit = engine.config.thinker_config.text_config.max_position_embeddings
    with pytest.raises(OmniError, match=f"--thinker-max-new-tokens {limit}: .* beyond the {limit} positions"):
        engine.generate(HELLO, sampling=SamplingParams(thinker_max_new_tokens=limit))


def test_the_talkers_positions(fused):
    limit = fused.config.talker_config.text_config.max_position_embeddings
    with pytest.raises(OmniError, match=f"--talker-max-new-tokens {limit}: .* beyond the {limit} positions of the Ta"):
        fused.generate(HELLO, sampling=SamplingParams(talker_max_new_tokens=limit))


def test_a_host_of_few_cores(monkeypatch):
    from ms_omni.runtime import card

    def host(cores):
        monkeypatch.setattr(card.ctypes, "CDLL", lambda _: SimpleNamespace(get_nprocs=lambda: cores))

    host(12)
    card.check_cores()
    host(11)
    with pytest.raises(OmniError, match="--device Ascend: this process has 11 cores .* needs 12: .*--engine mindone"):
        card.check_cores()
