"""Graphs kept on disk: the right graph in whatever order a process compiles, or none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ms_omni import OmniError
from ms_omni.config import EngineConfig

PROCESS = Path(__file__).with_name("graph_cache_process.py")


@pytest.fixture
def graph_cache(cpu, monkeypatch):
    from ms_omni.runtime.graph_cache import GraphCache

    monkeypatch.setattr(GraphCache, "_of_this_process", None)

    def open_new(root, *identity):
        monkeypatch.setattr(GraphCache, "_of_this_process", None)
        return GraphCache.open(root, *identity)

    return open_new


def compile_all(cache, names, rank=0):
    """MindSpore's part: a file by number if the cache is on. Returns what each graph went through."""
    import os

    files, seen = cache.directory / f"rank_{rank}" / "graph_cache", []
    files.mkdir(parents=True, exist_ok=True)
    number = 0
    for name in names:
        with cache.compiling(name):
            if os.environ.get("MS_COMPILER_CACHE_ENABLE") != "1":
                seen.append("plain")
                continue
            file = files / f"compile_cache_{number}.mindir"
            number += 1
            seen.append(file.read_text() if file.exists() else "new")
            file.write_text(name)
    return seen


def close(cache):
    cache._lock.close()


def test_a_graph_is_taken_only_in_its_place(graph_cache, tmp_path):
    for names, seen in (
        ("ab", ["new", "new"]),
        ("ab", ["a", "b"]),
        ("ba", ["plain", "a"]),
        ("acb", ["a", "plain", "b"]),
        ("abd", ["a", "b", "new"]),
        ("xabd", ["plain", "a", "b", "d"]),
    ):
        cache = graph_cache(tmp_path, "sizes")
        assert compile_all(cache, names) == seen
        assert cache.hits == sum(name == found for name, found in zip(names, seen, strict=True))
        close(cache)


def test_other_sizes_have_another_directory(graph_cache, tmp_path):
    caches = [graph_cache(tmp_path, sizes, "float32") for sizes in ("one", "two")]
    assert caches[0].directory != caches[1].directory
    for cache in caches:
        close(cache)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_file_that_the_list_does_not_know_is_not_read(graph_cache, tmp_path, rank):
    cache = graph_cache(tmp_path)
    compile_all(cache, "a", rank)
    close(cache)
    (cache.directory / f"rank_{rank}" / "graph_cache" / "compile_cache_1.mindir").write_text("half a graph")
    cache = graph_cache(tmp_path)
    assert compile_all(cache, "ab", rank) == ["a", "new"]
    close(cache)


def test_two_processes_do_not_share_one(graph_cache, tmp_path, caplog):
    first = graph_cache(tmp_path)
    assert graph_cache(tmp_path) is None
    assert "another process is using it" in caplog.text
    close(first)


def test_the_users_own_setting_comes_back(graph_cache, tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("MS_COMPILER_CACHE_PATH", "mine")
    cache = graph_cache(tmp_path)
    with cache.compiling("a"):
        assert os.environ["MS_COMPILER_CACHE_PATH"] == str(cache.directory)
    assert os.environ["MS_COMPILER_CACHE_PATH"] == "mine" and "MS_COMPILER_CACHE_ENABLE" not in os.environ
    close(cache)


def test_bad_settings(graph_cache, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OmniError, match="--compile-cache .*file: cannot be written"):
        graph_cache(tmp_path / "file")
    with pytest.raises(OmniError, match="--compile-cache x: --engine mindone compiles no graphs"):
        EngineConfig(model="m", engine="mindone", compile_cache="x")


@pytest.mark.slow  # four processes
def test_the_same_answers_in_any_order(tiny_dir, tmp_path):
    def answers(*kinds, directory=tmp_path / "graphs"):
        command = [sys.executable, str(PROCESS), str(tiny_dir), str(directory), *kinds]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def written():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "graphs").rglob("*.mindir")}

    without = answers("spoken", "long_text", "short_text", directory="")["answers"]
    first, files = answers("spoken", "long_text"), written()
    again = answers("spoken", "long_text")
    assert len(files) == 2 and written() == files  # Thinker and Talker, whatever the length
    text = answers("short_text", "long_text")  # without the Talker's graph, which has weights of the Thinker's, too
    for made in (first, again, text):
        assert made["answers"] == {kind: without[kind] for kind in made["answers"]}
    assert (first["hits"], again["hits"], text["hits"]) == (0, 2, 1)
