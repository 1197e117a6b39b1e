"""What a profile says of where it was made."""

import json
import subprocess

from ms_omni.checkpoint import built_in
from ms_omni.profiling import environment


def test_commit_says_whether_tracked_files_differ(tmp_path):
    def git(*words):
        settings = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
        return subprocess.run(
            ["git", "-C", tmp_path, *settings, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert environment.commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "untracked").write_text("")
    assert environment.commit(tmp_path) == head
    (tmp_path / "file").write_text("2")
    assert environment.commit(tmp_path) == head + "-dirty"


def test_machine_reads_proc(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("model name\t: Fast One\ncpu family\t: 6\nmodel\t\t: 85\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:       1024 kB\nMemFree: 1 kB\n")
    machine = environment.machine("910B3", 2, tmp_path)
    assert (machine.device, machine.cards, machine.memory_bytes) == ("910B3", 2, 1 << 20)
    assert machine.cpu == "Fast One cpu family 6 model 85"
    assert environment.machine("CPU", 1, tmp_path / "nowhere").memory_bytes == 0


def test_a_random_checkpoint_is_called_random(tiny_dir, monkeypatch):
    monkeypatch.delenv("EMULATED", raising=False)
    model = environment.model(tiny_dir)
    config = json.loads((tiny_dir / "config.json").read_text())
    assert model.weights == "random"
    assert model.config["thinker"]["hidden_size"] == config["thinker_config"]["text_config"]["hidden_size"]
    assert environment.caveats("CPU", model) == ["CPU", "random weights"]
    assert environment.caveats("910B3", model) == ["random weights"]
    monkeypatch.setenv("EMULATED", "1")
    assert environment.caveats("910B3", model) == ["emulated operators, no card", "random weights"]
    assert environment.caveats("CPU", model) == ["CPU", "random weights"]
    monkeypatch.delenv("EMULATED")


def test_the_built_in_model_is_named_and_counted():
    model = environment.model(built_in.DIRECTORY)
    assert (model.name, model.weights) == ("built-in tiny model", "built in")
    assert 7_600_000 < model.parameters < 7_800_000
    assert environment.caveats("CPU", model) == ["CPU", "built-in tiny model"]


def test_versions_name_what_computes():
    assert {"ms_omni", "python", "mindspore", "mindone", "transformers", "numpy"} <= set(environment.versions())
