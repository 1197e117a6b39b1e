"""/v1/audio: recordings written down and translated, asked for by OpenAI's own client, and badly by others."""

import io
import json
import socket
import struct
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
import soundfile
from serving import serving, web

from ms_omni.inputs.audio import read_audio
from ms_omni.server import recordings
from ms_omni.tasks.request import speech_conversation

MEDIA = Path("tests/tiny/media")
RATE = 16_000
PATH = "/v1/audio/transcriptions"
# What the built-in model hears in these
HEARD = {
    "transcript_82_1.wav": "The voice says square car.",
    "transcript_30_1.wav": "The voice says four.",
    "audio_799_s_0_1.wav": "The voice says six three zero four two six eight.",
    "word_41_1.wav": "The voice says boat.",
    "transcript_23_1.wav": "The voice says seven zero.",
    "audio_8_s_0_1.wav": "The voice says eight two seven.",
}
ONE = MEDIA / "transcript_82_1.wav"


def encoded(samples, kind="WAV", subtype=None, rate=RATE):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def quiet(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


@pytest.fixture(scope="session")
def client(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=300) as client:
        yield client


@pytest.fixture(scope="session")
def long_recording():
    """All of HEARD, with three seconds of silence behind each."""
    parts = [part for name in HEARD for part in (read_audio(str(MEDIA / name)), quiet(3))]
    return "long.flac", encoded(np.concatenate(parts), "FLAC")


@pytest.fixture
def asked(trained, monkeypatch):
    """What the engine is asked: (the words of the prompt's messages, options)."""
    asked = []

    def submit(conversation, **options):
        texts = [
            part["text"] if isinstance(part, dict) else part
            for message in conversation
            for part in (message["content"] if isinstance(message["content"], list) else [message["content"]])
            if not (isinstance(part, dict) and part["type"] == "audio")
        ]
        asked.append(([message["role"] for message in conversation], texts, options))
        return type(trained).submit(trained, conversation, **options)

    monkeypatch.setattr(trained, "submit", submit)
    return asked


# What is written down


@pytest.mark.parametrize("name", HEARD)
def test_what_is_said(client, trained, name):
    result = client.audio.transcriptions.create(model="ms-omni", file=MEDIA / name)
    assert result.text == HEARD[name]
    samples = read_audio(str(MEDIA / name))
    output = trained.generate(speech_conversation(samples, "Transcribe the audio."), return_audio=False)
    assert result.text == output.text
    usage = result.usage
    assert (usage.type, usage.input_tokens) == ("tokens", output.usage.prompt_tokens)
    assert usage.output_tokens == output.usage.completion_tokens
    assert usage.input_token_details.audio_tokens == output.usage.audio_tokens


@pytest.mark.parametrize("kind", [("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("WAV", "FLOAT")])
def test_formats(client, kind):
    samples = np.repeat(read_audio(str(ONE)), 3)  # at 48 kHz
    result = client.audio.transcriptions.create(model="ms-omni", file=("x", encoded(samples, *kind, rate=48_000)))
    assert result.text == HEARD[ONE.name]


def test_the_sound_of_a_film(client):
    file = MEDIA / "audio_in_video_2_s_9_1.mp4"
    assert client.audio.transcriptions.create(model="ms-omni", file=file).text.startswith("The voice says")


def test_forms_of_the_answer(client):
    def ask(**options):
        return client.audio.transcriptions.create(model="ms-omni", file=ONE, **options)

    assert ask(response_format="text") == "The voice says square car."
    assert ask(response_format="srt") == "1\n00:00:00,000 --> 00:00:01,080\nThe voice says square car.\n\n"
    assert ask(response_format="vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:01.080\nThe voice says square car.\n\n"
    verbose = ask(response_format="verbose_json", timestamp_granularities=["segment"], temperature=0)
    assert (verbose.text, verbose.duration, verbose.language) == ("The voice says square car.", 1.08, None)
    assert verbose.usage.to_dict() == {"type": "duration", "seconds": 1.08}
    (segment,) = verbose.segments
    assert (segment.id, segment.start, segment.end, segment.text) == (0, 0, 1.08, verbose.text)
    assert segment.temperature == 0 and segment.avg_logprob is None and segment.no_speech_prob is None
    assert ask(response_format="verbose_json", language="en").language == "english"


def test_a_long_recording_by_windows(client, trained, long_recording, asked):
    result = client.audio.transcriptions.create(model="ms-omni", file=long_recording, response_format="verbose_json")
    assert result.text == " ".join(HEARD.values())
    assert [segment.text for segment in result.segments] == list(HEARD.values())
    lengths = [len(read_audio(str(MEDIA / name))) / RATE for name in HEARD]
    begins = np.cumsum([0, *(length + 3 for length in lengths)])
    for segment, begin, length in zip(result.segments, begins, lengths, strict=False):
        assert begin - 0.3 <= segment.start < segment.end <= begin + length + 0.3
    assert result.duration == pytest.approx(begins[-1], abs=0.01)
    assert len(asked) == len(HEARD)


def test_stream(client, long_recording):
    *deltas, done = client.audio.transcriptions.create(model="ms-omni", file=long_recording, stream=True)
    assert {event.type for event in deltas} == {"transcript.text.delta"} and len(deltas) > len(HEARD)
    assert done.type == "transcript.text.done"
    assert done.text == "".join(event.delta for event in deltas) == " ".join(HEARD.values())
    whole = client.audio.transcriptions.create(model="ms-omni", file=long_recording)
    assert done.usage.to_dict() == whole.usage.to_dict()


def test_windows_that_overlap_are_streamed_and_joined_alike(client, asked):
    """Forty seconds without a pause."""
    clips = [samples[np.abs(samples) > 0.005] for samples in (read_audio(str(MEDIA / name)) for name in HEARD)]
    file = ("x.flac", encoded(np.tile(np.concatenate(clips), 20)[: 40 * RATE], "FLAC"))
    whole = client.audio.transcriptions.create(model="ms-omni", file=file, response_format="verbose_json")
    first, second = whole.segments
    assert first.end == second.start and 20 < first.end < 28.6 and len(asked) == 2
    *deltas, done = client.audio.transcriptions.create(model="ms-omni", file=file, stream=True)
    assert done.text == "".join(event.delta for event in deltas) == whole.text
    assert whole.text.split() == f"{first.text} {second.text}".split()


@pytest.mark.parametrize("stream", [False, True])
def test_silence_says_nothing(client, asked, stream):
    file = ("x.flac", encoded(quiet(100), "FLAC"))
    result = client.audio.transcriptions.create(model="ms-omni", file=file, stream=stream)
    done = list(result)[-1] if stream else result
    assert (done.text, done.usage.total_tokens) == ("", 0)
    assert not asked
    assert client.audio.transcriptions.create(model="ms-omni", file=file, response_format="srt") == ""


def test_a_window_that_reaches_its_maximum_is_told(http, trained, monkeypatch):
    def submit(conversation, **options):
        options["sampling"] = replace(options["sampling"], thinker_max_new_tokens=3)
        return type(trained).submit(trained, conversation, **options)

    monkeypatch.setattr(trained, "submit", submit)
    files = {"file": ("x.wav", ONE.read_bytes())}
    whole = http.post(PATH, files=files).json()
    assert (whole["text"], whole["incomplete"]) == ("The voice says", [{"start": 0, "end": 1.08}])
    text = http.post(PATH, files=files, data={"response_format": "text"})
    assert (text.text, text.headers["x-incomplete-windows"]) == ("The voice says", "1")


# What the model is asked


@pytest.mark.parametrize(
    "language, prompt",
    [
        (None, "Transcribe the audio."),
        ("en", "Transcribe the English audio into text."),
        ("French", "Transcribe the French audio into text."),
        ("ZH", "请将这段中文语音转换为纯文本。"),
        ("yue", "Transcribe the Cantonese audio into text."),
    ],
)
def test_prompts_of_transcription(client, asked, language, prompt):
    given = {} if language is None else {"language": language}
    client.audio.transcriptions.create(model="ms-omni", file=ONE, **given)
    ((roles, texts, options),) = asked
    assert (roles, texts, options["return_audio"]) == (["user"], [prompt], False)


@pytest.mark.parametrize("language, word", [(None, ""), ("zh", "Chinese ")])
def test_prompts_of_translation(client, asked, language, word):
    extra = {"language": language} if language else {}
    result = client.audio.translations.create(
        model="ms-omni", file=ONE, response_format="verbose_json", extra_body=extra
    )
    ((roles, texts, _),) = asked
    assert roles == ["user"]
    assert texts == [f"Listen to the provided {word}speech and produce a translation in English text."]
    assert result.language == "english"


def test_prompt_and_temperature_reach_the_model(client, asked):
    client.audio.transcriptions.create(model="ms-omni", file=ONE, prompt="Names: Ann.", temperature=0.5)
    ((roles, texts, options),) = asked
    assert (roles, texts[0], options["sampling"].thinker_temperature) == (["system", "user"], "Names: Ann.", 0.5)


def test_no_text_is_read_aloud(client):
    with pytest.raises(openai.APIStatusError, match="no documented way") as error:
        client.with_options(max_retries=2).audio.speech.create(model="ms-omni", input="Hello", voice="Ethan")
    assert error.value.status_code == 501


# What is refused

GOOD = encoded(np.full(RATE, 0.1, np.float32))
HEADER_OF_TWO_HOURS = GOOD[:40] + struct.pack("<I", 2 * 3600 * 2 * RATE) + GOOD[44:]


@pytest.mark.parametrize(
    "fields, status, param, words",
    [
        ({"file": None}, 400, "file", "missing"),
        ({"file": "a text"}, 400, "file", "expected a file"),
        ({"file": ("x.wav", b"")}, 400, "file", "file x.wav: is empty"),
        ({"file": ("x.wav", b"no sound" * 500)}, 400, "file", "file x.wav: truncated or corrupt"),
        ({"file": ("x.wav", GOOD[:-1000])}, 400, "file", "truncated"),
        ({"file": ("x.wav", HEADER_OF_TWO_HOURS)}, 400, "file", "truncated"),
        ({"file": ("x.wav", encoded(quiet(0)))}, 400, "file", "no samples"),
        ({"file": ("x.wav", encoded(np.full(100, 0.5, np.float32)))}, 400, None, "too short"),
        ({"file": ("../\n\x07x", b"")}, 400, "file", "is empty"),
        ({"model": "whisper-1"}, 404, "model", "whisper-1"),
        ({"language": "tlh"}, 400, "language", "documents name en"),
        ({"language": "englsh"}, 400, "language", "did you mean english"),
        ({"prompt": "x" * 10_001}, 400, "prompt", "10000"),
        ({"response_format": "diarized_json"}, 400, "response_format", "json"),
        ({"temperature": "hot"}, 400, "temperature", "number"),
        ({"temperature": "-0.1"}, 400, "temperature", "greater than"),
        ({"temperature": "1.5"}, 400, "temperature", "less than"),
        ({"temperature": "nan"}, 400, "temperature", "than"),
        ({"temperature": ["0", "1"]}, 400, "temperature", "twice"),
        ({"stream": "perhaps"}, 400, "stream", "boolean"),
        ({"stream": "true", "response_format": "srt"}, 400, "response_format", "without times"),
        ({"timestamp_granularities[]": "word", "response_format": "verbose_json"}, 400, None, "no times of words"),
        ({"timestamp_granularities[]": "segment"}, 400, "timestamp_granularities[]", "verbose_json"),
        ({"include[]": "logprobs"}, 400, None, "at most 0"),
        ({"chunking_strategy[type]": "server_vad"}, 400, "chunking_strategy[type]", "unknown field"),
        ({"langage": "en"}, 400, "langage", "did you mean language"),
    ],
)
def test_what_is_refused(http, fields, status, param, words):
    fields = {"file": ("x.wav", GOOD), "model": "ms-omni", **fields}
    files = [
        (name, one if isinstance(one, tuple) else (None, one))
        for name, value in fields.items()
        if value is not None
        for one in (value if isinstance(value, list) else [value])
    ]
    response = http.post(PATH, files=files)
    error = response.json()["error"]
    assert response.status_code == status, error
    assert words in error["message"] and "\n" not in error["message"]
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    "request_of, status, words",
    [
        ({"json": {"file": "x"}}, 415, "multipart/form-data"),
        ({"data": {"model": "ms-omni"}}, 415, "multipart/form-data"),
        ({"files": [("file", ("a", GOOD)), ("file", ("b", GOOD))]}, 400, "Too many files"),
        ({"files": [("audio", ("a", GOOD))]}, 400, "unknown file 'audio'"),
        ({"files": [("file", ("a", GOOD))], "data": {f"field{i}": "x" for i in range(40)}}, 400, "Too many fields"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"x" * 99, "headers": {"content-type": "multipart/form-data; boundary=y"}}, 400, "form"),
    ],
)
def test_forms_that_are_none(http, request_of, status, words):
    response = http.post(PATH, **request_of)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_translations_do_not_stream(http):
    response = http.post("/v1/audio/translations", files={"file": ("x.wav", GOOD)}, data={"stream": "true"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "stream")


def test_longer_than_can_be_written_down(client, monkeypatch):
    monkeypatch.setattr(recordings, "MAX_RECORDING_S", 10.0)
    for data in (encoded(quiet(11), "FLAC"), encoded(quiet(11), "MP3")):
        with pytest.raises(openai.APIStatusError, match="longer than 10 s") as error:
            client.audio.transcriptions.create(model="ms-omni", file=("x", data))
        assert error.value.status_code == 413
        assert (error.value.param, error.value.code) == ("file", "recording_too_long")


def test_larger_than_a_request_may_be(trained):
    """Said by the header, and found while reading a body that does not say it."""
    limit = 100_000
    with serving(trained, max_body_bytes=limit) as (url, _), httpx.Client(base_url=url, timeout=60) as client:
        files = {"file": ("x.wav", bytes(2 * limit))}
        assert client.post(PATH, files=files).status_code == 413
        request = client.build_request("POST", PATH, files=files)
        body = request.read()

        def pieces():
            for start in range(0, len(body), 4096):
                yield body[start : start + 4096]

        headers = {"content-type": request.headers["content-type"]}
        response = client.post(PATH, content=pieces(), headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "request_too_large")
        assert client.post(PATH, files={"file": ("x.wav", GOOD)}).status_code == 200


def test_nothing_is_read_before_the_model_is_there():
    with serving(None) as (url, _):
        assert web.post(url + PATH, files={"file": ("x.wav", GOOD)}).status_code == 503


def test_an_error_in_a_stream_is_an_event(http):
    """The first window is heard before the file turns out to be corrupt."""
    samples = np.concatenate([read_audio(str(ONE)), quiet(32), np.full(RATE, np.nan, np.float32)])
    files = {"file": ("x.wav", encoded(samples, "WAV", "FLOAT"))}
    with http.stream("POST", PATH, files=files, data={"stream": "true"}) as response:
        assert response.status_code == 200
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    *deltas, error, end = events
    assert "".join(json.loads(event)["delta"] for event in deltas) == HEARD[ONE.name]
    assert json.loads(error)["error"]["param"] == "file" and "not finite" in error and end == "[DONE]"


# What happens otherwise


def test_a_client_that_goes_away_cancels(trained, http, server):
    """While it is answered, and in the middle of its upload."""
    samples = np.tile(np.concatenate([read_audio(str(MEDIA / "audio_8_s_0_1.wav")), quiet(3)]), 60)
    request = http.build_request("POST", PATH, files={"file": ("x.flac", encoded(samples, "FLAC"))})
    body = request.read()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: {request.headers['content-type']}\r\n\r\n"
    host, port = server.removeprefix("http://").split(":")
    free = trained.free_blocks
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        wait_until(lambda: trained.num_running > 0)
    wait_until(lambda: trained.num_running == 0 and trained.free_blocks == free)
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])
    wait_until(lambda: f'route="{PATH}",status="499"}} 2.0' in http.get("/metrics").text)
    assert "in_flight 0.0" in http.get("/metrics").text


def wait_until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
