"""The processor around the readers: prompt, counts, options, broken checkpoints."""

import json
import shutil

import numpy as np
import pytest
from made_media import ASSETS, REFERENCE_MEDIA

from ms_omni.errors import OmniError
from ms_omni.inputs.components import normalize, patchify, process_videos
from ms_omni.inputs.conversation import build_conversation
from ms_omni.inputs.processor import InputProcessor

PICTURE, QUESTION, BALL = (str(ASSETS / name) for name in ("shapes.png", "question.wav", "ball.mp4"))
USER = [{"role": "user", "content": "Hello"}]


def test_text_alone(load_processor):
    processor = load_processor()
    prepared = processor.prepare([{"role": "system", "content": "be brief"}, *USER])
    expected = "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert prepared.text == expected
    assert set(prepared.arrays) == {"input_ids", "attention_mask"}
    ids = prepared.arrays["input_ids"]
    assert ids.shape == (1, prepared.usage_counts["prompt_tokens"]) and prepared.arrays["attention_mask"].all()
    assert prepared.usage_counts == {"prompt_tokens": ids.size, "image_tokens": 0, "audio_tokens": 0, "video_tokens": 0}
    assert processor.decode(ids[0]) == "system\nbe brief\nuser\nHello\nassistant\n"


def test_counts_are_those_of_the_grids(load_processor):
    processor = load_processor()
    conversation = build_conversation(None, "?", [PICTURE], [QUESTION], [BALL])
    apart = processor.prepare(conversation)
    heard = processor.prepare(conversation, use_audio_in_video=True)
    merged = 4
    image, video = (apart.arrays[f"{kind}_grid_thw"].prod() // merged for kind in ("image", "video"))
    assert (apart.usage_counts["image_tokens"], apart.usage_counts["video_tokens"]) == (image, video)
    assert heard.usage_counts["video_tokens"] == video
    assert heard.arrays["input_features"].shape[0] == 2 and apart.arrays["input_features"].shape[0] == 1
    seconds = apart.arrays["feature_attention_mask"].sum() / 100
    assert apart.usage_counts["audio_tokens"] == pytest.approx(13 * seconds, abs=1)
    assert heard.usage_counts["audio_tokens"] > apart.usage_counts["audio_tokens"]


def test_fps_is_the_rate_of_grids_and_not_of_frames(load_processor):
    conversation = build_conversation(None, None, videos=[BALL, str(REFERENCE_MEDIA / "silent.mp4")])
    plain, fast = (load_processor().prepare(conversation, fps=fps) for fps in (None, 4.0))
    assert plain.arrays["video_second_per_grid"].tolist() == [2.0, 2.0]
    assert fast.arrays["video_second_per_grid"].tolist() == [0.5, 0.5]
    np.testing.assert_array_equal(plain.arrays["video_grid_thw"], fast.arrays["video_grid_thw"])
    with pytest.raises(OmniError, match="--fps 0: expected a number above 0"):
        load_processor().prepare(conversation, fps=0)


def test_pixel_limits(load_processor):
    conversation = build_conversation(None, None, images=[PICTURE])

    def area(**limits):
        grid = load_processor(**limits).prepare(conversation).arrays["image_grid_thw"]
        return int(grid.prod()) * 16 * 16

    assert area(max_pixels=9000, min_pixels=100) <= 9000 < area() < 400_000 <= area(min_pixels=400_000)
    with pytest.raises(OmniError, match="--min-pixels 9000 is above --max-pixels 100"):
        load_processor(min_pixels=9000, max_pixels=100)
    with pytest.raises(OmniError, match="--max-pixels 0: expected a whole number above 0"):
        load_processor(max_pixels=0)


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|audio_pad|>", "<|video_pad|>"])
def test_media_tokens_in_a_text_are_refused(load_processor, token):
    with pytest.raises(OmniError, match="0 (image|audio|video) parts, but the prompt has 1"):
        load_processor().prepare([{"role": "user", "content": f"look: {token}"}])


def test_a_sound_shorter_than_its_first_window(load_processor):
    def prepare(*lengths):
        parts = [{"type": "audio", "audio": np.full(length, 0.1)} for length in lengths]
        return load_processor().prepare([{"role": "user", "content": parts}])

    with pytest.raises(OmniError, match="audio too short: 200 samples at 16000 Hz, at least 201 are needed"):
        prepare(200)
    assert prepare(201).usage_counts["audio_tokens"] == 1
    assert prepare(100, 3200).usage_counts["audio_tokens"] == 1 + 3


def test_a_picture_too_long_after_reading(load_processor):
    """29 x 5799 is allowed; as multiples of 28 it is not."""
    part = {"type": "image", "image": PICTURE, "resized_height": 29, "resized_width": 5799}
    with pytest.raises(OmniError, match="^conversation: absolute aspect ratio must be smaller than 200"):
        load_processor().prepare([{"role": "user", "content": [part]}])


@pytest.fixture
def broken_dir(processor_dir, tmp_path):
    return shutil.copytree(processor_dir, tmp_path / "broken")


def load_error(directory):
    with pytest.raises(OmniError) as caught:
        InputProcessor.from_pretrained(directory)
    assert str(directory) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


def test_broken_checkpoints(broken_dir, load_processor):
    settings = broken_dir / "preprocessor_config.json"
    original = settings.read_text()
    settings.write_text("{")
    assert "preprocessor_config.json: not valid JSON (line 1 column 2" in load_error(broken_dir)
    settings.write_text("[]")
    assert "preprocessor_config.json: expected a JSON object, got list" in load_error(broken_dir)
    settings.unlink()
    assert "preprocessor_config.json: cannot be read (No such file or directory)" in load_error(broken_dir)
    settings.write_text(original.replace('"patch_size": 16', '"patch_size": "x", "size": 5'))
    assert "the processor's settings cannot be used" in load_error(broken_dir)
    settings.write_text(original)
    (broken_dir / "chat_template.json").write_text("{}")
    assert "the chat template cannot be read" in load_error(broken_dir)
    (broken_dir / "chat_template.json").unlink()
    (broken_dir / "chat_template.jinja").unlink()
    assert "has no chat template" in load_error(broken_dir)


def test_a_checkpoint_without_a_tokenizer(broken_dir, load_processor):
    for path in broken_dir.iterdir():
        if path.name not in ("preprocessor_config.json", "chat_template.jinja"):
            path.unlink()
    assert "the tokenizer cannot be loaded" in load_error(broken_dir)


def test_the_template_may_refuse(broken_dir, load_processor):
    (broken_dir / "chat_template.jinja").write_text("{{ raise_exception('no systems\\nhere') }}")
    with pytest.raises(OmniError, match=r"the chat template refuses it \(no systems here\)"):
        InputProcessor.from_pretrained(broken_dir).prepare(USER)


def test_the_template_of_older_checkpoints(broken_dir, load_processor):
    template = (broken_dir / "chat_template.jinja").read_text()
    (broken_dir / "chat_template.jinja").unlink()
    (broken_dir / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert InputProcessor.from_pretrained(broken_dir).prepare(USER).text == load_processor().prepare(USER).text


def test_settings_of_videos_of_their_own(broken_dir, load_processor):
    (broken_dir / "video_preprocessor_config.json").write_text(
        json.dumps({"patch_size": 14, "image_mean": [0.1, 0.2, 0.3], "video_processor_type": "Qwen2VLVideoProcessor"})
    )
    own = InputProcessor.from_pretrained(broken_dir).processor.video_processor
    assert (own.patch_size, own.image_mean) == (14, [0.1, 0.2, 0.3])
    shared = load_processor().processor.video_processor
    assert (shared.patch_size, shared.image_mean) == (16, [0.5, 0.5, 0.5])


def test_area_given_as_size_alone(broken_dir, load_processor):
    path = broken_dir / "preprocessor_config.json"
    settings = {**json.loads(path.read_text()), "size": {"shortest_edge": 1024, "longest_edge": 4096}}
    del settings["min_pixels"], settings["max_pixels"]
    path.write_text(json.dumps(settings))
    images = InputProcessor.from_pretrained(broken_dir).processor.image_processor
    assert (images.min_pixels, images.max_pixels) == (1024, 4096)


def test_image_settings_that_were_written_over(broken_dir, load_processor):
    """transformers' Qwen3OmniMoeProcessor.save_pretrained leaves the audio settings alone in this file."""
    path = broken_dir / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    images = ("image_processor_type", "patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std")
    path.write_text(json.dumps({key: value for key, value in settings.items() if key not in images}))
    assert "preprocessor_config.json has no image settings" in load_error(broken_dir)
    (broken_dir / "video_preprocessor_config.json").write_text(
        json.dumps(
            {
                "patch_size": 16,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
                "size": {"longest_edge": 5, "shortest_edge": 2},
            }
        )
    )
    again = InputProcessor.from_pretrained(broken_dir).prepare(build_conversation(None, None, images=[PICTURE]))
    expected = load_processor().prepare(build_conversation(None, None, images=[PICTURE]))
    np.testing.assert_array_equal(again.arrays["pixel_values"], expected.arrays["pixel_values"])


def test_patches_of_one_merged_token_follow_each_other():
    """Pixel (t, c, y, x) = its own number; 2 x 2 patches of 2 x 2 pixels merge into a token."""
    video = np.arange(2 * 3 * 8 * 8, dtype=np.float32).reshape(2, 3, 8, 8)
    rows, grid = patchify(video, patch=2, temporal=2, merge=2)
    assert grid == (1, 4, 4) and rows.shape == (16, 3 * 2 * 2 * 2)
    corners = [(0, 0), (0, 2), (2, 0), (2, 2), (0, 4), (0, 6), (2, 4), (2, 6)]
    for row, (y, x) in zip(rows, corners, strict=False):
        np.testing.assert_array_equal(row, video[:, :, y : y + 2, x : x + 2].transpose(1, 0, 2, 3).reshape(-1))


def test_an_odd_last_frame_is_repeated():
    video = np.random.default_rng(0).random((3, 3, 4, 4), dtype=np.float32)
    rows, grid = patchify(video, patch=2, temporal=2, merge=2)
    assert grid == (2, 2, 2)
    np.testing.assert_array_equal(rows, patchify(np.concatenate([video, video[-1:]]), 2, 2, 2)[0])


def test_normalisation():
    video = np.full((1, 3, 1, 1), 255, dtype=np.uint8)
    out = normalize(video, 1 / 255, [0.5, 0.25, 0.0], [0.5, 0.5, 2.0])
    np.testing.assert_allclose(out.reshape(-1), [1.0, 1.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(normalize(video, None, [255, 0, 0], [1, 1, 1]).reshape(-1), [0, 255, 255])


def test_steps_can_be_switched_off():
    class Settings:
        patch_size, temporal_patch_size, merge_size = 2, 2, 2
        do_resize = do_normalize = False
        do_rescale, rescale_factor = True, 0.5

    video = np.full((2, 3, 4, 4), 3, dtype=np.float32)
    arrays = process_videos([video, video[:, :, :, :4]], Settings, {"shortest_edge": 1, "longest_edge": 9})
    assert arrays["video_grid_thw"].tolist() == [[1, 2, 2], [1, 2, 2]]
    assert (arrays["pixel_values_videos"] == 1.5).all()
