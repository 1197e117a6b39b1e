"""Workloads: YAML into cases, cases into tasks whose digest is of everything that decides the work."""

import pytest

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.profiling.synthetic_media import MediaMaker
from ms_omni.profiling.task import TaskSettings, make_task, text_of
from ms_omni.profiling.workload import Recipe, names, read_workload


def words(text):
    return len(text.split())


def write(tmp_path, text, name="own.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def task(recipe, tmp_path, **settings):
    sampling = settings.pop("sampling", SamplingParams())
    return make_task(recipe, TaskSettings(sampling, **settings), MediaMaker(tmp_path), words)


@pytest.mark.parametrize("name", names())
def test_every_workload_of_the_project_reads(name):
    recipes = read_workload(name)
    assert recipes and all(recipe.name.startswith(name) for recipe in recipes)
    assert len({recipe.name for recipe in recipes}) == len(recipes)


def test_what_the_project_promises_to_measure():
    seconds = {recipe.audio_seconds for name in names() for recipe in read_workload(name)}
    assert {8, 60, 1800} <= seconds
    videos = [recipe for name in names() for recipe in read_workload(name) if recipe.name.startswith("video-")]
    assert {recipe.video_seconds for recipe in videos} == {15, 30, 60, 120}
    assert all(recipe.use_audio_in_video for recipe in videos)


def test_lists_are_cases(tmp_path):
    recipes = read_workload(write(tmp_path, "prompt_tokens: [8, 16]\nthinker_max_new_tokens: [2, 4]\nspeech: false\n"))
    assert [(recipe.prompt_tokens, recipe.thinker_max_new_tokens) for recipe in recipes] == [
        (8, 2), (8, 4), (16, 2), (16, 4),
    ]  # fmt: skip
    assert recipes[1].name == "own (prompt_tokens 8, thinker_max_new_tokens 4)"
    assert not recipes[0].speech


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a mapping"),
        ("- 1", "expected a mapping"),
        ("a: [", "not valid YAML (line 1 column 5: "),
        ("audio_second: 3", "unknown key 'audio_second', did you mean audio_seconds?"),
        ("audio_seconds: -3", "audio_seconds: -3 is not allowed; expected a number of seconds above 0"),
        ("audio_seconds: .inf", "audio_seconds: inf is not allowed"),
        ("audio_seconds: true", "audio_seconds: True is not allowed"),
        ("audio_seconds: []", "expected at least one value"),
        ("prompt_tokens: 1.5", "prompt_tokens: 1.5 is not allowed; expected a whole number of at least 1"),
        ("prompt_tokens: [3, 3]", "names a case twice"),
        ("image_pixels: 12", "expected WIDTHxHEIGHT"),
        ("video_seconds: 3\nvideo_fps: [1, 2]", "video_fps: expected one value"),
        ("talker_max_new_tokens: 1\ntext: a", "expected a whole number of at least 2"),
        ("text: a\nprompt_tokens: 3", "exclude each other"),
        ("speech: true", "asks nothing"),
        ("text: a\nspeech: 1", "expected true or false"),
        ("text: a\nuse_audio_in_video: true", "without a video"),
        ("text: a\nbatch_size: 4", "a profile asks one conversation at a time"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(OmniError) as caught:
        read_workload(path)
    assert message in str(caught.value) and str(caught.value).startswith(f"--workload {path}: ")
    assert "\n" not in str(caught.value)


def test_unknown_names_and_files_that_are_not_there():
    with pytest.raises(OmniError, match="unknown workload, did you mean audio-8s"):
        read_workload("audio8s")
    with pytest.raises(OmniError, match="cannot be read"):
        read_workload("nowhere.yaml")


def test_batch_size_of_one_is_said_freely(tmp_path):
    assert len(read_workload(write(tmp_path, "text: a\nbatch_size: 1"))) == 1


@pytest.mark.parametrize("tokens", [1, 2, 39, 40, 41, 500])
def test_generated_text_has_the_tokens_that_were_asked_for(tokens):
    assert words(text_of(tokens, words)) == tokens
    # where a word takes three tokens, as many words as fit
    assert words(text_of(tokens, lambda text: 3 * words(text))) == max(1, tokens // 3)


def test_a_task_always_runs_to_its_maximum(tmp_path):
    recipe = Recipe("a", "--workload a", text="Hello", thinker_max_new_tokens=7, talker_max_new_tokens=9)
    made = task(recipe, tmp_path)
    assert made.sampling == SamplingParams(thinker_max_new_tokens=7, talker_max_new_tokens=9, ignore_eos=True)
    given = task(recipe, tmp_path, sampling=SamplingParams(thinker_max_new_tokens=3, seed=1))
    assert (given.sampling.thinker_max_new_tokens, given.sampling.talker_max_new_tokens) == (3, 9)
    assert made.options["return_audio"] and not task(recipe, tmp_path, speech=False).options["return_audio"]


def test_media_come_in_one_turn(tmp_path):
    (recipe,) = read_workload("smoke")
    made = task(recipe, tmp_path)
    kinds = [part["type"] for part in made.conversation[0]["content"]]
    assert kinds == ["image", "audio", "video", "text"]
    assert made.use_audio_in_video and len(made.media) == 3


def test_the_digest_is_of_the_work_and_not_of_where_the_media_lie(tmp_path):
    recipe = Recipe("a", "", text="Hello", audio_seconds=1)
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    digest = task(recipe, tmp_path / "x").digest
    assert task(recipe, tmp_path / "y").digest == digest
    others = [
        task(Recipe("a", "", text="Hello", audio_seconds=2), tmp_path),
        task(Recipe("a", "", text="Hello!", audio_seconds=1), tmp_path),
        task(Recipe("a", "", text="Hello", audio_seconds=1, thinker_max_new_tokens=3), tmp_path),
        task(recipe, tmp_path, speech=False),
        task(recipe, tmp_path, limits={"max_pixels": 5}),
    ]
    assert len({digest, *(other.digest for other in others)}) == 6


def test_the_digest_of_the_users_media_is_of_their_content(tmp_path):
    def digest(folder, content):
        (tmp_path / folder).mkdir(exist_ok=True)
        file = tmp_path / folder / "a.wav"
        file.write_bytes(content)
        conversation = [{"role": "user", "content": [{"type": "audio", "audio": str(file)}]}]
        made = task(Recipe("a", "", conversation=conversation), tmp_path)
        assert made.conversation == conversation and made.media == ("audio a.wav",)
        return made.digest

    assert digest("x", b"1") == digest("y", b"1") != digest("x", b"2")
