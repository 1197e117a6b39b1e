"""Memory plans: hand-computed bytes, the runtime's own bounds, token counts as the processor makes them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.errors import OmniError
from ms_omni.planning.hardware import NAMES, find_hardware, measured_hardware
from ms_omni.planning.memory import Planned, cache_rows, most_prompt_tokens, plan_memory
from ms_omni.planning.model import RELEASED, RELEASED_DIR, plan_config, released_name
from ms_omni.planning.published import compare_memory
from ms_omni.planning.weights import weight_bytes, weight_counts
from ms_omni.planning.workload import Workload, audio_tokens, media_sizes


@pytest.fixture(scope="module")
def instruct():
    return Planned(plan_config("instruct"), find_hardware("910b2"), "bfloat16", speak=True)


def tiny_plan(directory, speak=True):
    return Planned(plan_config(str(directory)), find_hardware("cpu"), "float32", speak)


def test_released_weights_are_those_of_the_checkpoints(instruct):
    # 70.5 GB is the size of the released Instruct checkpoint.
    assert plan_memory(instruct, Workload(), "none", 1).weight_bytes == pytest.approx(70.5e9, rel=0.001)
    thinking = Planned(plan_config("thinking"), find_hardware("910b2"), "bfloat16", speak=False)
    assert plan_memory(thinking, Workload(), "none", 1).weight_bytes == pytest.approx(63.44e9, rel=0.001)


def test_released_configurations_hold_configuration_alone():
    for file in RELEASED_DIR.glob("*.json"):
        content = json.loads(file.read_text())
        assert content["enable_audio_output"] == ("talker_config" in content) == (file.stem == "instruct")


@pytest.mark.parametrize("speak", [True, False])
def test_weights_of_a_checkpoint_to_the_byte(tiny_dir, speak):
    reader = CheckpointReader(tiny_dir)
    names = [name for name in reader.names() if speak or name.startswith("thinker.")]
    expected = sum(reader.read(name).size * 4 for name in names)
    assert plan_memory(tiny_plan(tiny_dir, speak), Workload(), "none", 1).weight_bytes == expected


@pytest.mark.parametrize("mode", ["zero3", "ep", "tp"])
@pytest.mark.parametrize("cards", [2, 4])
def test_weights_of_rank_0_are_those_of_the_shard_table(tiny_dir, mode, cards):
    from ms_omni.parallel.table import padded_shape, shard_slices

    planned, reader = tiny_plan(tiny_dir), CheckpointReader(tiny_dir)
    expected = 0
    for name in reader.names():
        if shard_slices(name, reader.shape(name), mode, 0, cards, planned.sizes) is not None:
            expected += 4 * int(np.prod(padded_shape(name, reader.shape(name), mode, cards, planned.sizes)))
    counts = weight_counts(planned.config)
    assert sum(weight_bytes(counts, planned.sizes, mode, cards, planned.precision, speak=True).values()) == expected


def test_caches_by_hand(instruct):
    # 48 layers * 2 * 4 heads * 128 * 2 B = 98,304 B a position. 900 + 100 tokens: one cache of 1024 rows, and the
    # 128 of a block that is nobody's.
    silent = Planned(instruct.config, instruct.hardware, "bfloat16", speak=False)
    work = Workload(prompt_tokens=900, max_new_tokens=100)
    assert plan_memory(silent, work, "ep", 2).kv_cache == 1152 * 98_304
    assert plan_memory(silent, work, "tp", 2).kv_cache == 1152 * 98_304 // 2
    assert plan_memory(silent, work, "tp", 8).kv_cache == 1152 * 98_304 // 4  # one head on each card, twice
    # zero3: of three conversations two on one card, of five one on each of some and none elsewhere
    for batch, cards, rows in ((3, 2, 2 * 1024), (5, 8, 1024), (1, 2, 1024)):
        assert plan_memory(silent, replace(work, batch=batch), "zero3", cards).kv_cache == (rows + 128) * 98_304
    # The Talker: 20 * 2 * 2 * 128 * 2 B = 20,480 B a position; the code predictor keeps a frame in its graph.
    speech = plan_memory(instruct, Workload(900, max_new_tokens=100, talker_max_new_tokens=100), "ep", 2)
    assert speech.kv_cache == 1152 * (98_304 + 20_480)


@pytest.mark.parametrize(
    ("prompt", "new", "batch", "expected"),
    [(100, 26, 1, 2), (100, 27, 1, 3), (100, 27, 4, 9), (1, 1, 1, 2)],  # a call of four tokens writes all of their rows
)
def test_blocks_of_answers_and_one_of_nobody(prompt, new, batch, expected):
    assert cache_rows(prompt, new, batch, 4) == 128 * expected


def test_audio_tokens_are_those_of_the_encoder(cpu):
    from ms_omni.models.audio_encoder import audio_token_counts

    frames = list(range(1, 420))
    assert [audio_tokens(n) for n in frames] == audio_token_counts(np.array(frames)).tolist()


@pytest.mark.parametrize("size", [(640, 480), (33, 1000), (2000, 3000), (10, 10), (641, 353)])
def test_tokens_are_those_of_the_processor(tiny_dir, cpu, size):
    from PIL import Image

    from ms_omni.inputs.processor import InputProcessor

    frames = np.zeros((26, 3, size[1] // 4 + 60, size[0] // 4 + 60), np.uint8)
    sound = np.zeros(16_000 * 3 + 8000, np.float32)
    parts = [
        {"type": "image", "image": Image.new("RGB", size)},
        {"type": "audio", "audio": sound},
        {"type": "video", "video": frames},
        {"type": "text", "text": "Hello"},
    ]
    found = InputProcessor.from_pretrained(tiny_dir).prepare([{"role": "user", "content": parts}]).usage_counts
    work = Workload(
        images=(size,), audio_seconds=3.5, video_seconds=13, video_size=(size[0] // 4 + 60, size[1] // 4 + 60)
    )
    media = media_sizes(work, plan_config(str(tiny_dir)))
    assert (media.image_tokens, media.audio_tokens, media.video_tokens) == (
        found["image_tokens"],
        found["audio_tokens"],
        found["video_tokens"],
    )
    text = found["prompt_tokens"] - media.image_tokens - media.audio_tokens - media.video_tokens
    assert media.prompt_tokens + 5 <= found["prompt_tokens"] and text < 40


def test_what_is_longest_fits_and_one_more_does_not(instruct):
    small = Planned(instruct.config, find_hardware("910b4"), "bfloat16", speak=True)
    longest = most_prompt_tokens(small, Workload(), "ep", 4)
    assert 64 < longest < 65_536
    assert plan_memory(small, Workload(prompt_tokens=longest), "ep", 4).fits
    assert not plan_memory(small, Workload(prompt_tokens=longest + 1), "ep", 4).fits
    assert most_prompt_tokens(small, Workload(), "none", 1) == 0
    assert most_prompt_tokens(instruct, Workload(), "tp", 8) == 65_536  # of the model


def test_zero3_holds_gathered_layers(instruct):
    whole = plan_memory(instruct, Workload(), "none", 1).weights
    layer = (whole["thinker experts"] + whole["thinker layers"]) / 48
    zero3, ep = (plan_memory(instruct, Workload(), mode, 2) for mode in ("zero3", "ep"))
    assert zero3.buffers - ep.buffers == 3 * layer


def test_the_readme_beside_this_engine():
    instruct, thinking = compare_memory()
    assert (instruct.model, thinking.model) == ("instruct", "thinking")
    for row in (instruct, thinking):
        # Less than transformers needs, which keeps the logits of all positions, and more than the weights.
        assert all(row.weights < ours < theirs for ours, theirs in zip(row.planned, row.published, strict=True))
        assert list(row.planned) == sorted(row.planned)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"video_seconds": -1.0}, ["--video-seconds -1.0", "at least 0"]),
        ({"audio_seconds": float("nan")}, ["--audio-seconds nan"]),
        ({"fps": 0.0}, ["--fps 0.0", "above 0"]),
        ({"prompt_tokens": 0}, ["--prompt-tokens 0", "at least 1"]),
        ({"use_audio_in_video": True}, ["--use-audio-in-video", "--video-seconds"]),
    ],
)
def test_impossible_workloads(settings, parts):
    with pytest.raises(OmniError) as error:
        Workload(**settings)
    assert all(words in str(error.value) for words in parts)


@pytest.mark.parametrize(
    ("settings", "flag"),
    [({"images": ((1, 5000),)}, "--image-pixels 1x5000"), ({"video_seconds": 0.01}, "--video-seconds 0.01")],
)
def test_media_that_the_processor_refuses(instruct, settings, flag):
    with pytest.raises(OmniError, match=flag):
        plan_memory(instruct, Workload(**settings), "ep", 2)


def test_names_of_models_and_hardware(tmp_path):
    assert released_name("Qwen/Qwen3-Omni-30B-A3B-Thinking") == "thinking"
    assert [find_hardware(name).name for name in NAMES] == list(NAMES)
    assert find_hardware("Ascend910B4").memory_bytes == 32e9
    with pytest.raises(OmniError, match="--hardware 910b9: not known, did you mean 910b"):
        find_hardware("910b9")
    with pytest.raises(OmniError, match="instruct, thinking, captioner"):
        plan_config(str(tmp_path / "gone"))
    with pytest.raises(OmniError, match="config.json"):
        plan_config(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(OmniError, match="'llama'"):
        plan_config(str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    ("name", "known", "gigabytes"),
    [
        ("Ascend910B2C", "910b2", 64),
        ("Ascend910B4-1", "910b4-1", 64),
        ("Ascend910B4", "910b4", 32),
        ("910B3", "910b3", 64),
        *((f"Ascend910_93{digits}", "a3", 64) for digits in ("91", "92", "81", "82", "72", "62")),
        ("Ascend 910C", "a3", 64),
    ],
)
def test_names_that_cann_gives_cards(name, known, gigabytes):
    found, note = measured_hardware(name, (gigabytes << 30) - (256 << 20))
    assert (found.name, found.memory_bytes, note) == (known, gigabytes * 1e9, "")
    assert measured_hardware(name, 0) == (find_hardware(name), "")


def test_cards_are_what_they_measure():
    found, note = measured_hardware("Ascend910B4", 64 << 30)
    assert found.name == "910b4" and found.memory_bytes == 64 << 30
    assert note == "Ascend910B4: 68.7 GB as measured, usual are 32 GB" == found.sources[-1]
    found, note = measured_hardware("Ascend910X7", 48 << 30)
    assert (found.name, found.memory_bytes, found.bandwidth) == ("Ascend910X7", 48 << 30, 0.8e12)
    assert note == "Ascend910X7: not a known card; its memory is as measured, everything else that of a 910B4"
    with pytest.raises(OmniError, match="--hardware Ascend910X7: not known"):
        measured_hardware("Ascend910X7", 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_assumed_figure_names_its_source(name):
    figures = ["weights read", "a launch", "graph call", "small collective", "memory: of this machine"]
    if name != "cpu":
        figures = ["memory size and bandwidth", "a launch in a graph", "a replay", "a collective in a graph",
                   "a synchronisation", "a launch from Python", "memory usable"]  # fmt: skip
    sources = " ".join(find_hardware(name).sources)
    assert "AllGather" in sources and [figure for figure in figures if figure not in sources] == []


def test_the_configurations_of_released_models_are_part_of_the_package():
    assert sorted(file.stem for file in RELEASED_DIR.glob("*.json")) == sorted(RELEASED)
