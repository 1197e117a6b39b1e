"""Requests of the page: every kind of file, settings that are set, limits told before anything is sent."""

import base64
import json

import pytest

from ms_omni.demo.question import MIB, QuestionError, Settings, Turn, chat_body, check_size, max_file_bytes, number
from ms_omni.server.engine_input import engine_input
from ms_omni.server.schema import ChatRequest, parsed

LIMIT = 2 * MIB


@pytest.fixture
def files(tmp_path):
    made = {}
    for name in ("a.png", "b.wav", "c.mp4", "d.webm", "e.txt"):
        made[name] = str(tmp_path / name)
        (tmp_path / name).write_bytes(name.encode())
    return made


def body_of(turns, settings=None, limit=LIMIT):
    return json.loads(chat_body(turns, settings or Settings(), limit))


def test_words_alone():
    body = body_of([Turn("user", "Hello")])
    assert body == {"messages": [{"role": "user", "content": "Hello"}], "stream": True, "modalities": ["text"]}


def test_files_come_before_the_words(files):
    turn = Turn("user", "What is this?", (files["a.png"], files["b.wav"], files["c.mp4"], files["d.webm"]))
    picture, sound, video, recording, words = body_of([turn])["messages"][0]["content"]
    assert picture["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(b"a.png").decode()
    assert sound["input_audio"] == {"data": base64.b64encode(b"b.wav").decode(), "format": "wav"}
    assert video["video_url"]["url"].startswith("data:video/mp4;base64,")
    assert recording["video_url"]["url"].startswith("data:video/webm;base64,")
    assert words == {"type": "text", "text": "What is this?"}
    assert len(body_of([Turn("user", " ", (files["b.wav"],))])["messages"][0]["content"]) == 1


def test_earlier_turns_are_sent_but_not_those_that_failed(files):
    turns = [
        Turn("user", "One", (files["a.png"],)),
        Turn("assistant", "1", reasoning="Hm.", notes="_Stopped._", wave="answer.wav"),
        Turn("user", "Bad", failed=True),
        Turn("assistant", notes="no", failed=True),
        Turn("user", "Two"),
    ]
    messages = body_of(turns)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "1" and messages[2]["content"] == "Two"


def test_the_server_understands_every_setting(files):
    settings = Settings(
        "m", True, "Ethan", "Be short.", temperature=0.0, top_p=0.5, max_tokens=7, seed=3, use_audio_in_video=True
    )
    turns = [Turn("user", "?", (files["c.mp4"],))]
    asked = engine_input(parsed(ChatRequest, json.loads(chat_body(turns, settings, LIMIT))))
    sampling, options = asked.options["sampling"], asked.options
    assert (sampling.thinker_temperature, sampling.thinker_top_p, sampling.thinker_max_new_tokens) == (0.0, 0.5, 7)
    assert sampling.seed == 3 and options["speaker"] == "Ethan" and options["return_audio"] and asked.stream
    assert options["use_audio_in_video"] and asked.conversation[0]["role"] == "system"


def test_sound_of_videos_is_asked_for_only_where_there_is_a_video(files):
    settings = Settings(use_audio_in_video=True)
    assert "mm_processor_kwargs" not in body_of([Turn("user", "?", (files["a.png"],))], settings)


def test_too_much_and_the_wrong_kind_are_said(files, tmp_path):
    with pytest.raises(QuestionError, match="e.txt: expected a picture, a sound or a video"):
        body_of([Turn("user", "?", (files["e.txt"],))])
    most = max_file_bytes(LIMIT)
    large = tmp_path / "large.png"
    large.write_bytes(bytes(most))
    assert len(chat_body([Turn("user", "?", (str(large),))], Settings(), LIMIT)) <= LIMIT
    with pytest.raises(QuestionError, match="together"):
        check_size([str(large), files["a.png"]], LIMIT)


def test_fields_of_the_page():
    assert (number("Seed", " 3 ", int), number("Top p", "0.5", float), number("Seed", " ", int)) == (3, 0.5, None)
    with pytest.raises(QuestionError, match="Seed: expected a whole number, got '0.5'"):
        number("Seed", "0.5", int)
    with pytest.raises(QuestionError, match="Top p: expected a number"):
        number("Top p", "hot", float)
