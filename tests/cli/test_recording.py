"""Recordings longer than one window, from the command line: text, forms, going on, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import soundfile
from batch_results import results

from ms_omni.cli.progress import STAGES
from ms_omni.inputs.audio import read_audio

MEDIA = "tests/tiny/media"
# What the built-in model hears in these
SAYS = {
    "transcript_82_1.wav": "The voice says square car.",
    "transcript_30_1.wav": "The voice says four.",
    "word_41_1.wav": "The voice says boat.",
    "transcript_23_1.wav": "The voice says seven zero.",
}
RATE = 16_000
TASK = ("--task", "speech-recognition")


def long_samples(times=3):
    """Each word, with three seconds of silence behind."""
    quiet = np.zeros(3 * RATE, np.float32)
    parts = [part for name in SAYS for part in (read_audio(f"{MEDIA}/{name}"), quiet)]
    return np.concatenate(parts * times)


TEXT = " ".join([*SAYS.values()] * 3)


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "long.flac"
    soundfile.write(path, long_samples(), RATE)
    return path


@pytest.fixture(scope="module")
def loaded(cpu):
    from ms_omni import OmniEngine

    with OmniEngine.from_pretrained(device="CPU") as engine:
        yield engine


class Shared:
    """The one engine of all commands of this file; counts what it is asked, and fails after so many questions."""

    asked, most, max_num_seqs = 0, 10**9, 2

    def __init__(self, engine):
        self._engine = engine

    def __call__(self, config, progress):
        return self

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def close(self):
        """Others use it."""

    def submit(self, conversation, **options):
        if self.asked >= self.most:
            raise KeyboardInterrupt
        self.asked += 1
        return self._engine.submit(conversation, **options)


@pytest.fixture
def engine(loaded, monkeypatch):
    shared = Shared(loaded)
    module = types.ModuleType("ms_omni.engine")
    module.OmniEngine = shared
    monkeypatch.setitem(sys.modules, "ms_omni.engine", module)
    return shared


@pytest.fixture
def ask(cli, engine, long_file):
    """ask(*flags) -> Result, about the long recording."""
    return lambda *flags: cli("understand", *TASK, "--audio", long_file, *flags)


def test_a_long_recording_goes_by_windows(ask, engine):
    done = ask()
    assert (done.code, done.out) == (0, TEXT + "\n") and engine.asked == 12
    assert ask("--stream").out == TEXT + "\n"


def test_the_document_has_segments(ask):
    document = json.loads(ask("--json").out)
    assert document["text"] == TEXT and document["finish_reason"] == "stop" and document["audio"] is None
    assert [segment["text"] for segment in document["segments"]] == [*SAYS.values()] * 3
    assert document["duration"] == pytest.approx(len(long_samples()) / RATE, abs=0.001)
    ends = [second for segment in document["segments"] for second in (segment["start"], segment["end"])]
    assert ends == sorted(ends)


def test_a_short_one_is_asked_as_any_question(cli, engine):
    done = cli("understand", *TASK, "--audio", f"{MEDIA}/word_41_1.wav", "--json")
    document = json.loads(done.out)
    assert document["text"] == SAYS["word_41_1.wav"] and "segments" not in document and engine.asked == 0


@pytest.mark.parametrize("suffix", [".txt", ".srt", ".vtt", ".json"])
def test_the_text_in_a_file(ask, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert ask("--transcript", path).out == TEXT + "\n"
    written = path.read_text()
    if suffix == ".txt":
        assert written == TEXT + "\n"
    elif suffix == ".json":
        assert [segment["text"] for segment in json.loads(written)["segments"]] == [*SAYS.values()] * 3
    else:
        assert written.startswith("WEBVTT\n\n00:00:00.000 --> " if suffix == ".vtt" else "1\n00:00:00,000 --> ")
        assert written.count("The voice says boat.") == 3 and written.count(" --> ") == 12
    assert os.listdir(tmp_path) == [path.name]


def test_a_short_one_has_a_transcript_too(cli, engine, tmp_path):
    audio = f"{MEDIA}/word_41_1.wav"
    assert cli("understand", *TASK, "--audio", audio, "--transcript", tmp_path / "a.srt").code == 0
    assert (tmp_path / "a.srt").read_text() == "1\n00:00:00,000 --> 00:00:00,810\nThe voice says boat.\n\n"


def test_an_interrupted_run_is_gone_on_with(ask, engine, tmp_path):
    path = tmp_path / "a.srt"
    engine.most = 9
    done = ask("--transcript", path)
    assert done.code == 130 and "the same command goes on where this one stopped" in done.err and not path.exists()
    journal = tmp_path / "a.srt.part.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = len(lines) - 1
    journal.write_bytes(b"".join(lines) + lines[-1][:20])  # a line that a crash has cut
    engine.most, engine.asked = 100, 0
    done = ask("--transcript", path)
    assert done.code == 0 and done.out == TEXT + "\n" and engine.asked == 12 - kept
    assert kept > 3 and f"{kept} windows, 0:" in done.err
    assert path.read_text().count(" --> ") == 12 and os.listdir(tmp_path) == ["a.srt"]


def test_a_journal_of_something_else(ask, engine, cli, long_file, tmp_path):
    path = tmp_path / "a.txt"
    journal = tmp_path / "a.txt.part.jsonl"
    engine.most = 0
    assert ask("--transcript", path).code == 130
    for flags, words in (
        (("--max-new-tokens", "7"), "thinker_max_new_tokens unset, now it is 7"),
        (("--language", "en"), "prompt [["),
        (("--dtype", "float32"), "dtype auto, now it is float32"),
    ):
        done = ask("--transcript", path, *flags)
        assert done.code == 2 and f"--transcript {path}: {journal} holds windows heard with {words}" in done.err
        assert done.err.count("\n") == 1 and engine.asked == 0
    other = tmp_path / "other.wav"
    soundfile.write(other, long_samples()[: 40 * RATE], RATE)
    done = cli("understand", *TASK, "--audio", other, "--transcript", path)
    assert done.code == 2 and "audio " in done.err and engine.asked == 0


def test_answers_that_were_cut_are_told(ask):
    done = ask("--max-new-tokens", "3")
    assert done.out.startswith("The voice says The voice says")
    assert "note: the text of 12 of 12 windows stopped at the maximum of tokens, the first at 0:00" in done.err


def test_translation_asks_its_own_prompt(cli, engine, long_file, monkeypatch):
    prompts = []
    plain = Shared.submit

    def submit(self, conversation, **options):
        prompts.append(conversation[-1]["content"][-1]["text"])
        return plain(self, conversation, **options)

    monkeypatch.setattr(Shared, "submit", submit)
    flags = ("--task", "speech-translation", "--language", "en", "--target-language", "de")
    assert cli("understand", *flags, "--audio", long_file).code == 0
    assert set(prompts) == {"Listen to the provided English speech and produce a translation in German text."}
    assert len(prompts) == 12


def test_progress_in_seconds():
    assert STAGES["recording"] == ("listening", "s")


@pytest.mark.parametrize(
    "flags, words",
    [
        (("--task", "speech-translation", "--audio-out", "a.wav"), "at most 30 s is translated into speech"),
        (("--task", "audio-caption", "--transcript", "a.txt"), "goes with --task speech-recognition or speech-transl"),
        (("--transcript", "a.txt", "--text", "What is said?"), "goes with --task"),
        ((*TASK, "--transcript", "a.doc"), "--transcript a.doc: expected a name that ends with .txt"),
        ((*TASK, "--transcript", "no/where.txt"), "--transcript no/where.txt: the directory no does not exist"),
        (("--task", "speech-translation", "--audio-out", "a.wav", "--transcript", "a.txt"), "excludes --audio-out"),
    ],
)
def test_what_is_refused(user_error, no_engine, long_file, flags, words):
    assert words in user_error("understand", "--audio", long_file, *flags)


def test_a_recording_that_cannot_be_read(user_error, no_engine, tmp_path):
    for name, content in (("a.flac", b"fLaC no sound" * 100), ("b.wav", b"")):
        (tmp_path / name).write_bytes(content)
        assert name in user_error("understand", *TASK, "--audio", tmp_path / name, "--transcript", tmp_path / "a.txt")
    assert sorted(os.listdir(tmp_path)) == ["a.flac", "b.wav"]


def test_lines_of_a_batch(cli, engine, manifest, long_file, tmp_path):
    broken = np.concatenate([long_samples(), np.full(RATE, np.nan, np.float32)])
    soundfile.write(tmp_path / "broken.wav", broken, RATE, subtype="FLOAT")
    path = manifest(
        {"id": "long", "task": "speech-recognition", "audio": str(long_file)},
        {"id": "short", "task": "speech-recognition", "audio": f"{MEDIA}/word_41_1.wav"},
        {"id": "broken", "task": "speech-recognition", "audio": str(tmp_path / "broken.wav")},
        {"id": "spoken", "task": "speech-translation", "audio": str(long_file), "speak": True},
        {"id": "again", "task": "speech-recognition", "audio": str(long_file)},
    )
    command = ("batch", "--manifest", path, "--out", tmp_path / "out")
    assert cli(*command).code == 1
    long, short, failed, spoken, again = results(tmp_path)
    assert long["text"] == again["text"] == TEXT and len(long["segments"]) == 12
    assert short["text"] == SAYS["word_41_1.wav"] and "segments" not in short
    assert "corrupt audio" in failed["error"] and "at most 30 s is translated into speech" in spoken["error"]
    engine.asked = 0
    assert cli(*command).code == 1
    assert engine.asked <= 12  # the broken one is tried again, what was answered is not


@pytest.mark.slow
def test_killed_and_gone_on_with(tmp_path):
    """Twenty minutes; the process is killed as soon as something is written down, five times."""
    soundfile.write(tmp_path / "a.flac", np.tile(long_samples(1), 74), RATE)
    command = [sys.executable, "-m", "ms_omni", "understand", *TASK, "--audio", str(tmp_path / "a.flac")]
    command.append("--transcript")
    subprocess.run([*command, str(tmp_path / "whole.srt")], check=True, capture_output=True, timeout=300)
    journal, counts = tmp_path / "killed.srt.part.jsonl", [0]
    for _ in range(5):
        with subprocess.Popen([*command, str(tmp_path / "killed.srt")], stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while process.poll() is None and _num_lines(journal) <= counts[-1] + 20:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        counts.append(_num_lines(journal))
        assert not (tmp_path / "killed.srt").exists()
    assert counts == sorted(counts) and counts[1] > 0
    subprocess.run([*command, str(tmp_path / "killed.srt")], check=True, capture_output=True, timeout=300)
    assert (tmp_path / "killed.srt").read_text() == (tmp_path / "whole.srt").read_text()
    assert not journal.exists()


def _num_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0
