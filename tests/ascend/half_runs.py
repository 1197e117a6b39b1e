"""Runs half_states.py and half_answers.py over emulated operators and reads what they left."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def run(program: str, *arguments: str) -> None:
    """In a process of its own, since these programs change how the engine picks; in a folder of its own, since
    MindSpore leaves files where it runs."""
    paths = [str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(HERE / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=mkdtemp())
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@cache
def states(dtype: str, names: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Of half_states.py: conversation -> name -> rows."""
    out = Path(mkdtemp()) / "states.npz"
    run("half_states.py", dtype, str(out), *names)
    found: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    with np.load(out) as arrays:
        for key in arrays.files:
            conversation, _, name = key.partition("/")
            found[conversation][name] = arrays[key]
    return found


@cache
def answers(dtype: str, what: str, names: tuple[str, ...]) -> dict[str, dict]:
    """Of half_answers.py: what it says of each."""
    out = Path(mkdtemp()) / "answers.json"
    run("half_answers.py", dtype, str(out), what, *names)
    return json.loads(out.read_text(encoding="utf-8"))
