"""Which variant a checkpoint is, and what that lets it answer."""

import json

import pytest

from ms_omni import OmniError, SamplingParams, tasks
from ms_omni.tasks.variant import Variant, check_captioner, check_task, variant_of, with_decoding_rule

SILENT = {"model_type": "qwen3_omni_moe", "enable_audio_output": False}
SPEAKS = {"model_type": "qwen3_omni_moe", "enable_audio_output": True, "talker_config": {}}


@pytest.mark.parametrize(
    ("place", "config", "variant"),
    [
        ("Qwen3-Omni-30B-A3B-Instruct", SPEAKS, Variant.INSTRUCT),
        ("my-captioner-but-it-speaks", SPEAKS, Variant.INSTRUCT),
        ("Qwen3-Omni-30B-A3B-Thinking", SILENT, Variant.THINKING),
        ("Qwen3-Omni-30B-A3B-Captioner", SILENT, Variant.CAPTIONER),
        ("models--Qwen--Qwen3-Omni-30B-A3B-Captioner/snapshots/26f3", SILENT, Variant.CAPTIONER),
        ("some-model", {**SILENT, "_name_or_path": "Qwen/Qwen3-Omni-30B-A3B-Thinking"}, Variant.THINKING),
        ("some-model", SILENT, Variant.TEXT),
        ("captioner-experiments/some-model", SILENT, Variant.TEXT),
    ],
)
def test_variants(tmp_path, place, config, variant):
    directory = tmp_path / place
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config))
    assert variant_of(directory) is variant


def test_what_is_set_is_kept():
    given = SamplingParams(thinker_top_k=5)
    assert with_decoding_rule(given, Variant.INSTRUCT) is given
    assert with_decoding_rule(SamplingParams(seed=3), Variant.INSTRUCT) == SamplingParams(seed=3, thinker_temperature=0)


def test_a_captioner_has_one_task_and_no_other_has_it():
    for task in tasks.TASKS.values():
        if task.name == "captioner":
            check_task(task, Variant.CAPTIONER, "m")
            check_task(task, Variant.TEXT, "m")  # perhaps one
            for variant in (Variant.INSTRUCT, Variant.THINKING):
                with pytest.raises(OmniError, match=f"m: is {variant.value}.*expected --task audio-caption"):
                    check_task(task, variant, "m")
        else:
            check_task(task, Variant.INSTRUCT, "m")
            check_task(task, Variant.THINKING, "m")
            with pytest.raises(OmniError, match=f"cannot do --task {task.name}; expected --task captioner"):
                check_task(task, Variant.CAPTIONER, "m")


@pytest.mark.parametrize(
    ("messages", "got"),
    [
        ([{"role": "user", "content": "What is it?"}], "got text"),
        (
            [{"role": "user", "content": [{"type": "audio", "audio": "a"}, {"type": "text", "text": "?"}]}],
            "audio, text",
        ),
        ([{"role": "user", "content": [{"type": "audio", "audio": "a"}] * 2}], "audio, audio"),
        ([{"role": "user", "content": [{"type": "video", "video": "a"}]}], "got video"),
        (
            [{"role": "system", "content": "Hi"}, {"role": "user", "content": [{"type": "audio", "audio": "a"}]}],
            "system's text, audio",
        ),
    ],
)
def test_a_captioner_takes_one_audio_and_nothing_else(messages, got):
    with pytest.raises(OmniError, match="m: is a Captioner and takes one audio and no text") as caught:
        check_captioner(messages, Variant.CAPTIONER, "m")
    assert got in str(caught.value)
    check_captioner(messages, Variant.TEXT, "m")
    check_captioner([{"role": "user", "content": [{"type": "audio", "audio": "a"}]}], Variant.CAPTIONER, "m")
