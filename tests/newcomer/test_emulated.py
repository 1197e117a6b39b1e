"""README's command over emulated operators, in the environment that the emulator's libraries are built for."""

import os
import platform
import shutil
import subprocess
import sys

import pytest
from readme import ROOT, blocks

pytestmark = pytest.mark.slow


@pytest.mark.skipif(shutil.which("g++") is None or platform.machine() != "x86_64", reason="needs g++ on x86-64")
def test_emulated():
    (command,) = (
        command for block in blocks("README.md") for command in block.commands if command.startswith("bash launch/emu")
    )
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("I see a red circle, a blue square"), done
