"""A long manifest of all tasks, a tenth of its media broken, killed again and again: what is there at the end is what
an undisturbed run leaves, every row once."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from PIL import Image

from ms_omni.checkpoint import built_in
from ms_omni.tasks import TASKS

NUM_ROWS, NUM_KILLS = 200, 10
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
QUESTIONS = {"image": "Which colour is the square?", "video": "What does the voice say?"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The manifest; every tenth row has a medium that is missing, empty or none."""
    place = tmp_path_factory.mktemp("rows")
    names = {"image": "shapes.png", "audio": "words.wav", "video": "ball.mp4"}
    for name in names.values():
        shutil.copyfile(built_in.DIRECTORY.parent / f"tiny_{name}", place / name)
    (place / "empty").write_bytes(b"")
    (place / "noise").write_bytes(random.Random(0).randbytes(4000))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)).save(place / "photo.png")
    soundfile.write(place / "tone.wav", np.sin(np.arange(24000) / 10).astype(np.float32) / 4, 16000)
    others = {"image": ("shapes.png", "photo.png"), "audio": ("words.wav", "tone.wav"), "video": ("ball.mp4",)}
    tasks = [task for task in TASKS.values() if not task.captions]
    lines = []
    for index in range(NUM_ROWS):
        task = tasks[index % len(tasks)]
        kind = task.media[index // len(tasks) % len(task.media)]
        medium = (
            ("gone", "empty", "noise")[index // 10 % 3] if index % 10 == 3 else others[kind][index % len(others[kind])]
        )
        line = {"id": f"row-{index:03d}", "task": task.name, kind: medium}
        if task.question == "required":
            line["text"] = QUESTIONS[kind]
        if task.takes_tools:
            line["tools"] = TOOLS
        if task.takes_language and index % 2:
            line["language"] = "en"
        lines.append(json.dumps(line))
    path = place / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def start(path, out, cards):
    batch = ["batch", "--manifest", path, "--out", out, "--device", "CPU", "--seed", "1"]
    launch = ["launch", "--cards", str(cards), "--group-size", "1", "--"] if cards > 1 else []
    words = [sys.executable, "-m", "ms_omni", *launch, *batch]
    with (out.parent / "log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, cwd=out.parent, start_new_session=True)


def answered(out):
    return len(list((out / "answers").glob("*.json"))) if (out / "answers").is_dir() else 0


def kill_after(process, out, count):
    """SIGKILL to all of its processes once so many rows are answered. Whether it came before the end."""
    while process.poll() is None and answered(out) < count:
        time.sleep(0.02)
    is_killed = process.poll() is None
    if is_killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return is_killed


def lines_of(out):
    """Of results.jsonl, without what no two runs have in common."""
    found = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "stats"} for line in found]


@pytest.fixture(scope="module")
def undisturbed(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert start(rows, out, 1).wait(600) == 1, "some rows fail"
    return lines_of(out)


@pytest.mark.slow
@pytest.mark.parametrize("cards", [1, *(pytest.param(cards, marks=pytest.mark.long) for cards in (2, 4))])
def test_a_killed_batch_ends_as_an_undisturbed_one(rows, undisturbed, tmp_path, cards):
    out = tmp_path / "out"
    points, seen = sorted(random.Random(cards).sample(range(NUM_ROWS - 30), NUM_KILLS)), []
    for point in points:
        seen.append(answered(out))
        assert kill_after(start(rows, out, cards), out, point + 1)
        assert not (out / "results.jsonl").exists()
    assert seen == sorted(seen), "nothing that was answered is lost"
    assert start(rows, out, cards).wait(600) == 1, "some rows fail"
    found = lines_of(out)
    assert [line["id"] for line in found] == [f"row-{index:03d}" for index in range(NUM_ROWS)]
    failed = [line["id"] for line in found if "error" in line]
    assert failed == [f"row-{index:03d}" for index in range(3, NUM_ROWS, 10)]
    assert found == undisturbed
    assert {line["text"] for line in found if "text" in line} > {"The voice says hello seven.", "I don't know."}
