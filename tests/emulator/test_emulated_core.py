"""What is said when the emulator cannot be built or started. Nothing is built here."""

import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/ascend_emulator"))

import assembly  # noqa: E402
import build  # noqa: E402


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """An installed MindSpore of the right version: folders alone."""
    (tmp_path / "mindspore/lib/plugin").mkdir(parents=True)
    (tmp_path / "mindspore/lib/plugin/libmindspore_ascend.so.2").touch()
    spec = importlib.machinery.ModuleSpec("mindspore", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "mindspore")]
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(build.importlib.metadata, "version", lambda name: "2.7.1")
    monkeypatch.setenv("EMULATED_HOME", str(tmp_path / "home"))
    return tmp_path


def reason() -> str:
    with pytest.raises(build.CannotBuild) as error:
        build.build()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_compiler(wheel, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None if name == "g++" else name)
    assert reason() == "needs g++ and binutils to build: install them (Debian: apt install g++ binutils)"


def test_no_mindspore(monkeypatch):
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    assert reason().startswith(f"no MindSpore in {sys.executable}: install the package")


def test_another_version_of_mindspore(wheel, monkeypatch):
    monkeypatch.setattr(build.importlib.metadata, "version", lambda name: "2.8.0")
    assert reason().endswith("has 2.8.0: install mindspore==2.7.1")


def test_a_wheel_without_the_ascend_plugin(wheel):
    (wheel / "mindspore/lib/plugin/libmindspore_ascend.so.2").unlink()
    assert "has no Ascend plugin" in reason()


def test_another_machine(wheel, monkeypatch):
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    assert reason() == "is for x86-64 Linux, this is aarch64 linux"


def test_what_is_built_is_not_built_again(wheel, monkeypatch):
    made = []

    def make(mindspore, folder):
        made.append(folder)
        (folder / "cann/latest/lib64").mkdir(parents=True)
        (folder / "cann/latest/lib64/libascendcl.so").touch()

    monkeypatch.setattr(build, "make", make)
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    first = build.build()
    assert build.build() == first and len(made) == 1
    assert first.parent == wheel / "home" and not list(first.parent.glob("building_*"))


def test_a_build_that_fails_leaves_nothing(wheel, monkeypatch):
    def make(mindspore, folder):
        folder.mkdir()
        raise build.CannotBuild("g++ failed")

    monkeypatch.setattr(build, "make", make)
    monkeypatch.setattr(build.shutil, "which", lambda name: name)
    assert reason() == "g++ failed"
    assert [path.name for path in (wheel / "home").iterdir()] == ["lock"]


def test_the_digest_follows_the_sources_and_the_version(tmp_path, monkeypatch):
    (tmp_path / "a.cc").write_text("1")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    first = build.digest("2.7.1")
    assert build.digest("2.7.2") != first
    (tmp_path / "a.cc").write_text("2")
    assert build.digest("2.7.1") != first


def test_thunks_adjust_the_object_and_not_the_vector():
    name = "_ZTv0_n48_N9mindspore6device22AbstractDynamicMemPool14AllocTensorMemEmbbj"
    vector = "_ZTv0_n56_N9mindspore6device21DynamicMemPoolBestFit24AllocContinuousTensorMemERKSt6vectorImSaImEEj"
    text = assembly.thunks([name, vector])
    assert f"{name}: mov r10,[rdi]\n add rdi,[r10-48]\n jmp {name.replace('_ZTv0_n48_', '_Z')}@PLT" in text
    assert "mov r10,[rsi]\n add rsi,[r10-56]" in text


def emulated(*command, **settings):
    environment = {**os.environ, **settings}
    script = ROOT / "launch/emulated.sh"
    return subprocess.run(["bash", script, *command], env=environment, capture_output=True, text=True, cwd="/")


def test_the_script_without_a_command():
    done = emulated()
    assert done.returncode == 2 and done.stderr.startswith("usage: launch/emulated.sh COMMAND...")


def test_the_script_without_an_interpreter():
    done = emulated("true", PYTHON="/no/python")
    assert done.returncode == 1 and done.stderr == "PYTHON=/no/python is not an interpreter\n"


def test_the_script_with_an_interpreter_that_has_no_mindspore(tmp_path):
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/bash\nexec "{sys.executable}" -S "$@"\n')  # -S: without the installed packages
    empty.chmod(0o755)
    done = emulated("true", PYTHON=str(empty), PYTHONPATH="")
    assert done.returncode == 1
    assert done.stderr.startswith("Ascend emulator: no MindSpore in ") and done.stderr.count("\n") == 1
