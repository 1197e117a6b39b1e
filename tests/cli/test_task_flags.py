"""`--task` of understand and batch: what reaches the engine, what comes of the answer, and every wrong use of it."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from batch_results import results
from PIL import Image

from ms_omni import SamplingParams
from ms_omni.checkpoint import built_in
from ms_omni.inputs.access import MediaAccess
from ms_omni.tasks import TASKS, get_task

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]},
        },
    }
]
CALLS = '<tool_call>{"name": "look", "arguments": {"at": "x"}}</tool_call><tool_call>{"name": "look"}</tool_call>'
BOXES = '```json\n[{"bbox_2d": [100, 200, 500, 1000], "label": "bird"}]\n```'


@pytest.fixture
def media(tmp_path):
    """Paths by kind, and of a file of functions."""
    names = {"image": "a.png", "audio": "a.wav", "video": "a.mp4", "tools": "tools.json"}
    paths = {kind: tmp_path / name for kind, name in names.items()}
    Image.new("RGB", (200, 100), "white").save(paths["image"])
    soundfile.write(paths["audio"], np.zeros(16000, np.float32), 16000)
    shutil.copyfile(built_in.DIRECTORY.parent / "tiny_ball.mp4", paths["video"])
    paths["tools"].write_text(json.dumps(TOOLS))
    return paths


@pytest.fixture
def says(fake_engine, monkeypatch):
    """says(text): what the engine answers from now on."""
    answer = fake_engine._output

    def set_text(text):
        def output(self, with_audio):
            from dataclasses import replace

            return replace(answer(self, with_audio), text=text)

        monkeypatch.setattr(fake_engine, "_output", output)

    return set_text


def flags_of(name, media):
    """What a task needs."""
    task = get_task(name)
    words = ["--task", name, f"--{task.media[0]}", media[task.media[0]]]
    words += ["--text", "What is it?"] if task.question == "required" else []
    return [*words, *(["--tools", media["tools"]] if task.takes_tools else [])]


@pytest.mark.parametrize("name", [name for name in TASKS if name != "captioner"])
def test_a_task_is_asked_as_the_documents_do(cli, fake_engine, tiny_dir, media, name):
    task, done = get_task(name), cli("understand", "--model", tiny_dir, *flags_of(name, media))
    assert done.code == 0, done.err
    asked = fake_engine.asked
    part, *texts = asked["conversation"][-1]["content"]
    assert part[part["type"]] == str(media[task.media[0]])
    prompt = task.prompt(text="What is it?" if task.question == "required" else None)
    assert texts == ([{"type": "text", "text": prompt}] if prompt else [])
    assert [m["content"][0]["text"] for m in asked["conversation"][:-1]] == ([task.system] if task.system else [])
    assert asked["sampling"] == SamplingParams(thinker_temperature=0)
    assert (asked["fps"], asked["use_audio_in_video"]) == (
        (2.0, task.use_audio_in_video) if "video" in task.media else (None, False)
    )
    assert asked.get("tools") == (TOOLS if task.takes_tools else None)


def test_flags_win_over_the_tasks_rules(cli, fake_engine, tiny_dir, media):
    words = ["--fps", "1", "--no-use-audio-in-video", "--thinker-temperature", "0.5", "--system", "Be brief."]
    done = cli("understand", "--model", tiny_dir, *flags_of("audio-visual-dialogue", media), *words)
    assert done.code == 0, done.err
    asked = fake_engine.asked
    assert (asked["fps"], asked["use_audio_in_video"]) == (1.0, False)
    assert asked["sampling"] == SamplingParams(thinker_temperature=0.5)
    assert asked["conversation"][0]["content"] == [{"type": "text", "text": "Be brief."}]


def test_a_checkpoint_that_is_no_instruct_one_decodes_as_its_own_file_says(cli, fake_engine, silent_dir, media):
    assert cli("understand", "--model", silent_dir, *flags_of("ocr", media)).code == 0
    assert fake_engine.asked["sampling"] == SamplingParams()


def test_a_task_from_a_file_and_its_medium_from_the_command_line(cli, fake_engine, tiny_dir, media, tmp_path):
    (tmp_path / "s.yaml").write_text("task: speech-recognition\nlanguage: fr\naudio: nowhere.wav\n")
    words = ["understand", "--model", tiny_dir, "--config", tmp_path / "s.yaml"]
    assert cli(*words, "--audio", media["audio"]).code == 0
    said = fake_engine.asked["conversation"][0]["content"][1]["text"]
    assert said == "Transcribe the French audio into text."
    (tmp_path / "c.json").write_text('[{"role": "user", "content": "Hi"}]')
    assert cli(*words, "--conversation", tmp_path / "c.json").code == 0, "a conversation replaces the file's task"


def test_reasoning_and_calls_in_the_document(cli, fake_engine, says, tiny_dir, media):
    says(f"<think>Hm.</think>I look. {CALLS}")
    words = ["understand", "--model", tiny_dir, "--json"]
    document = json.loads(cli(*words, *flags_of("audio-function-call", media)).out)
    assert (document["text"], document["reasoning"]) == ("I look.", "Hm.")
    good, bad = document["tool_calls"]
    assert good == {"name": "look", "arguments": {"at": "x"}}
    assert bad == {"name": "look", "arguments": {}, "error": "arguments: 'at' is a required property"}
    document = json.loads(cli(*words, "--text", "Hi", "--tools", media["tools"]).out)
    assert len(document["tool_calls"]) == 2, "functions without a task"
    document = json.loads(cli(*words, "--text", "Hi").out)
    assert "tool_calls" not in document and document["text"] == f"I look. {CALLS}"
    fake_engine.prompt = "<|im_start|>assistant\n<think>\n"
    says("Hm.</think>\n\nYes.")
    document = json.loads(cli(*words, "--text", "Hi").out)
    assert (document["text"], document["reasoning"]) == ("Yes.", "Hm.")


def test_text_alone_is_printed_whole(cli, says, tiny_dir, media):
    says("<think>Hm.</think>Yes.")
    assert cli("understand", "--model", tiny_dir, "--text", "Hi").out == "<think>Hm.</think>Yes.\n"


def test_boxes_in_pixels_of_the_original_picture_and_drawn(cli, says, tiny_dir, media, tmp_path):
    says(BOXES)
    target = tmp_path / "boxes.png"
    words = ["understand", "--model", tiny_dir, "--json", *flags_of("object-grounding", media), "--render", target]
    done = cli(*words, "--max-pixels", "4096")  # smaller than the picture: the answer's places are relative
    document = json.loads(done.out)
    assert done.code == 0 and document["image_size"] == [200, 100] and "boxes_error" not in document
    assert document["boxes"] == [{"label": "bird", "box": [20, 20, 100, 100]}] and document["text"] == BOXES
    drawn = np.asarray(Image.open(target))
    assert drawn.shape == (100, 200, 3) and (drawn[25:95, 20] != 255).any(axis=1).all()
    assert (drawn[50:90, 110:190] == 255).all()


def test_boxes_that_do_not_parse_are_flagged_and_not_drawn(cli, says, tiny_dir, media, tmp_path):
    says("It is on the left.")
    words = ["understand", "--model", tiny_dir, *flags_of("object-grounding", media)]
    document = json.loads(cli(*words, "--json").out)
    assert (document["text"], document["boxes"]) == ("It is on the left.", [])
    assert "no JSON list of places" in document["boxes_error"]
    done = cli(*words, "--render", tmp_path / "boxes.png")
    assert (done.code, done.out) == (1, "It is on the left.\n") and not (tmp_path / "boxes.png").exists()
    assert "warning: the answer is no JSON list of places" in done.err and "is not written" in done.err
    says('[{"point_2d": [500, 500]}, {}]')
    done = cli(*words, "--render", tmp_path / "boxes.png")
    assert done.code == 1 and "lacks it" in done.err and (tmp_path / "boxes.png").is_file()


def test_a_picture_that_is_gone_costs_the_boxes_not_the_answer(batch, fake_engine, says, manifest, media, tmp_path):
    says(BOXES)
    answer = fake_engine.generate

    def generate(self, conversation, **options):
        media["image"].unlink(missing_ok=True)
        return answer(self, conversation, **options)

    fake_engine.generate = generate
    line = {"task": "object-grounding", "image": str(media["image"]), "text": "bird"}
    assert batch(manifest(line, {"text": "Hi"})).code == 0
    grounded, other = results(tmp_path)
    assert (grounded["text"], grounded["boxes"], other["text"]) == (BOXES, [], BOXES)
    assert "could not be read again" in grounded["boxes_error"] and "a.png" in grounded["boxes_error"]


def test_a_full_disk_leaves_no_half_picture(cli, says, tiny_dir, media, tmp_path, monkeypatch):
    says(BOXES)

    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ms_omni.files.os.replace", refuse)
    words = flags_of("object-grounding", media)
    done = cli("understand", "--model", tiny_dir, *words, "--render", tmp_path / "boxes.png")
    assert done.code == 2 and "--render" in done.err and "No space left" in done.err
    assert not list(tmp_path.glob("*boxes.png*"))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--task", "orc"], ["--task orc: unknown task, did you mean ocr?", "speech-recognition"]),
        (["--task", "ocr"], ["--task ocr", "expected one --image"]),
        (["--task", "ocr", "--audio", "audio"], ["--audio: --task ocr is about another medium"]),
        (["--task", "ocr", "--image", "image", "--image", "image"], ["--image, --image", "single medium, got 2"]),
        (["--task", "ocr", "--conversation", "c.json"], ["--conversation and --task exclude each other"]),
        (["--task", "speech-recognition", "--audio", "audio", "--language", "klingon"], ["--language", "'klingon'"]),
        (["--text", "Hi", "--language", "en"], ["--language en: goes with --task"]),
        (["--text", "Hi", "--target-language", "en"], ["--target-language en: goes with --task"]),
        (["--task", "image-question", "--image", "image"], ["--text is missing"]),
        (["--task", "audio-function-call", "--audio", "audio"], ["--tools is missing"]),
        (["--task", "ocr", "--image", "image", "--tools", "tools"], ["--tools: --task ocr calls no functions"]),
        (["--text", "Hi", "--tools", "audio"], ["--tools", "not UTF-8 text"]),
        (["--text", "Hi", "--tools", "gone.json"], ["--tools gone.json: cannot be read"]),
        (["--text", "Hi", "--render", "a.png"], ["--render a.png", "--task object-grounding"]),
        (["--task", "ocr", "--image", "image", "--render", "a.png"], ["--render a.png", "--task object-grounding"]),
        (
            ["--task", "object-grounding", "--image", "image", "--text", "x", "--render", "a.jpg"],
            ["--render a.jpg", "ends with .png"],
        ),
        (
            ["--task", "object-grounding", "--image", "image", "--text", "x", "--render", "gone/a.png"],
            ["--render gone/a.png", "does not exist"],
        ),
        (
            ["--task", "speech-translation", "--audio", "audio", "--target-language", "nl", "--audio-out", "a.wav"],
            ["--target-language Dutch", "the model speaks English, Chinese", "text alone"],
        ),
        (["--task", "captioner", "--audio", "audio"], ["is Instruct", "--task captioner", "--task audio-caption"]),
    ],
)
def test_wrong_uses_are_one_line_before_anything_is_loaded(user_error, no_engine, tiny_dir, media, words, parts):
    words = [media.get(word, word) for word in words]
    line = user_error("understand", "--model", tiny_dir, *words)
    assert all(part in line for part in parts), line


def test_a_silent_video_where_the_task_listens(user_error, no_engine, tiny_dir, media, tmp_path):
    import av

    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 64
        for _ in range(8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    media["video"] = tmp_path / "silent.mp4"
    line = user_error("understand", "--model", tiny_dir, *flags_of("audio-visual-interaction", media))
    assert "no audio track" in line and "--no-use-audio-in-video" in line


def test_a_bad_schema_is_one_line(user_error, no_engine, tiny_dir, tmp_path):
    bad = [{"type": "function", "function": {"name": "f", "parameters": {"type": "objekt"}}}]
    (tmp_path / "t.json").write_text(json.dumps(bad))
    line = user_error("understand", "--model", tiny_dir, "--text", "Hi", "--tools", tmp_path / "t.json")
    assert "t.json: tool 0: 'parameters' of 'f' is no JSON schema" in line


def test_a_captioner_takes_one_audio_and_no_text(cli, user_error, fake_engine, captioner_dir, media):
    words = ["understand", "--model", captioner_dir]
    assert cli(*words, "--audio", media["audio"]).code == 0
    assert cli(*words, "--task", "captioner", "--audio", media["audio"]).code == 0
    assert fake_engine.asked["conversation"] == [
        {"role": "user", "content": [{"type": "audio", "audio": str(media["audio"])}]}
    ]
    assert fake_engine.asked["sampling"] == SamplingParams(), "its own generation_config.json"
    line = user_error(*words, "--audio", media["audio"], "--text", "What is it?")
    assert f"--model {captioner_dir}: is a Captioner and takes one audio and no text; got audio, text" in line
    assert "got image" in user_error(*words, "--image", media["image"])
    line = user_error(*words, "--task", "audio-caption", "--audio", media["audio"])
    assert "is a Captioner, which cannot do --task audio-caption; expected --task captioner" in line


# batch


@pytest.fixture
def asked_all(fake_engine, monkeypatch):
    """All that the engine is asked, in order."""
    calls, answer = [], fake_engine.generate

    def generate(self, conversation, **options):
        calls.append({"conversation": conversation, **options})
        return answer(self, conversation, **options)

    monkeypatch.setattr(fake_engine, "generate", generate)
    return calls


def text_of(call):
    return call["conversation"][-1]["content"][-1].get("text")


def test_every_line_has_its_task_and_the_flag_is_for_those_that_say_nothing(batch, asked_all, manifest, media):
    audio, image, video = (str(media[kind]) for kind in ("audio", "image", "video"))
    path = manifest(
        {"audio": audio},
        {"audio": audio, "language": "de"},
        {"task": "ocr", "image": image, "language": "zh"},
        {"task": "video-description", "video": video},
        {"task": "audio-visual-interaction", "video": video, "use_audio_in_video": False},
        {"task": "speech-translation", "audio": audio, "target_language": "fr"},
        {"task": "song-lyrics", "audio": audio},
        {"task": "audio-function-call", "audio": audio, "tools": TOOLS},
        {"task": None, "text": "Hi"},
    )
    done = batch(path, "--task", "speech-recognition", "--language", "en")
    assert done.code == 0, done.err
    assert [text_of(call) for call in asked_all] == [
        "Transcribe the English audio into text.",
        "Transcribe the German audio into text.",
        "请提取图片中的文字。",
        "Describe the video.",
        None,
        "Listen to the provided English speech and produce a translation in French text.",
        get_task("song-lyrics").prompt(),
        None,
        "Hi",
    ]
    assert [call["fps"] for call in asked_all] == [None, None, None, 2.0, 2.0, None, None, None, None]
    assert not any(call["use_audio_in_video"] for call in asked_all)
    greedy, own = SamplingParams(thinker_temperature=0), SamplingParams()
    assert [call["sampling"] for call in asked_all] == [greedy] * 8 + [own]
    assert [call.get("tools") for call in asked_all] == [None] * 7 + [TOOLS, None]


def test_flags_of_a_batch_win_over_its_tasks(batch, asked_all, manifest, media):
    path = manifest({"task": "audio-visual-question", "video": str(media["video"]), "text": "Who?"})
    done = batch(path, "--no-use-audio-in-video", "--fps", "4", "--thinker-temperature", "0.7", "--seed", "1")
    assert done.code == 0, done.err
    (call,) = asked_all
    assert (call["use_audio_in_video"], call["fps"]) == (False, 4.0)
    assert call["sampling"] == SamplingParams(thinker_temperature=0.7, seed=1)


def test_functions_of_the_flag_are_for_lines_that_take_some(batch, asked_all, manifest, media):
    audio, image = str(media["audio"]), str(media["image"])
    path = manifest(
        {"task": "audio-function-call", "audio": audio}, {"task": "ocr", "image": image}, {"text": "Hi"},
    )  # fmt: skip
    done = batch(path, "--tools", media["tools"])
    assert done.code == 0, done.err
    assert [call.get("tools") for call in asked_all] == [TOOLS, None, TOOLS]


def test_answers_of_a_batch_are_read_too(batch, says, manifest, media, tmp_path):
    says(BOXES)
    path = manifest({"task": "object-grounding", "image": str(media["image"]), "text": "bird"}, {"text": "Hi"})
    assert batch(path).code == 0
    grounded, plain = results(tmp_path)
    assert grounded["boxes"] == [{"label": "bird", "box": [20, 20, 100, 100]}] and "boxes" not in plain
    says(f"<think>Hm.</think>{CALLS}")
    assert batch(manifest({"text": "Hi", "tools": TOOLS}), "--restart").code == 0
    (line,) = results(tmp_path)
    assert (line["text"], line["reasoning"], len(line["tool_calls"])) == ("", "Hm.", 2)


def test_another_task_is_another_question(batch, asked_all, manifest, media, tmp_path):
    audio = str(media["audio"])
    assert batch(manifest({"audio": audio}), "--task", "sound-analysis").code == 0
    assert batch(manifest({"audio": audio}), "--task", "sound-analysis").code == 0
    assert len(asked_all) == 1, "answered already"
    assert batch(manifest({"audio": audio}), "--task", "audio-caption").code == 0
    assert batch(manifest({"text": "Hi"})).code == 0
    assert batch(manifest({"text": "Hi", "tools": TOOLS})).code == 0
    assert len(asked_all) == 4
    image = str(media["image"])
    same = {"task": "image-question", "image": image, "text": "Locate the object: x."}
    assert batch(manifest(same)).code == 0
    assert batch(manifest({"task": "object-grounding", "image": image, "text": "x"})).code == 0
    assert len(asked_all) == 6 and "boxes_error" in results(tmp_path)[0], "what is read from the answer differs"


@pytest.mark.parametrize(
    ("line", "flags", "parts"),
    [
        ({"task": "orc", "image": "image"}, [], ["--task orc: unknown task, did you mean ocr?"]),
        ({"task": 3, "image": "image"}, [], ["'task' is 3; expected a name"]),
        ({"task": "ocr"}, [], ["--task ocr", "expected one --image"]),
        ({"task": "ocr", "image": ["image", "image"]}, [], ["single medium, got 2"]),
        ({"task": "ocr", "conversation": []}, [], ["'conversation' and 'task' exclude each other"]),
        ({"conversation": []}, ["--task", "ocr"], ["'conversation' and --task ocr exclude", '"task": null']),
        ({"task": "ocr", "image": "image", "language": "klingon"}, [], ["--language", "'klingon'"]),
        ({"text": "a", "language": "en"}, [], ["'language' goes with 'task'"]),
        ({"text": "a", "tools": [{}]}, [], ["'tools': tool 0"]),
        ({"text": "a", "tools": []}, [], ["'tools': an empty list"]),
        ({"task": "ocr", "image": "image", "tools": TOOLS}, [], ["--task ocr calls no functions"]),
        ({"task": "audio-function-call", "audio": "audio"}, [], ["--tools is missing"]),
        ({"task": "captioner", "audio": "audio"}, [], ["is Instruct", "--task audio-caption"]),
        (
            {"task": "speech-translation", "audio": "audio", "target_language": "nl", "speak": True},
            [],
            ["'target_language' Dutch: the model speaks"],
        ),
    ],
)
def test_wrong_lines(user_error, no_engine, manifest, tiny_dir, tmp_path, media, line, flags, parts):
    line = {
        key: [str(media[name]) for name in value] if isinstance(value, list) and key in media and key != "tools"
        else str(media[value]) if key in media and isinstance(value, str) else value
        for key, value in line.items()
    }  # fmt: skip
    path = manifest(line)
    said = user_error("batch", "--model", tiny_dir, "--manifest", path, "--out", tmp_path / "out", *flags)
    assert f"--manifest {path} line 1: " in said and all(part in said for part in parts), said
    assert not (tmp_path / "out").exists()


def test_wrong_flags_of_a_batch(user_error, no_engine, manifest, tiny_dir, tmp_path):
    words = ["batch", "--model", tiny_dir, "--out", tmp_path / "out", "--manifest"]
    assert "--task orc: unknown task" in user_error(*words, manifest({"text": "a"}), "--task", "orc")
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    line = user_error(*words, manifest(request), "--task", "ocr")
    assert "--task: is for conversations" in line and "requests of OpenAI's API" in line


def test_a_captioner_answers_no_other_line(user_error, no_engine, manifest, captioner_dir, media, tmp_path):
    path = manifest({"audio": str(media["audio"]), "text": "What is it?"})
    line = user_error("batch", "--model", captioner_dir, "--manifest", path, "--out", tmp_path / "out")
    assert "line 1: " in line and "is a Captioner and takes one audio and no text; got audio, text" in line


def test_only_media_that_may_be_read_are_read_for_their_size(batch, says, manifest, media, tmp_path, monkeypatch):
    from ms_omni.cli import output

    seen, read = [], output._picture
    monkeypatch.setattr(
        output, "_picture", lambda conversation, access: seen.append(access) or read(conversation, access)
    )
    says(BOXES)
    path = manifest({"task": "object-grounding", "image": str(media["image"]), "text": "bird"})
    assert batch(path, "--allowed-local-media-path", tmp_path).code == 0
    assert seen == [MediaAccess(restricted=True, local_directory=str(tmp_path))]


# the commands that tell


def test_the_list_of_tasks(cli, user_error):
    done = cli("tasks")
    assert done.code == 0 and [line.split()[0] for line in done.out.splitlines()[: len(TASKS)]] == list(TASKS)
    documents = json.loads(cli("tasks", "--json").out)
    assert [document["name"] for document in documents] == list(TASKS)
    line = user_error("tasks", "orc")
    assert line.startswith("ms-omni: tasks orc: unknown task, did you mean ocr?")


def test_one_task(cli):
    out = cli("tasks", "object-grounding").out
    assert "Locate the object: {text}." in out and "cookbooks/object_grounding.ipynb, cell 4" in out
    command = "ms-omni understand --task object-grounding --image picture.jpg --text bird --render boxes.png"
    assert command in out
    document = json.loads(cli("tasks", "audio_visual_question", "--json").out)
    assert document["options"] == {"fps": 2.0, "use_audio_in_video": True} and document["question"] == "required"


def test_every_tasks_command_line_is_one(tmp_path, monkeypatch):
    import shlex

    from ms_omni.cli.commands import command_parser
    from ms_omni.cli.task_flags import TaskFlags
    from ms_omni.tasks.describe import command_of
    from ms_omni.tasks.request import task_conversation

    monkeypatch.chdir(tmp_path)
    (tmp_path / "functions.json").write_text(json.dumps(TOOLS))
    for task in TASKS.values():
        program, command, *words = shlex.split(command_of(task))
        assert (program, command) == ("ms-omni", "understand")
        settings = vars(command_parser("understand").parse_args(words))
        flags = TaskFlags.of(settings)
        assert flags.task is task
        task_conversation(task, settings, settings.get("text"), flags.language, flags.target_language)


def test_doctor_names_what_a_checkpoint_can_do(cli, tiny_dir, silent_dir, captioner_dir):
    found = {}
    for directory in (tiny_dir, silent_dir, captioner_dir):
        done = cli("doctor", "--model", directory, "--json")
        found[directory] = json.loads(done.out)["checkpoint"]
    speaks, thinks, captions = found.values()
    assert (
        speaks["variant"] == "Instruct" and "speech" in speaks["does"] and "ethan" in map(str.lower, speaks["speakers"])
    )
    assert "captioner" not in speaks["tasks"] and len(speaks["tasks"]) == len(TASKS) - 1
    assert thinks["variant"] == "Thinking" and thinks["speakers"] is None and "reasoning" in thinks["does"]
    assert captions["variant"] == "Captioner" and captions["tasks"] == ["captioner"]
    out = cli("doctor", "--model", captioner_dir).out
    assert "Captioner: describes one recording in text" in out and "\ntasks: captioner\n" in out


def test_doctor_and_a_checkpoint_that_is_none(user_error, tmp_path):
    assert "no such directory" in user_error("doctor", "--model", tmp_path / "gone")
