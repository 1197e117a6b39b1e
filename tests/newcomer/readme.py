"""The blocks and commands of a page, as its text has them, and which of README's are not run, and why."""

import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Beginnings of README's commands that CI does not run as they are written, and why.
NOT_RUN = {
    "source /usr/local/Ascend": "CANN is installed on machines with cards",
    "pip install . mindspore==2.7.1": "launch/test.sh installs this MindSpore; the newest is run",
    "ms-omni launch --cards 2 -- accept": "needs cards; tests/ascend/test_ascend_accept.py runs it over emulated ones",
    "hf download": "downloads 70.5 GB",
    "modelscope download": "downloads 70.5 GB",
    "bash launch/emulated.sh": "test_emulated.py runs it in the environment that the emulator is built for",
}
# Scripts that README names between its blocks.
SCRIPTS_NOT_RUN = {
    "bash launch/test.sh": "the first step of .ci/run",
    "bash launch/serve_demo.sh": "needs Gradio and a browser; tests/demo runs the page",
}
# A checkpoint that would have to be downloaded: what would be started is only shown
RELEASED = "--model Qwen/"
PROGRAMS = ("bash ", "curl ", "docker ", "hf ", "modelscope ", "ms-omni ", "msrun ", "pip ", "python ", "source ")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language ("" where none is named) and its text, without the indentation of a list."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a bash block, with all their lines and comments."""
        joined = self.text.replace("\\\n", "\\\0")
        lines = [line.replace("\\\0", "\\\n").strip() for line in joined.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """In the order of the page, a path below the checkout."""
    text = (ROOT / page).read_text()
    fenced = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    assert text.count("```") == 2 * len(fenced), f"{page}: a fence that is not understood here"
    return [Block(language, textwrap.dedent(inside)) for language, inside in fenced]


def python_program(page: str) -> str:
    return "\n".join(block.text for block in blocks(page) if block.language == "python")


def scripts() -> list[str]:
    """`bash ...` between README's blocks."""
    return re.findall(r"`(bash [^`\n]+)`", (ROOT / "README.md").read_text())


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


def is_whole(command: str) -> bool:
    """Whether bash takes it as it stands: no quote and no here-document goes on in another command."""
    return subprocess.run(["bash", "-n", "-c", command], capture_output=True).stderr == b""
