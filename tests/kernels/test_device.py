"""Choosing the device, with and without an Ascend card in sight."""

import os
import subprocess
import sys

import pytest

from ms_omni.errors import OmniError
from ms_omni.kernels import device as device_module
from ms_omni.kernels import setup_device


def test_auto_is_cpu_where_no_card_is(cpu):
    import mindspore as ms

    assert setup_device() == setup_device("CPU") == "CPU"
    assert ms.get_context("device_target") == "CPU"
    assert not set(device_module.ASCEND_SETTINGS) & set(os.environ)


def test_ascend_asked_for_but_not_there(cpu):
    with pytest.raises(OmniError, match="^--device Ascend: no Ascend card is visible to MindSpore; allowed here: CPU$"):
        setup_device("Ascend")


def test_unknown_device():
    with pytest.raises(OmniError, match="^--device GPU: expected one of auto, CPU, Ascend$"):
        setup_device("GPU")


def test_a_process_stays_on_its_device(cpu, monkeypatch):
    monkeypatch.setattr(device_module, "num_ascend_cards", lambda: 1)
    with pytest.raises(OmniError, match="already runs on CPU; allowed here: CPU"):
        setup_device("Ascend")


def test_a_visible_card_is_chosen_and_nothing_is_filled(monkeypatch):
    """What the user has set of the settings stays, the others are there before MindSpore is bound to the card."""
    for name in device_module.ASCEND_SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("MS_ENABLE_LCCL", "on")
    bound = []
    monkeypatch.setattr(device_module, "num_ascend_cards", lambda: 2)
    monkeypatch.setattr(device_module, "_bind", lambda device: bound.append((device, dict(os.environ))))
    monkeypatch.setattr(device_module, "_prepare_cpu", lambda: pytest.fail("CPU fills on Ascend"))
    assert setup_device() == "Ascend"
    (device, environment), expected = bound[0], device_module.ASCEND_SETTINGS | {"MS_ENABLE_LCCL": "on"}
    assert device == "Ascend" and len(bound) == 1
    assert {name: environment.get(name) for name in expected} == expected


def test_importing_the_package_imports_no_mindspore():
    check = "import sys, ms_omni.kernels, ms_omni.kernels.cpu; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_a_rank_without_a_card_says_how_many_there_are(monkeypatch):
    import mindspore as ms

    def no_such_card(device):
        raise ValueError("The argument 'device_id' must be less than device count: 1, but got 1.")

    monkeypatch.setattr(device_module, "num_ascend_cards", lambda: 1)
    monkeypatch.setattr(ms, "set_device", no_such_card)
    with pytest.raises(OmniError, match="^--device Ascend: no card for this rank, MindSpore sees 1: start 1 "):
        setup_device("Ascend")
