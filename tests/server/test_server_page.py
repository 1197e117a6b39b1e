"""What docs/server.md tells a user to send is answered, by a server as the page starts it."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from process import served

ROOT = Path(__file__).parents[2]
NAME = "I am a tiny model"
pytestmark = pytest.mark.slow


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs/server.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with the example's media, and a server at the port of the pages."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 8901)) == 0:
            pytest.skip("something listens at port 8901 already")
    place = tmp_path_factory.mktemp("page")
    subprocess.run([sys.executable, "-m", "ms_omni", "example"], cwd=place, check=True)
    with served("--port", "8901") as server:
        server.url = "http://127.0.0.1:8901"
        server.wait_until_ready()
        yield place


def run(command, place, **options):
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done
    return done.stdout


def test_curl(place):
    lines = [block for block in blocks("bash") if "curl" in block]
    (command,) = (block[block.index("curl") :] for block in lines)
    answer = json.loads(run(["bash", "-c", command], place))
    assert answer["choices"][0]["message"]["content"].startswith(NAME)


def test_openai_python(place):
    (place / "program.py").write_text("\n".join(blocks("python")))
    first, second, third = run([sys.executable, "program.py"], place).strip().splitlines()
    assert first == second == "I see a red circle, a blue square and a yellow triangle."
    assert re.fullmatch(r"[23]\.\d s of speech", third) and (place / "answer.wav").stat().st_size > 100_000


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_javascript(place):
    (place / "program.mjs").write_text("\n".join(blocks("javascript")))
    assert run(["node", "program.mjs"], place).startswith(NAME)
