"""Whose media are read: from the flags to the engine, and what is refused before anything is loaded."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import ms_omni
from ms_omni import MediaAccess, OmniEngine, OmniError, process_mm_info
from ms_omni.cli.engine_settings import media_access

PICTURE = Path(ms_omni.__file__).parent / "assets" / "shapes.png"
INSIDE = "http://127.0.0.1:9/a.png"


@pytest.fixture
def folder(tmp_path):
    """A directory of media, with a picture."""
    media = tmp_path / "media"
    media.mkdir()
    shutil.copy(PICTURE, media / "a.png")
    return media


def conversation(path, *media):
    parts = [{"type": "image", "image": str(medium)} for medium in media]
    path.write_text(json.dumps([{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]))
    return path


FLAGS = ["--allowed-media-domain=A.test", "--allowed-media-domain=b.test", "--allowed-media-network=10.1.0.0/16"]


@pytest.mark.parametrize("command", ["understand", "batch"])
def test_the_flags_reach_the_engine(command, cli, fake_engine, tiny_dir, folder, tmp_path):
    words = ["--text", "Hi"]
    if command == "batch":
        (tmp_path / "m.jsonl").write_text('{"text": "Hi"}\n')
        words = ["--manifest", tmp_path / "m.jsonl", "--out", tmp_path / "out"]
    done = cli(command, "--model", tiny_dir, *words, f"--allowed-local-media-path={folder}", *FLAGS)
    assert done.code == 0, done.err
    expected = MediaAccess(
        restricted=True, local_directory=str(folder), domains=("a.test", "b.test"), networks=("10.1.0.0/16",)
    )
    assert fake_engine.loaded["media_access"] == expected
    (tmp_path / "s.yaml").write_text("allowed_media_domain: [a.test, b.test]\nallowed_media_network: 10.1.0.0/16\n")
    more = ["--restart"] if command == "batch" else []
    assert cli(command, "--model", tiny_dir, *words, *more, "--config", tmp_path / "s.yaml").code == 0
    assert fake_engine.loaded["media_access"] == MediaAccess(
        restricted=True, domains=("a.test", "b.test"), networks=("10.1.0.0/16",)
    )
    assert cli(command, "--model", tiny_dir, *words, *more).code == 0
    assert fake_engine.loaded["media_access"] == MediaAccess()


def test_a_server_is_restricted_without_any_flag():
    assert media_access({}) == MediaAccess() and media_access({}, restricted=True) == MediaAccess(restricted=True)


@pytest.mark.parametrize("flags", [FLAGS[:1], FLAGS[2:], []])
def test_local_media_are_refused_before_loading(flags, user_error, tiny_dir, folder, tmp_path):
    flags = flags or [f"--allowed-local-media-path={folder}"]
    file = conversation(tmp_path / "c.json", PICTURE)
    for words in (["--conversation", file], ["--text", "Hi", "--image", PICTURE]):  # named by whomever
        said = user_error("understand", "--model", tiny_dir, *words, *flags)
        assert f"image {PICTURE}: is not allowed; allowed are http(s) from " in said


def test_counts_are_refused_before_loading(user_error, tiny_dir, folder, tmp_path):
    file = conversation(tmp_path / "c.json", *[folder / "a.png"] * 65)
    said = user_error("understand", "--model", tiny_dir, "--conversation", file, f"--allowed-local-media-path={folder}")
    assert "conversation: 65 media; at most 64 are allowed" in said


def test_flags_that_mean_nothing(user_error, tiny_dir, folder):
    words = ["understand", "--model", tiny_dir, "--text", "Hi"]
    assert "--allowed-local-media-path /: expected" in user_error(*words, "--allowed-local-media-path", "/")
    assert "--allowed-media-domain x:1: expected" in user_error(*words, "--allowed-media-domain", "x:1")
    assert "--allowed-media-network 300.1.1.1: expected" in user_error(*words, "--allowed-media-network", "300.1.1.1")
    reader = ["--media-reader", "qwen_omni_utils", "--allowed-local-media-path", folder]
    refused = "--media-reader qwen_omni_utils: opens whatever it is given"
    assert refused in user_error(*words, *reader)
    assert refused in user_error("serve", "--model", tiny_dir, *reader[:2])  # always restricted


@pytest.mark.parametrize("command", ["understand", "batch"])
def test_a_reader_that_is_not_installed(command, user_error, no_engine, manifest, tiny_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "qwen_omni_utils", None)
    words = ["--text", "Hi"]
    if command == "batch":
        words = ["--manifest", manifest({"text": "Hi"}), "--out", tmp_path / "out"]
    reader = "--media-reader qwen_omni_utils"
    said = user_error(command, "--model", tiny_dir, *words, *reader.split())
    assert f"{reader}: this package is not installed; pip install 'ms-omni[qwen-omni-utils]'," in said


def test_a_manifest_of_others(cli, tiny_dir, folder, tmp_path):
    """With the real engine: what is refused costs its own line, and other limits make no answer another one."""
    lines = [
        {"id": "good", "text": "What is it?", "image": str(folder / "a.png")},
        {"id": "file", "image": str(PICTURE)},
        {"id": "inside", "image": INSIDE},
        {"id": "frames", "conversation": [{"role": "user", "content": [{"type": "video", "video": ["/etc/passwd"]}]}]},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["batch", "--model", tiny_dir, "--manifest", tmp_path / "m.jsonl", "--out", tmp_path / "out"]
    words += ["--thinker-max-new-tokens", "2", "--seed", "1"]
    done = cli(*words, f"--allowed-local-media-path={folder}")
    assert done.code == 1 and "is not allowed; this and 1 more such line will fail" in done.err.replace(
        "; allowed are http(s) from public addresses, data: URIs and local files below the allowed directory", "", 1
    )
    text = (tmp_path / "out" / "results.jsonl").read_text()
    results = {line["id"]: line for line in map(json.loads, text.splitlines())}
    assert "text" in results["good"]
    for name, reason in (
        ("file", "is not allowed"),
        ("inside", "cannot be fetched; allowed"),
        ("frames", "is not allowed"),
    ):
        assert reason in results[name]["error"] and "root:" not in results[name]["error"]
    (tmp_path / "m.jsonl").write_text(json.dumps(lines[0]) + "\n")
    for flags in ([], [f"--allowed-local-media-path={tmp_path}"]):
        again = cli(*words, *flags)
        assert again.code == 0 and "all 1 are answered already" in again.err


def test_in_python(tiny_dir, folder):
    access = MediaAccess(restricted=True, local_directory=str(folder))
    with OmniEngine.from_pretrained(tiny_dir, with_talker=False, device="CPU", media_access=access) as engine:
        for medium in (str(PICTURE), INSIDE):
            with pytest.raises(OmniError, match="allowed are http"):
                engine.generate([{"role": "user", "content": [{"type": "image", "image": medium}]}])
    with pytest.raises(OmniError, match="is not allowed"):
        process_mm_info(
            [{"role": "user", "content": [{"type": "audio", "audio": "/etc/passwd"}]}], False, access=access
        )
