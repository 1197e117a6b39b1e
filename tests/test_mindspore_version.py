"""Which MindSpore is taken: the same as the package declares, and one clear line for another one."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from ms_omni.errors import OmniError
from ms_omni.kernels import setup_device
from ms_omni.mindspore_version import SUPPORTED, TESTED

ROOT = Path(__file__).resolve().parents[1]


def test_the_range_is_that_of_the_package():
    assert f'"mindspore{SUPPORTED}"' in (ROOT / "pyproject.toml").read_text()
    assert f"mindspore=={TESTED}" in (ROOT / "launch/setup.sh").read_text()


@pytest.mark.parametrize("version", ["2.7.0", "2.6.0", "2.11.0", "2.11.0rc1", "3.0"])
def test_another_mindspore_is_one_line(monkeypatch, version):
    monkeypatch.setattr(metadata, "version", {"mindspore": version}.__getitem__)
    line = f'mindspore {version} is installed: expected >=2.7.1,<2.11; pip install "mindspore==2.7.1"'
    with pytest.raises(OmniError, match=re.escape(line)):
        setup_device("CPU")


@pytest.mark.parametrize("version", ["2.7.1", "2.7.1.post1", "2.7.2", "2.8.0", "2.9.0", "2.10.0", "2.10.1"])
def test_supported_ones_are_taken(monkeypatch, version, cpu):
    monkeypatch.setattr(metadata, "version", {"mindspore": version}.__getitem__)
    assert setup_device("CPU") == "CPU"
