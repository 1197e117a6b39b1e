"""Tests on an emulated card: collected only inside `launch/emulated.sh python -m pytest tests/ascend`."""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "reference"), str(TESTS.parent / "docs" / "tiny")]

if os.environ.get("EMULATED") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def ascend():
    """MindSpore on the emulated card. It launches asynchronously, as it does unless somebody asks for blocking."""
    from ms_omni.kernels import setup_device
    from ms_omni.runtime.card import start_card

    assert setup_device("Ascend") == "Ascend"
    start_card()
