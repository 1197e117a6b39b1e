"""`batch` with OpenAI's batch files: what a line may hold, which fail alone, and that answers are the server's."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from io import BytesIO

import numpy as np
import pytest
import soundfile
from batch_results import results
from openai.types.chat import ChatCompletion

from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.config import SamplingParams

URL = "/v1/chat/completions"
MEDIA = DIRECTORY.parent
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def request(name, *parts, **body):
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    messages = {"messages": [{"role": "user", "content": content}]}
    return {"custom_id": name, "method": "POST", "url": URL, "body": {**messages, **body}}


@pytest.fixture
def answers(batch, manifest, tmp_path):
    """answers(*lines, flags=(), code=0) -> what each custom_id has got, and stderr"""

    def run(*lines, flags=(), code=0):
        done = batch(manifest(*lines), *flags)
        assert (done.code, done.out) == (code, ""), done
        documents = results(tmp_path)
        assert [document["custom_id"] for document in documents] == [line["custom_id"] for line in lines]
        for key in ("id", "request_id"):
            assert len({{**document, **document["response"]}[key] for document in documents}) == len(lines)
        assert all(set(document) == {"id", "custom_id", "response", "error"} for document in documents)
        assert all(document["error"] is None and document["id"].startswith("batch_req_") for document in documents)
        return {document["custom_id"]: document["response"] for document in documents}, done.err

    return run


def message_of(response):
    assert response["status_code"] == 200, response
    return ChatCompletion.model_validate(response["body"], strict=True).choices[0].message


def test_an_answer_for_each_request_in_order(answers, asked, tmp_path):
    found, said = answers(request("z", "a"), request("ä", "b\u2028b", temperature=0.5, model="x"),
                          flags=["--served-model-name", "y", "--served-model-name", "x"])  # fmt: skip
    assert asked == ["a", "b\u2028b"] and "2 of 2 done, " in said and "6 tokens in" in said
    assert [message_of(response).content for response in found.values()] == ["to a", "to b\u2028b"]
    assert [response["body"]["model"] for response in found.values()] == ["y", "x"]
    assert found["z"]["body"]["usage"]["total_tokens"] == 12
    assert sorted(os.listdir(tmp_path / "out" / "answers")) == ["z.json", "ä.json"]


def test_what_a_body_says_reaches_the_engine(answers, asked, fake_engine):
    body = {"seed": 3, "max_completion_tokens": 9, "stop": "no", "tools": TOOLS, "top_k": -1, "speaker": "Aiden"}
    answers(
        request("a", "a", **body, talker={"top_p": 0.5}, mm_processor_kwargs={"fps": 2, "use_audio_in_video": True})
    )
    options = {key: value for key, value in fake_engine.asked.items() if key != "conversation"}
    assert options == {
        "return_audio": True, "speaker": "Aiden", "use_audio_in_video": True, "fps": 2.0, "stop": ["no"],
        "tools": TOOLS,
        "sampling": SamplingParams(thinker_max_new_tokens=9, thinker_top_k=0, talker_top_p=0.5, seed=3),
        "chat_template_kwargs": {}, "first_chunk_frames": 300, "chunk_frames": 300,
    }  # fmt: skip
    assert fake_engine.loaded["with_talker"] is True


@pytest.mark.parametrize(
    ("body", "speaks", "speaker", "hears", "fps", "sampling"),
    [
        ({}, True, "Chelsie", True, 1.5, {"seed": 4, "thinker_top_p": 0.5, "ignore_eos": True}),
        ({"modalities": ["text"], "seed": 5}, False, "Chelsie", True, 1.5,
         {"seed": 5, "thinker_top_p": 0.5, "ignore_eos": True}),
        ({"audio": {"voice": "Aiden"}, "mm_processor_kwargs": {"fps": 2.0}, "ignore_eos": False}, True, "Aiden", True,
         2.0, {"seed": 4, "thinker_top_p": 0.5}),
        ({"mm_processor_kwargs": {"use_audio_in_video": False}, "top_p": 0}, True, "Chelsie", False, 1.5,
         {"seed": 4, "thinker_top_p": 0, "ignore_eos": True}),
    ],
)  # fmt: skip
def test_flags_are_for_what_a_body_leaves_open(
    answers, asked, fake_engine, body, speaks, speaker, hears, fps, sampling
):
    flags = ["--speak", "--speaker", "Chelsie", "--use-audio-in-video", "--fps", "1.5", "--seed", "4", "--ignore-eos"]
    answers(request("a", "a", **body), flags=[*flags, "--thinker-top-p", "0.5"])
    options = fake_engine.asked
    assert (options["return_audio"], options["speaker"]) == (speaks, speaker)
    assert (options["use_audio_in_video"], options["fps"]) == (hears, fps)
    assert options["sampling"] == SamplingParams(**sampling)


REFUSED = {
    "stream": ({"stream": True}, 400, "stream", "a batch file has whole answers"),
    "field": ({"tempratur": 1}, 400, "tempratur", "did you mean temperature"),
    "type": ({"temperature": "warm"}, 400, "temperature", "valid number"),
    "range": ({"temperature": -1}, 400, "temperature", "from 0 to 100"),
    "voice": ({"audio": {"voice": "alloy"}}, 400, "audio.voice", "alloy: unknown speaker"),
    "two voices": ({"audio": {"voice": "Aiden"}, "speaker": "Aiden"}, 400, "speaker", "the same"),
    "model": ({"model": "gpt-4o"}, 404, "model", "'gpt-4o' is not served here"),
    "messages": ({"messages": []}, 400, "messages", "at least 1"),
    "role": ({"messages": [{"role": "robot", "content": "a"}]}, 400, "messages", "'robot'"),
    "part": ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, 400, "messages", "'smell'"),
    "old speech": ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, 400, "messages", "send its text"),
    "tool": ({"tools": [{}]}, 400, "tools", "tool 0"),
    "n": ({"n": 2}, 400, "n", "1"),
}


def test_refused_requests_have_the_servers_answer_and_fail_alone(answers, asked, fake_engine):
    lines = [request(name, "x", **body) for name, (body, *_) in REFUSED.items()]
    found, said = answers(request("a", "a"), *lines, request("b", "b"), code=1)
    assert asked == ["a", "b"] and fake_engine.loaded["with_talker"] is False
    for name, (_, status, param, words) in REFUSED.items():
        error = found[name]["body"]["error"]
        assert (found[name]["status_code"], error["param"]) == (status, param) and words in error["message"], error
        assert set(error) == {"message", "type", "param", "code"}
    early = (
        f" line 2: stream: a batch file has whole answers; expected false; this and {len(lines) - 1} more such lines"
    )
    assert early in said.splitlines()[0] and "2 of 2 done, " in said
    assert f"{len(lines)} of {len(lines) + 2} conversations failed; " in said.splitlines()[-1]


def test_nothing_is_loaded_where_nothing_can_be_asked(answers, no_engine):
    found, _ = answers(request("a", "a", stream=True), code=1)
    assert found["a"]["status_code"] == 400


def test_speech_of_a_model_that_has_none(cli, manifest, silent_dir, tmp_path, fake_engine, asked):
    words = ["batch", "--model", silent_dir, "--out", tmp_path / "out"]
    done = cli(*words, "--manifest", manifest(request("a", "a"), request("b", "b", modalities=["text", "audio"])))
    assert done.code == 1 and asked == ["a"] and "line 2: modalities: the checkpoint" in done.err
    done = cli(*words, "--manifest", manifest(request("a", "a")), "--speak")
    assert done.code == 2 and "--speak: the checkpoint" in done.err


def test_failures_are_the_servers_and_are_tried_again(answers, asked):
    lines = [request(text, text) for text in ("a", "OmniError", "RuntimeError")]
    found, said = answers(*lines, code=1)
    assert found["OmniError"]["status_code"] == 400
    assert found["OmniError"]["body"]["error"]["message"] == "is too\nlong"
    assert found["RuntimeError"]["status_code"] == 500
    assert found["RuntimeError"]["body"]["error"]["message"] == "internal error"
    assert "ms-omni: OmniError: is too long\n" in said
    assert "ms-omni: RuntimeError: internal error: RuntimeError: is too long\n" in said
    asked.clear()
    answers(*lines, code=1)
    assert asked == ["OmniError", "RuntimeError"]


# speech


def speech(kind):
    return {"modalities": ["text", "audio"], "audio": {"format": kind}}


def test_speech_is_a_file_or_inline_and_may_change_without_asking_again(answers, asked, tmp_path):
    kinds = {"a": "wav", "b": "flac", "c/c": "pcm16", "d": "opus"}
    lines = [request(name, "a", **speech(kind)) for name, kind in kinds.items()]
    found, _ = answers(*lines)
    files = {"a": "a.wav", "b": "b.flac", "c/c": "c%2Fc.pcm", "d": "d.opus"}
    audios = {name: message_of(response).audio for name, response in found.items()}
    for name, audio in audios.items():
        assert audio.data == "" and audio.transcript == "to a" and audio.path == str(tmp_path / "out" / files[name])
    assert set(os.listdir(tmp_path / "out")) == {*files.values(), "answers", "results.jsonl"}
    samples, rate = soundfile.read(tmp_path / "out" / "b.flac", dtype="float32")
    assert rate == 24000
    np.testing.assert_allclose(samples, np.linspace(-1, 1, 3285), atol=1e-4)
    asked.clear()
    again, said = answers(*lines, flags=["--audio-as", "inline"])
    assert asked == [] and "all 4 are answered already" in said
    for name, response in again.items():
        audio = message_of(response).audio
        assert audio.id == audios[name].id and not hasattr(audio, "path")
        assert base64.b64decode(audio.data, validate=True) == (tmp_path / "out" / files[name]).read_bytes()
    back, _ = answers(*lines, flags=["--audio-as", "file"])
    assert asked == [] and back == found


def test_a_lost_wave_and_another_format_are_answered_again(answers, asked, tmp_path):
    answers(request("a", "a", **speech("flac")), request("b", "b", **speech("flac")))
    asked.clear()
    (tmp_path / "out" / "a.flac").unlink()
    answers(request("a", "a", **speech("flac")), request("b", "b", **speech("wav")))
    assert asked == ["a", "b"]
    assert sorted(os.listdir(tmp_path / "out")) == ["a.flac", "answers", "b.wav", "results.jsonl"]


def test_speech_that_cannot_be_encoded_fails_alone(answers, asked, monkeypatch):
    plain_write = soundfile.write

    def write(file, samples, rate, format, **options):
        if format == "FLAC":
            raise RuntimeError("no FLAC here")
        plain_write(file, samples, rate, format=format, **options)

    monkeypatch.setattr(soundfile, "write", write)
    found, said = answers(request("a", "a", **speech("flac")), request("b", "b", **speech("wav")), code=1)
    assert found["a"]["status_code"] == 500 and message_of(found["b"]).audio.transcript == "to b"
    assert "ms-omni: a: internal error: RuntimeError: no FLAC here\n" in said


def test_a_full_disk_is_a_line_and_leaves_no_half_file(batch, asked, manifest, tmp_path, monkeypatch):
    def refuse(old, new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    done = batch(manifest(request("c", "c", **speech("wav"))))
    assert done.code == 2 and f"--out {tmp_path / 'out' / 'c.wav'}: could not be written" in done.err
    assert [name for _, _, names in os.walk(tmp_path / "out") for name in names] == []


def test_a_call_of_a_tool_is_not_spoken_and_not_asked_again(answers, asked, tmp_path):
    call = '<tool_call>{"name": "look", "arguments": {"at": 1}}</tool_call>'
    line = request("a", call, **speech("wav"), tools=TOOLS)
    found, _ = answers(line)
    message = message_of(found["a"])
    assert message.audio is None and message.tool_calls[0].function.arguments == '{"at": 1}'
    asked.clear()
    answers(line)
    assert asked == [] and sorted(os.listdir(tmp_path / "out")) == ["answers", "results.jsonl"]


def test_reasoning_that_the_prompt_opens(answers, asked, fake_engine, monkeypatch):
    monkeypatch.setattr(fake_engine, "prompt", "<|im_start|>assistant\n<think>\n")
    message = message_of(answers(request("a", "why\n</think>\n\nso"))[0]["a"])
    assert (message.reasoning_content, message.content) == ("to why", "so")


# going on


def test_what_has_changed_is_asked_again_and_all_else_is_kept(answers, asked):
    before, _ = answers(request("a", "a"), request("b", "b"), request("c", "c", seed=1))
    asked.clear()
    after, _ = answers(request("b", "b"), request("a", "other"), request("c", "c", seed=2))
    assert asked == ["other", "c"] and after["b"] == before["b"]


def test_files_of_every_id(answers, asked, tmp_path):
    ids = ["a/b", "a%2Fb", ".hidden", "..", "x" * 201, "x" * 202, "two\nlines\x1b[31m", "ü"]
    _, said = answers(
        *[request(name, "a", **speech("wav")) for name in ids], request("OmniError\n", "OmniError"), code=1
    )
    names = sorted(os.listdir(tmp_path / "out" / "answers"))
    assert len(set(names)) == len(ids) + 1 and all(name.endswith(".json") for name in names)
    assert {"a%2Fb.json", "a%252Fb.json", "%2Ehidden.json", "%2E..json", "two%0Alines%1B[31m.json", "ü.json"} < {*names}
    assert "ms-omni: OmniError%0A: is too long\n" in said
    assert len([name for name in os.listdir(tmp_path / "out") if name.endswith(".wav")]) == len(ids)


# wrong files


GOOD = request("first", "a")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({key: value for key, value in GOOD.items() if key != "custom_id"}, "custom_id: Field required"),
        ({**GOOD, "custom_id": ""}, "custom_id: "),
        ({**GOOD, "custom_id": 3}, "custom_id: "),
        ('{"custom_id": "\\ud800", "method": "POST", "url": "/v1/chat/completions", "body": {}}', "custom_id: "),
        (GOOD, "the id 'first' is that of another line"),
        ({**GOOD, "method": "GET"}, "method: Input should be 'POST'"),
        ({**GOOD, "url": "/v1/embeddings"}, "url: Input should be '/v1/chat/completions'"),
        ({key: value for key, value in GOOD.items() if key != "body"}, "body: Field required"),
        ({**GOOD, "body": "text"}, "body: "),
        ({**GOOD, "id": "x"}, "unknown field 'id'"),
        ({"id": "x", "text": "a"}, "is no request of OpenAI's API, unlike line 1; a file holds one form"),
        ({}, "is no request"),
        ("[1]", "expected an object"),
        ("{", "not valid JSON (column 2"),
        (json.dumps(GOOD).replace('"first"', "NaN"), "not valid JSON (NaN"),
        ('{"custom_id": ' + "1" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_lines_that_are_no_requests(user_error, no_engine, manifest, tiny_dir, tmp_path, line, words):
    path = manifest(GOOD, line)
    message = user_error("batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out")
    assert f"--manifest {path} line 2: " in message and words in message, message
    assert not (tmp_path / "out").exists()


def test_files_of_conversations_take_no_requests_and_none_of_their_flags(user_error, no_engine, manifest, tmp_path):
    words = ["batch", "--out", tmp_path / "out", "--manifest"]
    mixed = user_error(*words, manifest({"text": "a"}, GOOD))
    assert " line 2: is a request of OpenAI's API, unlike line 1" in mixed
    assert "--audio-as: is for requests" in user_error(*words, manifest({"text": "a"}), "--audio-as", "inline")
    assert "--served-model-name: is for" in user_error(*words, manifest({"text": "a"}), "--served-model-name", "x")
    assert "--audio-as: 'mp3'" in user_error(*words, manifest(GOOD), "--audio-as", "mp3")


def test_media_beside_the_file(answers, asked, fake_engine, tmp_path):
    (tmp_path / "beside.png").write_bytes((MEDIA / "tiny_shapes.png").read_bytes())
    answers(request("a", {"type": "image_url", "image_url": {"url": "beside.png"}}, "a"))
    assert fake_engine.asked["conversation"][0]["content"][0]["image"] == str(tmp_path / "beside.png")


def test_what_the_server_alone_needs_is_not_imported():
    """A batch runs without the extra [serve]."""
    program = "import sys, ms_omni.cli.batch.job; print([x for x in ('starlette', 'uvicorn', 'prometheus_client', "
    program += "'mindspore', 'transformers') if x in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


# the real engine


def test_answers_are_those_of_the_server_and_of_the_engine(batch, manifest, fused, tiny_dir, tmp_path):
    """Text, picture, sound, video with its sound, several turns, tools, speech."""
    import httpx

    from ms_omni.server.app import make_app
    from ms_omni.server.service import ServerSettings, Service

    sound = base64.b64encode((MEDIA / "tiny_words.wav").read_bytes()).decode()
    greedy = {"temperature": 0, "max_tokens": 4, "talker": {"max_new_tokens": 3, "temperature": 0}}
    picture = {"type": "image_url", "image_url": {"url": str(MEDIA / "tiny_shapes.png")}}
    video = {"type": "video_url", "video_url": {"url": str(MEDIA / "tiny_ball.mp4")}}
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "A"},
    ]
    lines = [
        request("text", "Hello", **greedy),
        request("sampled", "Hello", seed=3, temperature=1, max_tokens=4),
        request("picture", picture, "What?", **greedy),
        request("sound", {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}, **greedy),
        request("video", video, **greedy, mm_processor_kwargs={"use_audio_in_video": True}),
        request("turns", **greedy, messages=turns),
        request("tools", "Look", **greedy, tools=TOOLS),
        request("speech", "Hello", **greedy, **speech("wav")),
        request("broken", {"type": "image_url", "image_url": {"url": str(MEDIA / "tiny_words.wav")}}, **greedy),
        request("too long", "long " * 70_000, **greedy),
    ]  # fmt: skip
    done = batch(manifest(*lines), "--audio-as", "inline")
    assert done.code == 1, done.err
    found = [document["response"] for document in results(tmp_path)]

    service = Service(ServerSettings((str(tiny_dir),)))
    service.open(fused)

    async def ask():
        transport = httpx.ASGITransport(make_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=600) as client:
            return [await client.post(URL, json=line["body"]) for line in lines]

    for line, response, expected in zip(lines, found, asyncio.run(ask()), strict=True):
        assert response["status_code"] == expected.status_code, line["custom_id"]
        assert plain(response["body"]) == plain(expected.json()), line["custom_id"]
    assert [response["status_code"] for response in found] == [200] * 8 + [400] * 2
    options = {"thinker_temperature": 0, "thinker_max_new_tokens": 4, "talker_temperature": 0}
    alone = fused.generate("Hello", return_audio=True, sampling=SamplingParams(**options, talker_max_new_tokens=3))
    spoken = message_of(found[7])
    assert spoken.content == message_of(found[0]).content == alone.text
    samples, _ = soundfile.read(BytesIO(base64.b64decode(spoken.audio.data)), dtype="float32")
    np.testing.assert_allclose(samples, alone.audio.samples, atol=2**-15)


def plain(body):
    """Without what differs from answer to answer."""
    if "error" in body:
        return body
    copy = json.loads(json.dumps(body))
    del copy["id"], copy["created"]
    message = copy["choices"][0]["message"]
    for name in ("id", "expires_at"):
        message.get("audio", {}).pop(name, None)
    return copy


@pytest.mark.slow
def test_a_killed_batch_goes_on(batch, manifest, tiny_dir, tmp_path):
    flags = ["--max-num-seqs", "1", "--device", "CPU", "--parallel", "none"]
    lines = [request(f"{i}", f"Question {i}", max_tokens=40, ignore_eos=True, temperature=0) for i in range(12)]
    path, out = manifest(*lines, request("bad", "x", stream=True)), tmp_path / "out"
    words = ["batch", "--model", tiny_dir, "--manifest", path, "--out", out, *flags]
    process = subprocess.Popen([sys.executable, "-m", "ms_omni", *map(str, words)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list((out / "answers").glob("*.json"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = {name: json.loads((out / "answers" / name).read_text()) for name in os.listdir(out / "answers")}
    assert 2 <= len(kept) < 12 and not (out / "results.jsonl").exists()
    done = batch(path, *flags)
    assert done.code == 1 and f"{len(kept)} of 12 are answered already" in done.err
    found = {document["custom_id"]: document for document in results(tmp_path)}
    assert list(found) == [*map(str, range(12)), "bad"]
    assert all(found[name.removesuffix(".json")] == record["answer"]["line"] for name, record in kept.items())
    assert all(document["response"]["status_code"] == 200 for name, document in found.items() if name != "bad")
