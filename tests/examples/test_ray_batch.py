"""examples/ray_batch.py on a Ray of this machine: two actors answer what `ms-omni batch` does, also when one is killed
and after an interrupt. Runs with MS_OMNI_RAY_PYTHON, or this Python where it has Ray."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("MS_OMNI_RAY_PYTHON") or (sys.executable if importlib.util.find_spec("ray") else None)
SETTINGS = ["--seed", "0", "--talker-max-new-tokens", "12", "--max-num-seqs", "2"]
TIMEOUT_S = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PYTHON is None, reason="Ray is missing: examples/ray_requirements.txt, MS_OMNI_RAY_PYTHON"),
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """24 conversations, half of them spoken, one with a picture, one whose picture is missing."""
    lines = [{"text": f"What is your name? ({number})", "speak": number % 2 == 0} for number in range(22)]
    lines.append({"image": str(ROOT / "ms_omni/assets/tiny_shapes.png"), "text": "What do you see?"})
    lines.append({"id": "missing", "image": "missing.png", "text": "What do you see?"})
    path = tmp_path_factory.mktemp("manifest") / "questions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def expected(manifest, tmp_path_factory):
    """What `ms-omni batch` answers."""
    out = tmp_path_factory.mktemp("batch")
    words = ["batch", "--manifest", manifest, "--out", out, *SETTINGS]
    done = subprocess.run([sys.executable, "-m", "ms_omni", *words], cwd=ROOT, timeout=TIMEOUT_S)
    assert done.returncode == 1  # one conversation fails
    return answers(out)


def start(manifest, out):
    words = ["--manifest", manifest, "--out", out, "--actors", "2", "--rows", "6", *SETTINGS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [PYTHON, ROOT / "examples/ray_batch.py", *words]
    return subprocess.Popen(line, env=environment, cwd=out.parent, stderr=subprocess.PIPE, text=True)


def answers(out):
    lines = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    return {line["id"]: line.get("error") or (line["text"], line["token_ids"], samples(line)) for line in lines}


def samples(line):
    import soundfile

    return line["audio"] and soundfile.read(line["audio"]["path"])[0].tolist()


def written(out):
    """When each answer was written, by file name."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "answers").glob("[!.]*.json")}


def actors(driver):
    """Processes of Ray's actors, which are descendants of the driver."""
    parents, found = {}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if b"Answerer" in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
        except OSError:  # it has ended
            continue

    def is_descendant(pid):
        return pid == driver or (pid in parents and is_descendant(parents[pid]))

    return {pid for pid in found if is_descendant(pid)}


def wait_for(what, process):
    limit = time.monotonic() + TIMEOUT_S
    while not what():
        assert process.poll() is None and time.monotonic() < limit, process.stderr.read()
        time.sleep(0.05)


def test_an_interrupt_and_a_killed_actor_cost_no_answer(manifest, expected, tmp_path):
    out = tmp_path / "out"
    first = start(manifest, out)
    wait_for(lambda: len(written(out)) >= 2, first)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=TIMEOUT_S)
    assert first.returncode == 130 and "the same command goes on" in said
    kept = written(out)
    assert len(kept) < len(expected) and not (out / "results.jsonl").exists()

    second = start(manifest, out)
    wait_for(lambda: len(written(out)) >= len(kept) + 2 and len(actors(second.pid)) == 2, second)
    before = actors(second.pid)
    os.kill(min(before), signal.SIGKILL)
    assert len(written(out)) < len(expected), "the actor was killed too late to show anything"
    wait_for(lambda: actors(second.pid) - before, second)
    _, said = second.communicate(timeout=TIMEOUT_S)
    assert second.returncode == 1, said
    assert f"{len(kept)} of {len(expected)} are answered already" in said
    assert "missing: --manifest" not in said and "missing: image" in said
    assert answers(out) == expected
    now = written(out)
    assert {name: now[name] for name in kept if "missing" not in name} == {
        name: stamp for name, stamp in kept.items() if "missing" not in name
    }


def test_a_wrong_line_is_said_before_anything_is_started(tmp_path):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"text": "Hello"}\n{"texxt": "Hello"}\n')
    process = start(wrong, tmp_path / "out")
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith(f"ray_batch: --manifest {wrong} line 2: unknown key 'texxt'"), said
