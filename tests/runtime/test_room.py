"""A conversation that has no room is refused before anything is computed, by the flag and in bytes."""

from types import SimpleNamespace

import pytest

from ms_omni import OmniError, SamplingParams
from ms_omni.checkpoint.config import read_config
from ms_omni.runtime.room import cache_bytes, check_memory, check_positions, free_device_bytes

DECODER = SimpleNamespace(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2)
HELLO = [{"role": "user", "content": "Hello"}]


def test_bytes_by_hand():
    assert cache_bytes(DECODER, 256, 4) == 2 * 3 * 2 * 16 * 256 * 4
    assert cache_bytes(DECODER, 257, 2) == 2 * 3 * 2 * 16 * 512 * 2


def test_positions():
    check_positions(90, SamplingParams(thinker_max_new_tokens=10), 100)
    with pytest.raises(OmniError, match="--thinker-max-new-tokens 11: with a prompt of 90 .* 100 positions .* most 10"):
        check_positions(90, SamplingParams(thinker_max_new_tokens=11), 100)
    with pytest.raises(OmniError, match="the prompt has 101 tokens, the model takes 100"):
        check_positions(101, SamplingParams(thinker_max_new_tokens=1), 100)


def test_memory(tiny_dir):
    config = read_config(tiny_dir)
    sampling = SamplingParams(thinker_max_new_tokens=100, talker_max_new_tokens=200)
    thinker, talker = (
        cache_bytes(part.text_config, 50 + new, 4)
        for part, new in ((config.thinker_config, 100), (config.talker_config, 200))
    )
    check_memory(config, 50, sampling, 4, thinker + talker, speak=True)
    check_memory(config, 50, sampling, 4, thinker, speak=False)
    check_memory(config, 50, sampling, 4, None, speak=True)
    with pytest.raises(OmniError, match=f"--thinker-max-new-tokens 100: .*take {thinker} bytes.* {thinker - 1} bytes"):
        check_memory(config, 50, sampling, 4, thinker - 1, speak=True)
    with pytest.raises(OmniError, match=f"--talker-max-new-tokens 200: .*Talker's keys and values take {talker} bytes"):
        check_memory(config, 50, sampling, 4, thinker + talker - 1, speak=True)


def test_this_machine_says_how_much_is_free():
    assert free_device_bytes("CPU") > 1 << 20


@pytest.mark.parametrize("name", ["fused", "baseline"])
def test_both_engines_ask(request, monkeypatch, name):
    engine = request.getfixturevalue(name)
    limit = engine.config.thinker_config.text_config.max_position_embeddings
    with pytest.raises(OmniError, match=f"--thinker-max-new-tokens {limit}: .* beyond the {limit} positions"):
        engine.generate(HELLO, sampling=SamplingParams(thinker_max_new_tokens=limit))
    monkeypatch.setattr("ms_omni.runtime.room.free_device_bytes", lambda device: 1000)
    with pytest.raises(OmniError, match="1000 bytes .* of the device are free"):
        engine.generate(HELLO, sampling=SamplingParams(thinker_max_new_tokens=5))
