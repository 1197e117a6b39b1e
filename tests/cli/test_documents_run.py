"""What README and docs/python.md tell a user to type does what they say, with the built wheel and far from the
checkout."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
# Beginnings of lines that are not run here, and why.
NOT_RUN = {
    "pip install": "the fixture installs the wheel",
    "source /usr/local/Ascend": "CANN is not here",
    "ms-omni launch --cards 2 -- accept": "needs cards; tests/ascend/test_ascend_accept.py",
    "ms-omni serve": "runs until it is told to end; tests/server/test_server_page.py",
    "curl -s http://127.0.0.1:8901": "likewise",
    "bash launch/emulated.sh": "belongs to the checkout; tests/ascend/test_ascend_product.py",
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs a command line in a directory of its own -> CompletedProcess; only the wheel's files are there."""
    home = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Of a copy: setuptools builds beside the sources, and takes what an older build has left there
    left_out = shutil.ignore_patterns(".*", "build", "*.egg-info", "msrun_log", "demo_output", "__pycache__")
    shutil.copytree(ROOT, home / "source", symlinks=True, ignore=left_out)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", home, home / "source"], check=True)
    (wheel,) = home.glob("ms_omni-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", home / "site", wheel], check=True)
    place = tmp_path_factory.mktemp("elsewhere")
    environment = os.environ | {
        "PYTHONPATH": str(home / "site"),
        "PATH": f"{home / 'site' / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(line, **options):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=place, env=environment, capture_output=True, text=True, timeout=900, **options,
        )  # fmt: skip

    found = run("python -c 'import ms_omni; print(ms_omni.__file__)'")
    assert found.stdout.startswith(str(home)), found
    return run


def blocks(page, language):
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for name, text in fenced if name == language]


def command_lines(page):
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            line = " ".join(line.split("  #")[0].split())
            if line and not line.startswith(tuple(NOT_RUN)):
                # The released model is not here: only shown what would be started
                yield line.replace(" -- ", " --dry-run -- ") if "--model Qwen/" in line else line


def printed_in(page):
    """All lines of the blocks that show what commands print."""
    return [line.strip() for block in blocks(page, "") for line in block.splitlines()]


def test_commands_of_the_readme(shell):
    said = ""
    for line in command_lines("README.md"):
        done = shell(line)
        # doctor: 1 says that this machine is no Ascend machine
        assert done.returncode == 0 or (line.startswith("ms-omni doctor") and done.returncode == 1), (line, done)
        said += done.stdout + done.stderr
    for line in printed_in("README.md"):
        if not line.startswith(("...", "hf ", "modelscope ")) and line:
            assert line in said, line


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_python_of(shell, page):
    assert shell("ms-omni example").returncode == 0
    program = "\n".join(blocks(page, "python"))
    done = shell("python -", input=program)
    assert done.returncode == 0, done.stderr
    assert "I see a red circle, a blue square and a yellow triangle." in done.stdout
    assert not done.stderr, "a quiet import"
    if page == "docs/python.md":
        assert "hello seven" in done.stdout and "blue" in done.stdout.splitlines()[-2]
