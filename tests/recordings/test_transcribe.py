"""Recordings written down by the built-in model, from Python."""

import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from judged import SHORT, SHORT_S, judge, single_wer, write
from spoken import Unframed, clips, spoken, words

from ms_omni import OmniError, SamplingParams
from ms_omni.inputs.audio import SAMPLE_RATE
from ms_omni.inputs.windows import WindowRules
from ms_omni.recordings.output import RecordingOutput
from ms_omni.recordings.recording import Recording
from ms_omni.recordings.transcribe import Heard, Transcription, submit_recording, transcribe
from ms_omni.tasks.request import task_conversation
from ms_omni.tasks.table import get_task

QUESTION = task_conversation(get_task("speech-recognition"), {"audio": [np.zeros(1, np.float32)]})
OPTIONS = {"return_audio": False}


def recording(seconds=40, gap=(2.1, 3.0), seed=0, trims=False):
    pieces, said = spoken(seconds, np.random.default_rng(seed), gap, trims)
    return np.concatenate(list(pieces)), said


def text_of(segments):
    return " ".join(segment.text for segment in segments)


def test_segments_come_in_order_with_progress(trained, tmp_path):
    samples, said = recording()
    soundfile.write(tmp_path / "a.flac", samples, SAMPLE_RATE)
    progress = []
    segments = list(transcribe(trained, str(tmp_path / "a.flac"), on_progress=lambda *done: progress.append(done)))
    assert words(text_of(segments)) == said and len(segments) > 8
    assert all(segment.text.startswith("The voice says") for segment in segments)
    assert [done for done, _ in progress] == [segment.end for segment in segments]
    assert {total for _, total in progress} == {len(samples) / SAMPLE_RATE}
    for one, other in pairwise(segments):
        assert one.start < one.end <= other.start
    assert all(segment.output.finish_reason == "stop" for segment in segments)


def test_words_back_to_back_are_joined(trained):
    """By windows of which most overlap; one sentence of the model in ten words is wrong when asked alone, too."""
    samples, said = recording(40, (0.0, 0.0), seed=3, trims=True)
    unframed = Unframed(trained)
    segments = list(transcribe(unframed, samples, rules=SHORT))
    assert unframed.num_asked == len(segments) > 10
    heard = text_of(segments).split()
    assert abs(len(heard) - len(said)) <= 0.06 * len(said)
    # without the joins every overlap of two seconds would be there twice
    raw = sum(len(words(segment.output.text)) for segment in segments)
    assert raw > 1.2 * len(said)


def test_prompts_and_sampling(trained, monkeypatch):
    asked = []

    def submit(conversation, **options):
        asked.append((conversation, options))
        return type(trained).submit(trained, conversation, **options)

    monkeypatch.setattr(trained, "submit", submit)
    samples = clips()[0][0]
    sampling = SamplingParams(thinker_max_new_tokens=2)
    given = {"task": "speech-translation", "language": "de", "target_language": "fr", "system": "Be brief."}
    (segment,) = transcribe(trained, samples, sampling=sampling, **given)
    ((system, user), options) = asked[0]
    assert system == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    sound, text = user["content"]
    np.testing.assert_array_equal(sound["audio"], samples)
    assert text["text"] == "Listen to the provided German speech and produce a translation in French text."
    assert options["sampling"].thinker_max_new_tokens == 2 and options["return_audio"] is False
    assert options["sampling"].thinker_temperature == 0  # as the model's documents evaluate Instruct checkpoints
    assert segment.is_cut


def test_closing_cancels(trained):
    free = trained.free_blocks
    samples, _ = recording(120)
    with closing(transcribe(trained, samples)) as segments:
        next(segments)
    deadline = time.monotonic() + 60
    while trained.num_running or trained.free_blocks != free:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_heard_is_not_asked_again(trained):
    samples, _ = recording(30, (0.0, 0.0), seed=5, trims=True)
    heard, unframed = [], Unframed(trained)
    whole = Transcription(unframed, Recording(samples), QUESTION, OPTIONS, SHORT, on_heard=heard.append)
    text = "".join(whole.deltas())
    assert whole.transcript.text == text and len(heard) == unframed.num_asked > 6
    for count in (0, 1, 4, len(heard)):
        unframed.num_asked = 0
        again = Transcription(unframed, Recording(samples), QUESTION, OPTIONS, SHORT, heard[:count])
        assert "".join(again.deltas()) == text and unframed.num_asked == len(heard) - count
        one, other = ([segment.as_json() for segment in run.transcript.segments] for run in (again, whole))
        assert one == other
    other = Heard(replace(heard[0].span, end=1.0), heard[0].output)
    with pytest.raises(OmniError, match="has changed"):
        list(Transcription(unframed, Recording(samples), QUESTION, OPTIONS, SHORT, [other]).deltas())


def test_as_one_handle(trained):
    samples, said = recording(40)
    handle = submit_recording(trained, Recording(samples), QUESTION, OPTIONS)
    *deltas, end = handle
    output = end.output
    assert isinstance(output, RecordingOutput) and words(output.text) == said
    assert "".join(delta.text for delta in deltas) == output.text
    document = output.to_dict()
    assert " ".join(segment["text"] for segment in document["segments"]) == output.text
    assert set(document["segments"][0]) == {"start", "end", "text", "finish_reason"}
    assert document["duration"] == pytest.approx(len(samples) / SAMPLE_RATE, abs=0.001)
    assert document["usage"]["completion_tokens"] == len(document["token_ids"]) > 0


def test_a_handle_that_is_cancelled_ends_its_windows(trained):
    handle = submit_recording(trained, Recording(recording(200)[0]), QUESTION, OPTIONS)
    deadline = time.monotonic() + 60
    while not trained.num_running:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    handle.cancel()
    while trained.num_running:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_wrong(trained, tmp_path):
    broken = np.concatenate([clips()[0][0], np.zeros(32 * SAMPLE_RATE, np.float32), np.full(99, np.nan, np.float32)])
    soundfile.write(tmp_path / "a.wav", broken, SAMPLE_RATE, subtype="FLOAT")
    segments = transcribe(trained, str(tmp_path / "a.wav"))
    assert next(segments).text  # before what is wrong
    with pytest.raises(OmniError, match="a.wav: corrupt audio"):
        next(segments)
    with pytest.raises(OmniError, match="speech-recognition and speech-translation"):
        next(transcribe(trained, broken, task="music-analysis"))
    with pytest.raises(OmniError, match="none.wav"):
        next(transcribe(trained, "none.wav"))
    with pytest.raises(OmniError, match="too short"):
        next(transcribe(trained, np.full(100, 0.5, np.float32)))
    handle = submit_recording(trained, Recording(str(tmp_path / "a.wav")), QUESTION, OPTIONS)
    with pytest.raises(OmniError, match="corrupt audio"):
        handle.result(timeout=60)


def test_silence_has_no_segments(trained):
    assert list(transcribe(trained, np.zeros(90 * SAMPLE_RATE, np.float32))) == []


@pytest.mark.slow
@pytest.mark.parametrize("gap, trims, rules", [((2.1, 3.0), False, WindowRules()), ((0.0, 0.0), True, SHORT)])
def test_a_long_recording(trained, tmp_path, gap, trims, rules):
    """Twenty minutes; docs/benchmarks/long_recording.py measures two hours."""
    said = write(tmp_path / "a.flac", 1200, gap, trims, seed=7)
    single = single_wer(trained, 200, SHORT_S - 0.5 if trims else 0.1, (0.0, 0.0), trims)
    judged = judge(trained, tmp_path / "a.flac", said, rules)
    assert judged.wer <= single + 0.01 and judged.num_joins > 350
    assert (judged.num_overlaps > 250) is trims
    assert judged.doubled == 0 and judged.grown_mib < 100
