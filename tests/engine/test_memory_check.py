"""A checkpoint that cannot fit is refused before it is read, with what would work."""

import pytest

from ms_omni import OmniEngine, OmniError
from ms_omni.checkpoint.config import read_config
from ms_omni.config import EngineConfig
from ms_omni.memory_check import check_weights
from ms_omni.planning.model import plan_config
from ms_omni.planning.precision import Precision
from ms_omni.runtime.device_memory import GIB

ALL_MODES = "--parallel zero3 or ep or tp"


def check(settings, config, mode, cards, free_bytes, dtype, quantize="none", device="Ascend"):
    check_weights(settings, config, mode, cards, Precision(dtype, quantize, device), free_bytes)


def refused(settings, config, mode, cards, device, free_gib):
    dtype = "float32" if device == "CPU" else "bfloat16"
    with pytest.raises(OmniError) as error:
        check(EngineConfig(model="m", **settings), config, mode, cards, int(free_gib * GIB), dtype, device=device)
    return str(error.value)


@pytest.fixture(scope="module")
def instruct():
    return plan_config("instruct")  # 70.5 GB = 65.7 GiB; its Thinker alone is 59.1 GiB


def test_what_fits_is_let_through(instruct):
    settings = EngineConfig(model="m")
    check(settings, instruct, "none", 1, 66 * GIB, "bfloat16")
    check(settings, instruct, "ep", 2, 40 * GIB, "bfloat16")
    check(settings, instruct, "none", 1, None, "bfloat16")


@pytest.mark.parametrize(
    ("settings", "mode", "cards", "free_gib", "parts"),
    [
        ({}, "none", 1, 62, ["--model m: its weights need 65.7 GiB", "none on 1 card,", "62 GiB are free",
                             f"--cards 2 and {ALL_MODES}", "without the Talker (no --audio-out)"]),
        ({}, "none", 1, 20, ["--cards 4 and --parallel zero3 or tp"]),
        ({"parallel": "ep"}, "ep", 2, 30, ["--parallel ep on 2 cards", f"--cards 4 and {ALL_MODES}"]),
        ({"engine": "mindone", "parallel": "zero3"}, "zero3", 2, 30, ["--cards 4 and --parallel zero3"]),
        ({}, "none", 1, 1, ["more free memory is needed"]),
    ],
)  # fmt: skip
def test_cards_that_are_too_small(instruct, settings, mode, cards, free_gib, parts):
    message = refused(settings, instruct, mode, cards, "Ascend", free_gib)
    assert all(part in message for part in parts), message


def test_more_processes_are_no_more_memory_on_a_cpu(instruct):
    message = refused({"with_talker": False}, instruct, "none", 1, "CPU", 30)
    assert message.endswith("; more free memory is needed")


def test_an_engine_asks_before_it_loads(tiny_dir, cpu, monkeypatch):
    monkeypatch.setattr("ms_omni.runtime.device_memory.free_device_bytes", lambda device: 1000)
    monkeypatch.setattr("ms_omni.loading._make_executor", lambda *_: pytest.fail("loaded"))
    with pytest.raises(OmniError, match=f"--model {tiny_dir}: its weights need"):
        OmniEngine.from_pretrained(tiny_dir, device="CPU")
    assert read_config(tiny_dir).enable_audio_output


def test_8_bit_weights_are_counted_and_suggested(instruct):
    """37.5 GB = 34.9 GiB."""
    check(EngineConfig(model="m"), instruct, "none", 1, 36 * GIB, "bfloat16", "int8")
    message = refused({}, instruct, "none", 1, "Ascend", 36)
    assert "its weights need 65.7 GiB" in message and ", or with --quantize int8" in message
    assert "--quantize" not in refused({"engine": "mindone", "parallel": "zero3"}, instruct, "none", 1, "Ascend", 36)
    assert "--quantize" not in refused({}, instruct, "none", 1, "Ascend", 30)
    with pytest.raises(OmniError, match="need 131 GiB of each device") as error:  # a card has no such products
        check(EngineConfig(model="m"), instruct, "none", 1, 60 * GIB, "float32")
    assert "--quantize" not in str(error.value)
    with pytest.raises(
        OmniError, match=r"need 34.9 GiB of each device with --parallel none --quantize int8 on"
    ) as error:
        check(EngineConfig(model="m"), instruct, "none", 1, 30 * GIB, "bfloat16", "int8")
    assert "with --quantize" not in str(error.value) and "--cards 2 and --parallel" in str(error.value)


def test_an_engine_with_8_bit_weights_asks_for_less(tiny_dir, cpu, monkeypatch):
    asked = []
    monkeypatch.setattr("ms_omni.memory_check.check_weights", lambda *args: asked.append(args[-2].quantize))
    monkeypatch.setattr("ms_omni.loading._make_executor", lambda *_: pytest.fail("asked"))
    for quantize, expected in (("auto", "none"), ("int8", "int8")):
        with pytest.raises(pytest.fail.Exception, match="asked"):
            OmniEngine.from_pretrained(tiny_dir, device="CPU", quantize=quantize)
        assert asked.pop() == expected
