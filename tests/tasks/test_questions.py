"""A task as a conversation: order, system prompt, options; and everything that it refuses, in one line."""

import sys

import pytest

from ms_omni import OmniError, SamplingParams, tasks
from ms_omni.tasks.describe import command_of, document_of, lines_of

TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]


def ask(name, **words):
    """The question of a task about a medium that it takes, with what it requires besides."""
    task = tasks.get_task(name)
    kind = task.media[0]
    needed = {kind: f"a.{kind}"}
    if task.question == "required":
        needed["text"] = "What is it?"
    if task.takes_tools:
        needed["tools"] = TOOLS
    return tasks.conversation(name, **{**needed, **words})


@pytest.mark.parametrize("name", tasks.TASKS)
def test_the_medium_comes_first_then_the_text_and_a_system_prompt_only_where_documented(name):
    task = tasks.get_task(name)
    messages, options = ask(name)
    expected = ["user"] if task.system is None else ["system", "user"]
    assert [message["role"] for message in messages] == expected
    parts = messages[-1]["content"]
    assert parts[0]["type"] == task.media[0]
    asked = task.prompt(text="What is it?" if task.question == "required" else None)
    assert [part["text"] for part in parts[1:]] == ([asked] if asked else [])
    if task.system is not None:
        assert messages[0]["content"] == [{"type": "text", "text": task.system}]
    assert parts[0].get("fps") == (2 if "video" in task.media else None)
    assert options.get("fps") == (2 if "video" in task.media else None)
    assert options.get("use_audio_in_video") == (task.use_audio_in_video if "video" in task.media else None)
    assert options.get("tools") == (TOOLS if task.takes_tools else None)


def test_decoding_is_greedy_for_instruct_and_the_checkpoints_own_for_others():
    for variant, temperature in (
        (tasks.Variant.INSTRUCT, 0.0),
        (tasks.Variant.THINKING, None),
        (tasks.Variant.TEXT, None),
    ):
        assert ask("ocr", variant=variant).options["sampling"] == SamplingParams(thinker_temperature=temperature)


def test_a_language_by_code_or_name_in_any_case():
    for language in ("fr", "FR", "french", "French"):
        text = tasks.conversation("speech-recognition", audio="a.wav", language=language)[0][-1]["content"][-1]["text"]
        assert text == "Transcribe the French audio into text."


def test_a_users_question_stands_in_the_place_of_the_prompt():
    for name in ("music-analysis", "video-description", "audio-visual-dialogue"):
        assert ask(name, text="Who sings?").conversation[-1]["content"][1:] == [{"type": "text", "text": "Who sings?"}]


def test_a_users_system_prompt_stands_in_the_place_of_the_tasks():
    messages = ask("audio-visual-dialogue", system="Be a pirate.").conversation
    assert messages[0]["content"] == [{"type": "text", "text": "Be a pirate."}]


def test_interaction_is_about_a_recording_too():
    messages = tasks.conversation("audio-visual-interaction", audio="a.wav").conversation
    assert messages[-1]["content"] == [{"type": "audio", "audio": "a.wav"}]


@pytest.mark.parametrize(
    ("name", "words", "parts"),
    [
        ("speech-recogniton", {}, ["--task speech-recogniton: unknown task, did you mean speech-recognition?", "ocr"]),
        ("ocr", {}, ["--task ocr", "expected one --image"]),
        ("ocr", {"audio": "a.wav"}, ["--audio", "--task ocr", "expected one --image"]),
        ("ocr", {"image": "a.png", "audio": "a.wav"}, ["--audio", "expected one --image"]),
        ("audio-visual-dialogue", {"video": "a", "audio": "b"}, ["--audio, --video", "got 2", "one --video or one"]),
        ("speech-recognition", {"audio": "a", "language": "klingon"}, ["--language: language 'klingon'", "ur (Urdu)"]),
        (
            "speech-translation",
            {"audio": "a", "target_language": "frensh"},
            ["--target-language", "did you mean french"],
        ),
        ("song-lyrics", {"audio": "a", "language": "en"}, ["--language English", "one prompt for all"]),
        ("ocr", {"image": "a", "target_language": "en"}, ["--target-language English", "translates nothing"]),
        ("image-question", {"image": "a"}, ["--task image-question: --text is missing", "What style does"]),
        ("object-grounding", {"image": "a", "text": " "}, ["--text: is empty"]),
        ("speech-recognition", {"audio": "a", "text": "Who?"}, ["--text: --task speech-recognition", "no question"]),
        ("captioner", {"audio": "a", "text": "Who?"}, ["--text: --task captioner", "no question"]),
        ("audio-function-call", {"audio": "a"}, ["--task audio-function-call: --tools is missing"]),
        ("ocr", {"image": "a", "tools": TOOLS}, ["--tools: --task ocr calls no functions"]),
    ],
)
def test_what_a_task_refuses(name, words, parts):
    with pytest.raises(OmniError) as caught:
        tasks.conversation(name, **words)
    line = str(caught.value)
    assert "\n" not in line and all(part in line for part in parts), line


def test_two_media_of_a_kind_are_refused():
    with pytest.raises(OmniError, match="--image, --image: --task ocr is about a single medium, got 2"):
        tasks.request.task_conversation(tasks.get_task("ocr"), {"image": ["a.png", "b.png"]})


@pytest.mark.parametrize("name", tasks.TASKS)
def test_a_task_describes_itself(name):
    task = tasks.get_task(name)
    assert document_of(task)["name"] == name and command_of(task).startswith(f"ms-omni understand --task {name} ")
    said = dict(lines_of(task))
    assert all(said[what] for what in ("task", "medium", "question", "system", "rules", "answer", "source", "command"))


def test_underscores_are_hyphens():
    assert tasks.get_task("object_grounding") is tasks.get_task("object-grounding")


def test_importing_tasks_imports_nothing_heavy():
    import subprocess

    program = "import sys, ms_omni.tasks; print([m for m in ('numpy', 'PIL', 'mindspore') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
