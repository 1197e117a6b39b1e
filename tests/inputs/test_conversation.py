"""What counts as a conversation, and the line that says why something does not."""

import base64
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

from ms_omni.errors import OmniError
from ms_omni.inputs.conversation import build_conversation, load_conversation, validate_conversation
from ms_omni.inputs.mm_info import process_mm_info
from ms_omni.inputs.schema import media_parts


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


TEXT = {"type": "text", "text": "hi"}

BAD = [
    ({"role": "user"}, "expected a list of messages, got an object"),
    ("hi", "expected a list of messages, got a string"),
    ([], "expected at least one message, got an empty list"),
    (["hi"], "message 0: expected an object with role and content, got a string"),
    ([{"role": "user"}], "message 0: 'content' is missing"),
    ([{"content": "hi"}], "message 0: 'role' is missing"),
    ([{"role": "robot", "content": "hi"}], "message 0: unknown role 'robot'; allowed: system, user, assistant"),
    ([{"role": None, "content": "hi"}], "message 0: unknown role None; allowed: system, user, assistant"),
    ([{"role": "user", "content": "hi", "name": "x"}], "message 0: unknown key 'name'; allowed: role, content"),
    ([{"role": "user", "content": 3}], "message 0: 'content' must be a string or a list of parts, got int"),
    ([{"role": "user", "content": []}], "message 0: 'content' is an empty list"),
    ([{"role": "system", "content": "be"}], "no message with role 'user'"),
    (
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b", "reasoning_content": 1}],
        "message 1: 'reasoning_content' must be a string, got int",
    ),
    (user(TEXT, 7), "message 0, part 1: expected an object with a type, got int"),
    (user({"text": "hi"}), "message 0, part 0: 'type' is missing; allowed: text, image, audio, video"),
    (user({"type": "smell"}), "part 0: unknown content type 'smell'; allowed: text, image, audio, video"),
    (user({"type": ["text"]}), "part 0: unknown content type ['text']; allowed: text, image, audio, video"),
    (user({"type": "image"}), "part 0: image part without 'image' or 'image_url'"),
    (user({"type": "text"}), "part 0: text part without 'text'"),
    (user({"type": "text", "text": None}), "part 0: 'text' must be a string, got null"),
    (user({"type": "image", "image": "a", "image_url": "b"}), "part 0: both 'image' and 'image_url'; give one"),
    (user({"type": "image", "image": 5}), "part 0: 'image' must be a path, a URL or an array, got int"),
    (user({"type": "image", "image": ""}), "part 0: 'image' is an empty string"),
    (user({"type": "image", "image": ["a"]}), "part 0: 'image' must be a path, a URL or an array, got a list"),
    (user({"type": "video", "video": []}), "part 0: 'video' is an empty list of frames"),
    (user({"type": "video", "video": ["a", 1]}), "part 0: frame 1 of 'video' must be a path or an image, got int"),
    (
        user({"type": "video", "video": {}}),
        "'video' must be a path, a URL, a list of frames or an array, got an",
    ),
    (
        user({"type": "image", "image": "a", "fps": 1}),
        "part 0: unknown key 'fps'; allowed: type, image, image_url",
    ),
    (user({"type": "video", "video": "a", "fps": 1, "nframes": 4}), "part 0: both 'fps' and 'nframes'; give one"),
    (user({"type": "video", "video": "a", "fps": 0}), "part 0: 'fps' must be a number above 0, got 0"),
    (user({"type": "video", "video": "a", "fps": True}), "part 0: 'fps' must be a number above 0, got True"),
    (user({"type": "video", "video": "a", "fps": float("nan")}), "part 0: 'fps' must be a number above 0, got nan"),
    (user({"type": "video", "video": "a", "nframes": "8"}), "part 0: 'nframes' must be a number above 0, got '8'"),
    (
        user({"type": "image", "image": "a", "min_pixels": 2.5}),
        "'min_pixels' must be a whole number above 0 and at most 2^53, got 2.5",
    ),
    (user({"type": "image", "image": "a", "min_pixels": 9, "max_pixels": 4}), "'min_pixels' 9 is above 'max_pixel"),
    (
        user({"type": "image", "image": "a", "resized_width": 9}),
        "'resized_height' and 'resized_width' must be given to",
    ),
    (
        user({"type": "audio", "audio": "a", "audio_start": -1}),
        "must be a number of seconds from 0, got -1",
    ),
    (user({"type": "audio", "audio": "a", "audio_end": 0}), "part 0: 'audio_start' 0 must be below 'audio_end' 0"),
    (
        user({"type": "video", "video": "a", "video_start": 3, "video_end": 2}),
        "part 0: 'video_start' 3 must be below 'video_end' 2",
    ),
]


@pytest.mark.parametrize("conversation,message", BAD, ids=[message for _, message in BAD])
def test_what_is_wrong_is_said_in_one_line(conversation, message):
    with pytest.raises(OmniError) as caught:
        validate_conversation(conversation)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_long_values_are_cut_in_messages():
    with pytest.raises(OmniError) as caught:
        validate_conversation(user({"type": "x" * 5000}))
    assert len(str(caught.value)) < 200


def test_conversations_of_the_model_card_pass():
    conversation = [
        {"role": "system", "content": [{"type": "text", "text": "be brief"}]},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hi", "reasoning_content": "they greet"},
        *user(
            {"type": "image", "image": Image.new("RGB", (9, 9)), "min_pixels": 100, "max_pixels": 900.0},
            {"type": "image_url", "image_url": "https://x/y.png"},
            {"type": "audio", "audio_url": "data:audio/wav;base64,AA==", "audio_start": 0, "audio_end": 1.5},
            {"type": "audio", "audio": np.zeros(9)},
            {"type": "video", "video": ["a.png", Image.new("RGB", (9, 9))], "sample_fps": 2, "raw_fps": 30},
            {"type": "video", "video": "v.mp4", "fps": 1, "min_frames": 2, "max_frames": 8, "total_pixels": 2.5e5},
            TEXT,
        ),
    ]
    assert validate_conversation(conversation) is conversation
    assert [kind for kind, _, _ in media_parts(conversation)] == ["image", "image", "audio", "audio", "video", "video"]


def test_a_turn_is_built_with_media_before_text():
    system, turn = build_conversation("be", "what?", ["i1", "i2"], ["a"], ["v"])
    assert system == {"role": "system", "content": [{"type": "text", "text": "be"}]}
    assert [list(part.values()) for part in turn["content"]] == [
        ["image", "i1"], ["image", "i2"], ["audio", "a"], ["video", "v"], ["text", "what?"],
    ]  # fmt: skip


def test_a_turn_with_nothing_in_it_is_refused():
    with pytest.raises(OmniError, match="nothing to answer: give --conversation, --text"):
        build_conversation(system="be")


WAVE = base64.b64encode(b"RIFF and so on").decode()
OPENAI = [
    ({"type": "image_url", "image_url": {"url": "a.png"}}, {"type": "image", "image": "a.png"}),
    (
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "auto"}, "max_pixels": 9999},
        {"type": "image", "image": "https://x/y.png", "max_pixels": 9999},
    ),
    ({"type": "video_url", "video_url": {"url": "v.mp4"}, "fps": 1}, {"type": "video", "video": "v.mp4", "fps": 1}),
    ({"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{WAVE}"}}, f"data:audio/wav;base64,{WAVE}"),
    ({"type": "audio_url", "audio_url": "a.wav"}, "a.wav"),
    ({"type": "input_audio", "input_audio": {"data": WAVE, "format": "mp3"}}, f"data:audio/mp3;base64,{WAVE}"),
    ({"type": "input_audio", "input_audio": {"data": f"{WAVE[:8]}\n{WAVE[8:]}\n"}}, f"data:audio/wav;base64,{WAVE}"),
    ({"type": "input_audio", "input_audio": {"data": "data:audio/ogg;base64,AA==", "format": "ogg"}},
     "data:audio/ogg;base64,AA=="),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), OPENAI)
def test_parts_of_openai_become_ours(given, expected):
    expected = expected if isinstance(expected, dict) else {"type": "audio", "audio": expected}
    before = json.dumps(conversation := user(TEXT, given))
    assert validate_conversation(conversation) == user(TEXT, expected)
    assert json.dumps(conversation) == before  # that of the caller is as it was


BAD_OPENAI = [
    ({"type": "image_url"}, "image part without 'image' or 'image_url'"),
    ({"type": "image_url", "image_url": {}}, "'image_url' without 'url'"),
    ({"type": "image_url", "image_url": {"url": ""}}, "'url' of 'image_url' must be a text, got an empty string"),
    ({"type": "image_url", "image_url": {"url": 3}}, "'url' of 'image_url' must be a text, got int"),
    ({"type": "image_url", "image_url": {"uri": "a"}}, "unknown key 'uri' in 'image_url'; allowed: url, detail"),
    ({"type": "image_url", "image_url": {"url": "a", "detail": "low"}}, "'detail' can only be 'auto'; 'max_pixels'"),
    ({"type": "image_url", "image_url": {"url": "a"}, "image": "b"}, "both 'image_url' and 'image'; give one"),
    ({"type": "image_url", "image_url": {"url": "a"}, "fps": 1}, "unknown key 'fps'; allowed: type, image"),
    ({"type": "video_url", "video_url": ["a"]}, "'video_url' must be an object {\"url\": \"...\"}, got list"),
    ({"type": "audio_url", "audio": "a"}, "audio_url part without 'audio_url'"),
    ({"type": "input_audio", "input_audio": "AA=="}, "'input_audio' must be an object {\"data\": \"...\""),
    ({"type": "input_audio", "input_audio": {"format": "wav"}}, "'input_audio' without 'data'"),
    ({"type": "input_audio", "input_audio": {"data": "AA=="[:3]}}, "is not valid base64 (Incorrect padding)"),
    ({"type": "input_audio", "input_audio": {"data": "sounds/y.wav"}}, "goes into an audio_url part"),
    ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "a;b"}}, "must be a word such as wav or mp3"),
    ({"type": "smell"}, "allowed: text, image, audio, video, image_url, audio_url, video_url, input_audio"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "message"), BAD_OPENAI, ids=[message for _, message in BAD_OPENAI])
def test_what_is_wrong_with_a_part_of_openai_is_said_in_one_line(part, message):
    with pytest.raises(OmniError) as caught:
        validate_conversation(user(TEXT, part))
    assert "message 0, part 1: " in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_media_within_parts_of_openai_are_read():
    picture, wave = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (56, 56), "red").save(picture, "PNG")
    soundfile.write(wave, np.zeros(1600), 16000, format="WAV")
    sent = [base64.b64encode(stream.getvalue()).decode() for stream in (picture, wave)]
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{sent[0]}"}},
        {"type": "input_audio", "input_audio": {"data": sent[1], "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": f"data:audio/wav;base64,{sent[1]}"}},
    ]
    audios, images, _ = process_mm_info(user(*parts), use_audio_in_video=False)
    assert [len(audio) for audio in audios] == [1600, 1600] and images[0].getpixel((3, 3)) == (255, 0, 0)


def test_paths_of_openai_count_from_the_file_too(tmp_path):
    (tmp_path / "beside.png").touch()
    path = write(tmp_path / "chat.json", user({"type": "image_url", "image_url": {"url": "beside.png"}}))
    assert load_conversation(path)[0]["content"] == [{"type": "image", "image": str(tmp_path / "beside.png")}]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.mark.parametrize(
    "content,message",
    [
        (None, "cannot be read (No such file or directory)"),
        (b'[{"role":\n "user"', "not valid JSON (line 2 column 8: Expecting ',' delimiter)"),
        (b"", "not valid JSON (line 1 column 1: Expecting value)"),
        (b"\xff\xfe", "not UTF-8 text (byte 0)"),
        (b"[" * 100_000, "nested too deeply"),
        ({}, "expected a list of messages, got an object"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "chat.json"
    if content is not None:
        write(path, content)
    with pytest.raises(OmniError) as caught:
        load_conversation(path)
    assert str(caught.value).startswith(f"--conversation {path}: ")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_media_are_looked_for_here_and_then_beside_the_file(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "both.png").touch()
    (there / "beside.png").touch()
    names = ["both.png", "beside.png", "nowhere.png", "http://x/beside.png"]
    parts = [{"type": "image", "image": name} for name in names] + [{"type": "video", "video": names[:2]}, TEXT]
    path = write(there / "chat.json", user(*parts))
    monkeypatch.chdir(here)
    loaded = load_conversation(path)[0]["content"]
    beside = str(there / "beside.png")
    assert [part["image"] for part in loaded[:4]] == ["both.png", beside, "nowhere.png", "http://x/beside.png"]
    assert loaded[4]["video"] == ["both.png", beside]
    assert loaded[5] == TEXT


def test_byte_order_mark_is_accepted(tmp_path):
    path = write(tmp_path / "chat.json", b"\xef\xbb\xbf" + json.dumps(user(TEXT)).encode())
    assert load_conversation(path) == user(TEXT)


def test_importing_it_imports_nothing_heavy():
    code = "import sys, ms_omni.inputs.conversation; print({'mindspore', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
