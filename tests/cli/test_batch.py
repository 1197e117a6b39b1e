"""`batch`: what a manifest may hold, what is answered by whom, what is kept, and what ends up where."""

import json
import os
import subprocess
import sys
from queue import SimpleQueue

import numpy as np
import pytest
import soundfile
from batch_results import results
from fake_terminal import Terminal
from PIL import Image

from ms_omni.cli.batch import own_items
from ms_omni.cli.batch.conversations import ConversationLines
from ms_omni.cli.batch.file import read_items
from ms_omni.cli.batch.item import Answer
from ms_omni.cli.batch.progress import BatchProgress
from ms_omni.cli.batch.store import AnswerCollector, AnswerStore
from ms_omni.cli.progress import INTERVAL_VARIABLE
from ms_omni.cli.settings import yaml_keys
from ms_omni.cli.voices import Voices
from ms_omni.config import EngineConfig, SamplingParams
from ms_omni.errors import OmniError
from ms_omni.outputs import OmniOutput, Usage
from ms_omni.parallel.job import _PROGRESS, Job
from ms_omni.parallel.world import RANK_VARIABLES, World
from ms_omni.scheduling.request import EngineStopped, RequestHandle


def read(path):
    """Of a manifest of conversations."""
    return read_items(path, ConversationLines({"return_audio": False}, Voices(path, [])), None)


def lines(*texts):
    return [{"id": text, "text": text} for text in texts]


def test_a_document_for_each_line_in_order(batch, asked, manifest, tmp_path):
    conversation = [{"role": "user", "content": [{"type": "text", "text": "b\u2028b"}]}]
    path = manifest({"id": "z", "text": "a"}, "", {"conversation": conversation}, {"id": "ä", "text": "c"})
    done = batch(path)
    assert (done.code, done.out) == (0, "") and "3 of 3 done, " in done.err and "9 tokens in " in done.err
    assert asked == ["a", "b\u2028b", "c"]
    documents = results(tmp_path)
    assert [(doc["id"], doc["text"]) for doc in documents] == [("z", "to a"), ("000003", "to b\u2028b"), ("ä", "to c")]
    assert set(documents[0]) == {"id", *OmniOutput("", (), "stop", Usage(1, 1)).to_dict()}
    assert sorted(os.listdir(tmp_path / "out")) == ["answers", "results.jsonl"]


def test_every_setting_reaches_the_engine_and_a_line_overrides_it(batch, fake_engine, asked, manifest, tmp_path):
    path = manifest({"text": "a"}, {"text": "b", "speak": False, "speaker": "Aiden", "use_audio_in_video": False})
    words = [
        "--speak",
        "--speaker",
        "Chelsie",
        "--use-audio-in-video",
        "--fps",
        "1.5",
        "--seed",
        "4",
        "--dtype=float32",
    ]
    assert batch(path, *words, "--parallel", "none", "--min-pixels", "11", "--max-pixels=12").code == 0
    assert fake_engine.loaded["with_talker"] is True and fake_engine.loaded["dtype"] == "float32"
    assert (fake_engine.loaded["min_pixels"], fake_engine.loaded["max_pixels"]) == (11, 12)
    last = {key: value for key, value in fake_engine.asked.items() if key != "conversation"}
    pieces = {"first_chunk_frames": 300, "chunk_frames": 300}
    common = {"fps": 1.5, "sampling": SamplingParams(seed=4), **pieces}
    assert last == {"return_audio": False, "speaker": "Aiden", "use_audio_in_video": False, **common}
    assert batch(manifest({"text": "a"}), *words, "--restart").code == 0
    last = {key: value for key, value in fake_engine.asked.items() if key != "conversation"}
    assert last == {"return_audio": True, "speaker": "Chelsie", "use_audio_in_video": True, **common}


def test_every_setting_has_a_flag():
    fields = {*SamplingParams.__dataclass_fields__, *EngineConfig.__dataclass_fields__} - {
        "with_talker",
        "warm_up",
        "media_access",
    }
    assert fields | {"manifest", "out", "speak", "time_out", "fps"} <= yaml_keys("batch")
    assert not {"restart", "text", "audio_out", "stream"} & yaml_keys("batch")


def test_settings_from_a_file(batch, fake_engine, asked, manifest, tmp_path):
    (tmp_path / "s.yaml").write_text("seed: 3\nspeak: true\n")
    assert batch(manifest({"text": "a"}), "--config", tmp_path / "s.yaml", "--seed", "5").code == 0
    assert fake_engine.asked["sampling"].seed == 5 and fake_engine.asked["return_audio"] is True
    (tmp_path / "s.yaml").write_text("restart: true\n")
    done = batch(manifest({"text": "a"}), "--config", tmp_path / "s.yaml")
    assert done.code == 2 and "'restart'" in done.err


def test_without_speech_the_talker_is_not_loaded(batch, fake_engine, asked, manifest):
    assert batch(manifest(*lines("a"))).code == 0 and fake_engine.loaded["with_talker"] is False


def test_waves_where_speech_is_asked_for(batch, asked, manifest, tmp_path):
    assert batch(manifest({"id": "a", "text": "a", "speak": True}, *lines("b"))).code == 0
    spoken, silent = results(tmp_path)
    assert silent["audio"] is None and spoken["audio"]["path"] == str(tmp_path / "out" / "a.wav")
    samples, rate = soundfile.read(spoken["audio"]["path"], dtype="float32")
    assert rate == 24000 and sorted(os.listdir(tmp_path / "out")) == ["a.wav", "answers", "results.jsonl"]
    np.testing.assert_allclose(samples, np.linspace(-1, 1, 3285), atol=1e-6)


def test_failures_are_recorded_and_tried_again(batch, asked, manifest, tmp_path):
    path = manifest(*lines("a", "OmniError", "RuntimeError", "b"))
    done = batch(path)
    assert done.code == 1 and "ms-omni: OmniError: is too long\n" in done.err
    assert "4 of 4 done, 2 failed" in done.err and "2 of 4 conversations failed; " in done.err.splitlines()[-1]
    assert [doc.get("error") for doc in results(tmp_path)] == [
        None, "is too long", "internal error: RuntimeError: is too long", None,
    ]  # fmt: skip
    asked.clear()
    assert batch(path).code == 1 and asked == ["OmniError", "RuntimeError"]


def test_an_engine_that_stops_ends_the_batch_and_fails_no_line(batch, asked, fake_engine, manifest, tmp_path):
    plain = fake_engine.submit

    def submit(self, conversation, **options):
        if len(asked) == 2:
            raise EngineStopped("the engine has stopped (ExecutorLost: gone) and must be loaded again")
        return plain(self, conversation, **options)

    fake_engine.submit = submit
    done = batch(manifest(*lines("a", "b", "c")))
    assert done.code == 2 and done.err.endswith(
        "the engine has stopped (ExecutorLost: gone) and must be loaded again\n"
    )
    assert not (tmp_path / "out" / "results.jsonl").exists() and fake_engine.closed == 1


def test_so_many_are_under_way_and_all_are_ended(batch, fake_engine, manifest, monkeypatch, tmp_path):
    """Two at a time and a few ahead; answers come last first; the interrupt ends the rest."""
    under_way, most = [], []

    def submit(self, conversation, **options):
        under_way.append(RequestHandle())
        most.append(len(under_way) - sum(handle.done for handle in under_way))
        return under_way[-1]

    def answer_the_last(queue, timeout):
        left = [handle for handle in under_way if not handle.done]
        if len(under_way) == 9:
            left[-1].fail(KeyboardInterrupt())
        else:
            left[-1].finish(self_answer())
        return plain(queue, timeout=timeout)

    def self_answer():
        return OmniOutput("x", (1,), "stop", Usage(1, 1))

    class Queue(SimpleQueue):
        def get(self, timeout):
            return answer_the_last(self, timeout)

    plain = SimpleQueue.get
    monkeypatch.setattr("ms_omni.cli.batch.in_flight.SimpleQueue", Queue)
    fake_engine.submit = submit
    assert batch(manifest(*lines(*"abcdefghijkl"))).code == 130
    assert most == [1, 2, 3, 4, 5, 6, 6, 6, 6] and all(handle.done for handle in under_way)
    assert sorted(os.listdir(tmp_path / "out" / "answers")) == ["f.json", "g.json", "h.json"]


@pytest.mark.parametrize(("flags", "said"), [((), True), (("--max-num-seqs", "3"), False)])
def test_how_many_at_a_time_is_said_where_it_was_not_given(batch, asked, fake_engine, manifest, flags, said):
    done = batch(manifest(*lines("a")), *flags)
    assert ("--max-num-seqs 2: as many conversations are answered at a time\n" in done.err) == said
    assert fake_engine.loaded["max_num_seqs"] == (None if said else 3) and fake_engine.closed == 1


def test_an_interrupted_batch_goes_on_where_it_ended(batch, asked, manifest, tmp_path):
    done = batch(manifest(*lines("a", "b", "KeyboardInterrupt", "c")))
    assert done.code == 130
    assert done.err.endswith("ms-omni: interrupted; the same command goes on where this one stopped\n")
    assert not (tmp_path / "out" / "results.jsonl").exists()
    asked.clear()
    done = batch(manifest(*lines("a", "b", "x", "c")))
    assert done.code == 0 and "2 of 4 are answered already" in done.err and asked == ["x", "c"]
    assert [doc["text"] for doc in results(tmp_path)] == ["to a", "to b", "to x", "to c"]


@pytest.mark.parametrize(
    ("flags", "hint"), [((), "; the same command goes on where this one stopped"), (("--restart",), "")]
)
def test_an_interrupted_job_of_several_cards_goes_on_too(cli, manifest, tiny_dir, tmp_path, monkeypatch, flags, hint):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "run", interrupt)
    words = ["batch", "--model", tiny_dir, "--manifest", manifest(*lines("a")), "--out", tmp_path / "out", *flags]
    done = cli("launch", "--cards", "1", "--log-dir", tmp_path / "logs", "--", *words, "--device", "CPU")
    assert done.code == 130 and done.err.splitlines()[-1] == f"ms-omni: interrupted{hint}"


def test_nothing_is_loaded_when_all_is_answered(batch, fake_engine, asked, manifest, tmp_path):
    path = manifest(*lines("a", "b"))
    batch(path)
    (tmp_path / "out" / "results.jsonl").unlink()
    fake_engine.__init__ = None
    done = batch(path)
    assert done.code == 0 and "all 2 are answered already" in done.err and len(results(tmp_path)) == 2


def test_what_has_changed_or_is_lost_is_answered_again(batch, asked, manifest, tmp_path):
    one, two, three, four = ({"id": text, "text": text, "speak": True} for text in "abcd")
    assert batch(manifest(one, two, three, four)).code == 0
    asked.clear()
    (tmp_path / "out" / "b.wav").unlink()
    (tmp_path / "out" / "answers" / "d.json").write_text("")
    assert batch(manifest(one, two, {**three, "text": "other"}, four)).code == 0
    assert asked == ["b", "other", "d"] and len(results(tmp_path)) == 4


def test_other_settings_are_refused_and_restart_begins_anew(batch, asked, manifest, tmp_path):
    path = manifest(*lines("a", "b"))
    assert batch(path, "--seed", "1", "--parallel", "none").code == 0
    before = (tmp_path / "out" / "results.jsonl").read_text()
    asked.clear()
    done = batch(path, "--seed", "2")
    assert done.code == 2 and "seed 1, now it is 2" in done.err and "--restart" in done.err and asked == []
    assert (tmp_path / "out" / "results.jsonl").read_text() == before
    assert (
        batch(path, "--seed", "1", "--parallel", "auto").code == 0 and asked == []
    )  # how the model is shared does not matter
    assert batch(path, "--seed", "2", "--restart").code == 0 and asked == ["a", "b"]


def test_answers_from_before_a_setting_was_there_are_kept(batch, asked, manifest, tmp_path):
    path = manifest(*lines("a", "b"))
    assert batch(path).code == 0 and asked == ["a", "b"]
    for file in (tmp_path / "out" / "answers").glob("*.json"):
        record = json.loads(file.read_text())
        del record["settings"]["quantize"]
        file.write_text(json.dumps(record))
    assert batch(path).code == 0 and asked == ["a", "b"]
    done = batch(path, "--quantize", "int8")
    assert done.code == 2 and "quantize auto, now it is int8" in done.err


def test_a_restart_that_cannot_load_loses_nothing(batch, fake_engine, asked, manifest, tmp_path):
    path = manifest({"id": "a", "text": "a", "speak": True})
    batch(path)
    asked.clear()

    def refuse(self, config, progress):
        raise OmniError("--dtype float16: not here")

    fake_engine.__init__ = refuse
    assert batch(path, "--restart").code == 2
    assert batch(path).code == 0 and asked == [] and len(results(tmp_path)) == 1


def test_an_interrupted_restart_keeps_no_old_answer(batch, asked, manifest, tmp_path):
    batch(manifest(*lines("a", "b", "c")))
    asked.clear()
    broken = {"id": "a", "text": "KeyboardInterrupt"}
    done = batch(manifest(broken, *lines("b", "c")), "--restart")
    assert done.code == 130 and "the same command without --restart goes on where this one stopped" in done.err
    assert not (tmp_path / "out" / "results.jsonl").exists()
    batch(manifest(*lines("a", "b", "c")))
    assert asked == ["KeyboardInterrupt", "b", "c", "a", "b", "c"]  # asked together, and none was written down


def test_a_full_disk_is_a_line_and_leaves_no_half_file(batch, asked, manifest, tmp_path, monkeypatch):
    def fill_up(file, *args, **kwargs):
        file.write_bytes(b"RIFF")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile, "write", fill_up)
    done = batch(manifest({"id": "a", "text": "a", "speak": True}))
    assert done.code == 2 and f"--out {tmp_path / 'out' / 'a.wav'}: could not be written" in done.err
    assert [name for _, _, names in os.walk(tmp_path / "out") for name in names] == []


# several processes


def test_every_group_takes_its_share(manifest):
    items = list(read(manifest(*lines(*"abcdefg"))))
    shares = [[item.id for item in own_items(items, World(rank, 4, 2))] for rank in (0, 2)]
    assert shares == [["a", "c", "e", "g"], ["b", "d", "f"]]


@pytest.mark.parametrize(("rank", "answered"), [(2, ["b", "OmniError"]), (3, [])])
def test_the_leader_of_a_group_asks_and_the_others_follow(
    batch, fake_engine, asked, manifest, monkeypatch, tmp_path, rank, answered
):
    followed = []
    monkeypatch.setattr(fake_engine, "world", World(rank, 4, 2))
    monkeypatch.setattr(fake_engine, "follow", lambda self: followed.append(list(asked)))
    monkeypatch.setattr(AnswerCollector, "wait", lambda self, time_out_s: None)
    assert batch(manifest(*lines("a", "b", "c"), {"id": "OmniError", "text": "OmniError"})).code == 0  # no failure here
    assert asked == answered and followed == [answered]
    assert sorted(os.listdir(tmp_path / "out" / "answers")) == sorted(f"{name}.json" for name in answered)
    assert not (tmp_path / "out" / "results.jsonl").exists()


@pytest.fixture
def store(tmp_path):
    store = AnswerStore(tmp_path / "out", {"seed": 1})
    store.make()
    return store


def put_back(store, item, second):
    os.utime(store.directory / "answers" / f"{item.id}.json", (second, second))


def test_waiting_takes_new_answers_and_no_old_ones(store, manifest):
    one, two = read(manifest(*lines("a", "b")))
    store.write(two, Answer({}, failure="of an earlier run"))
    put_back(store, two, 1000)
    heard = []
    collector = AnswerCollector(store, [one, two], lambda *new: heard.append(new))
    coming = iter([(one, Answer({"text": "x"})), None, (two, Answer({"text": "y"}, 3, None, "b.wav"))])
    collector.wait(3, clock=lambda: 0.0, sleep=lambda s: (answer := next(coming)) and store.write(*answer))
    assert heard == [("a", Answer({"text": "x"})), ("b", Answer({"text": "y"}, 3, None, "b.wav"))]


def test_waiting_ends_when_nothing_comes_any_more(store, manifest):
    items = read(manifest(*lines(*"abcde")))
    collector = AnswerCollector(store, items, lambda *new: None)
    now = [0.0]

    def sleep(seconds):
        now[0] += 1
        if now[0] in (8, 15):
            store.write(items[1 if now[0] == 8 else 2], Answer({}))

    with pytest.raises(OmniError, match=r"--time-out 10: .* 3 missing \(a, d, e\)"):
        collector.wait(10, clock=lambda: now[0], sleep=sleep)
    assert now[0] == 26  # eleven after the last answer


def test_progress_counts_all_and_prints_now_and_then(capsys):
    now = [100.0]
    progress = BatchProgress(total=9, answered=2, clock=lambda: now[0])
    progress.start(shows=True)
    for second in (110, 120, 131, 140, 165):
        now[0] = float(second)
        progress.add("x", Answer({}, 31))
    progress.add("y", Answer({}, failure="is broken"))
    assert capsys.readouterr().err.splitlines() == [
        "ms-omni: 2 of 9 are answered already",
        "ms-omni: 5 of 9 done, 3.0 tokens/s",
        "ms-omni: 7 of 9 done, 2.4 tokens/s",
        "ms-omni: y: is broken",
    ]
    assert progress.summary() == "8 of 9 done, 1 failed, 2.4 tokens/s, 155 tokens in 65.0 s"


def test_a_bar_with_the_time_left_on_a_terminal(monkeypatch):
    now, screen = [100.0], Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "90")
    progress = BatchProgress(total=90, answered=10, clock=lambda: now[0])
    progress.start(shows=True)
    assert progress.left_s() is None
    now[0] = 180.0
    progress.add("x", Answer({}, 400))
    assert progress.left_s() == 79 * 80
    now[0] = 190.0
    assert progress.left_s() == 79 * 80 - 10  # counts down between answers
    progress.add("y", Answer({}, failure="is broken"))
    progress.close()
    drawn = screen.getvalue()
    assert "ms-omni: y: is broken\n" in drawn and sys.stderr is screen
    assert "12 of 90 done, 1 failed, 4.4 tokens/s, 58:30 left" in drawn and drawn.endswith("\x1b[2K")
    assert progress.summary().startswith("12 of 90 done, 1 failed, 4.4 tokens/s, 400 tokens in 90.0 s")


def test_a_watched_rank_says_how_far_it_is_in_words_that_launch_keeps_in_one_line(monkeypatch, capsys):
    monkeypatch.setenv(INTERVAL_VARIABLE, "2")
    now = [100.0]
    progress = BatchProgress(total=9, answered=2, clock=lambda: now[0])
    progress.start(shows=True)
    now[0] = 110.0
    progress.add("x", Answer({}, 31))
    said = capsys.readouterr().err.splitlines()
    assert said[1:] == ["ms-omni: answered: 2 of 9 conversations", "ms-omni: answered: 3 of 9 conversations, 1:00 left"]
    assert [bool(_PROGRESS.match(line)) for line in said] == [False, True, True]
    assert not _PROGRESS.match(f"ms-omni: {progress.summary()}")


def test_no_bar_in_a_process_that_does_not_print(monkeypatch):
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    progress = BatchProgress(total=9, answered=2)
    progress.start(shows=False)
    progress.add("y", Answer({}, failure="is broken"))
    progress.close()
    assert screen.getvalue() == ""


# wrong input


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("{", ["not valid JSON", "column"]),
        ("[1]", ["expected an object"]),
        ({"txt": "a"}, ["'txt'", "allowed: id, conversation, system, text"]),
        ({}, ["nothing to answer"]),
        ({"system": "a"}, ["nothing to answer"]),
        ({"image": []}, ["nothing to answer", "'image'"]),
        ({"conversation": [{"role": "user", "content": "a"}], "text": "a"}, ["'conversation' and 'text' exclude"]),
        ({"conversation": [{"role": "robot", "content": "a"}]}, ["message 0", "'robot'"]),
        ({"text": 3}, ["'text' is 3"]),
        ({"text": "a", "audio": True}, ["'audio' is true", "path", "'speak'"]),
        ({"image": [1]}, ["'image' is [1]", "path"]),
        ({"text": "a", "speak": "yes"}, ["'speak' is \"yes\"", "true or false"]),
        ({"text": "a", "speaker": "Etan"}, ["'speaker' Etan", "did you mean ethan?"]),
        ({"text": "a", "id": "x/y"}, ["'id' is \"x/y\"", "slash"]),
        ({"text": "a", "id": ".."}, ["'id' is", "dot"]),
        ({"text": "a", "id": 3}, ["'id' is 3", "expected a text"]),
        ({"text": "a", "id": "ü" * 101}, ["202 bytes", "200"]),
        ({"text": "a", "id": "first"}, ["'first'", "another line"]),
        ({"text": "a", "id": "000001"}, None),
    ],
)
def test_wrong_lines(user_error, no_engine, manifest, tiny_dir, tmp_path, line, parts):
    if parts is None:  # a given id that is the number of a line without one
        path, where, parts = manifest({"text": "b"}, "", line), 3, ["'000001'"]
    else:
        path, where = manifest({"id": "first", "text": "b"}, "", line), 3
    message = user_error("batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out")
    assert f"--manifest {path} line {where}" in message and all(part in message for part in parts), message
    assert not (tmp_path / "out").exists()


def test_all_wrong_lines_are_said_at_once(cli, no_engine, manifest, silent_dir, tiny_dir, tmp_path):
    path = manifest(
        "{", {"id": "a", "text": "a"}, {"txt": "b"}, "", {"id": "a", "text": "c"}, {"text": "d", "speak": 1}
    )
    done = cli("batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out")
    said = done.err.splitlines()
    assert (done.code, done.out, len(said)) == (2, "", 5) and not (tmp_path / "out").exists()
    faults = [(1, "not valid JSON"), (3, "'txt'"), (5, "'a'"), (6, "'speak' is 1")]
    for line, (number, part) in zip(said[:4], faults, strict=True):
        assert line.startswith(f"ms-omni: --manifest {path} line {number}: ") and part in line
    assert said[4] == f"ms-omni: --manifest {path}: 4 of 5 lines are wrong; nothing was answered"
    path = manifest({"text": "a", "speak": True}, {"text": "a", "id": 3}, {"text": "a", "speak": True})
    said = cli("batch", "--model", silent_dir, "--manifest", path, "--out", tmp_path / "out").err
    assert said.count("'speak': the checkpoint") == 2 and "'id' is 3" in said and "3 of 3 lines" in said


def test_of_many_wrong_lines_the_first_are_shown(cli, no_engine, manifest, tiny_dir, tmp_path):
    path = manifest(*lines("a"), *[{"txt": "a"}] * 30)
    said = cli("batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out").err.splitlines()
    assert len(said) == 21 and "line 21: " in said[19]
    assert "30 of 31 lines are wrong (the first 20 are shown); nothing was answered" in said[20]


def test_wrong_files_and_flags(user_error, no_engine, manifest, tiny_dir, silent_dir, tmp_path):
    model, good = ["batch", "--model", tiny_dir], manifest(*lines("a"))
    out = ["--out", tmp_path / "out"]
    assert "--manifest is missing" in user_error(*model, *out)
    assert "--out is missing" in user_error(*model, "--manifest", good)
    assert "gone.jsonl: cannot be read" in user_error(*model, *out, "--manifest", "gone.jsonl")
    assert "cannot be written" in user_error(*model, "--manifest", good, "--out", good)
    assert "--speaker Nobody" in user_error(*model, *out, "--manifest", good, "--speaker", "Nobody")
    wrong = user_error(*model, *out, "--manifest", good, "--engine", "mindone", "--max-num-seqs", "2")
    assert "--max-num-seqs 2: --engine mindone answers one" in wrong
    assert "--max-num-seqs: 0" in user_error(*model, *out, "--manifest", good, "--max-num-seqs", "0")
    assert "--time-out: 0" in user_error(*model, *out, "--manifest", good, "--time-out", "0")
    silent = ["batch", "--model", silent_dir, *out]
    assert "--speak: the checkpoint" in user_error(*silent, "--manifest", good, "--speak")
    spoken = manifest({"text": "a", "speak": True})
    assert "line 1: 'speak': the checkpoint" in user_error(*silent, "--manifest", spoken)
    assert "holds no conversation" in user_error(*model, *out, "--manifest", manifest("", " "))
    assert not (tmp_path / "out").exists()


def test_media_beside_the_manifest(batch, fake_engine, asked, manifest, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "beside.png")
    assert batch(manifest({"text": "a", "image": "beside.png"})).code == 0
    parts = fake_engine.asked["conversation"][0]["content"]
    assert parts[0] == {"type": "image", "image": str(tmp_path / "beside.png")}


# the real engine


def test_answers_are_those_of_understand(batch, cli, manifest, tiny_dir, tmp_path):
    words = ["--thinker-max-new-tokens", "4", "--talker-max-new-tokens", "3", "--seed", "1"]
    (tmp_path / "broken.png").write_text("no picture")
    gone = {"conversation": [{"role": "user", "content": [{"type": "video", "video": ["gone.png"]}]}]}
    spoken = {"id": "b", "text": "Hello", "speak": True}
    path = manifest(*lines("Hello"), {"image": "broken.png"}, {"image": "gone.png"}, gone, spoken)
    done = batch(path, *words)
    assert done.code == 1 and "000002: image" in done.err
    early = f"ms-omni: --manifest {path} line 3: image gone.png: no such file; this and 1 more such line will fail"
    assert done.err.startswith(early) and "5 of 5 done, 3 failed" in done.err
    first, broken, missing, missing_frame, spoken = results(tmp_path)
    assert missing == {"id": "000003", "error": "image gone.png: no such file"}
    assert "gone.png: no such file" in missing_frame["error"]
    alone = cli(
        "understand", "--model", tiny_dir, "--text", "Hello", *words, "--json", "--audio-out", tmp_path / "c.wav"
    )
    expected = json.loads(alone.out)
    assert first["token_ids"] == spoken["token_ids"] == expected["token_ids"] and "broken.png" in broken["error"]
    assert (tmp_path / "out" / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()


@pytest.mark.long
def test_two_processes_are_two_replicas(manifest, tiny_dir, tmp_path):
    path = manifest(*lines("One", "Two", "Three"), {"id": "said", "text": "Four", "speak": True})
    words = ["batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out", "--parallel", "none"]
    words += ["--thinker-max-new-tokens", "4", "--talker-max-new-tokens", "3", "--seed", "1", "--device", "CPU"]
    line = [sys.executable, "-m", "ms_omni", "launch", "--cards", "2", "--group-size", "1", "--", *words]
    environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}

    def launch():
        line_words = [str(word) for word in line]
        return subprocess.run(line_words, capture_output=True, text=True, timeout=600, cwd=tmp_path, env=environment)

    done = launch()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "4 of 4 done" in done.stderr
    first = results(tmp_path)
    assert [doc["id"] for doc in first] == ["One", "Two", "Three", "said"]
    assert first[3]["audio"]["num_frames"] == 2 and (tmp_path / "out" / "said.wav").is_file()
    # the processes load for themselves: each has answered two
    assert (
        len({doc["stats"]["load_s"] for doc in first[0::2]})
        == len({doc["stats"]["load_s"] for doc in first[1::2]})
        == 1
    )
    assert first[0]["stats"]["load_s"] != first[1]["stats"]["load_s"]
    again = launch()
    assert again.returncode == 0 and "all 4 are answered already" in again.stderr
    assert results(tmp_path) == first
