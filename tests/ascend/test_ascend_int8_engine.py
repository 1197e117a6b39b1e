"""Engines with 8-bit weights on the emulated card answer with the ids and codes of the CPU's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from int8_answers import CONVERSATIONS, FRAMES, ROOT, answer, engine_of

SAID = {"picture": "I see a red circle, a blue square and a yellow triangle."}


@pytest.fixture(scope="module")
def on_a_cpu(tmp_path_factory):
    """{precision: {conversation: answer}} in float32, of a process of its own: one has one device."""
    folder = tmp_path_factory.mktemp("cpu")
    program, out = str(Path(__file__).with_name("int8_answers.py")), folder / "answers.json"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"}
    line = [sys.executable, program, str(out), "int8,int8-dynamic"]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("quantize", "dtype"),
    [
        ("int8", "bfloat16"),
        pytest.param("int8-dynamic", "bfloat16", marks=pytest.mark.slow),
        pytest.param("int8", "float16", marks=pytest.mark.slow),
    ],
)
def test_answers_are_those_of_a_cpu(ascend, on_a_cpu, quantize, dtype):
    expected = on_a_cpu[quantize]
    with engine_of("Ascend", dtype, quantize) as engine:
        made = {name: answer(engine, name) for name in CONVERSATIONS}
    for name, wanted in expected.items():
        assert len(wanted["codes"][0]) == FRAMES - 1 and len(wanted["ids"]) > 3
        assert made[name]["ids"] == wanted["ids"], (name, made[name]["text"], wanted["text"])
        assert made[name]["text"] == SAID.get(name, wanted["text"])
        assert made[name]["codes"] == wanted["codes"], name
