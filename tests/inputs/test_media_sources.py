"""One medium, given in every way there is, is the same medium; and what process_mm_info returns around it."""

import base64
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import soundfile
from made_media import ASSETS, ROOT, pixels
from packaging.requirements import Requirement
from PIL import Image

from ms_omni.errors import OmniError
from ms_omni.inputs.mm_info import process_mm_info

SHAPES, QUESTION, BALL = ASSETS / "shapes.png", ASSETS / "question.wav", ASSETS / "ball.mp4"


def turn(*parts):
    return [{"role": "user", "content": list(parts)}]


def image(medium, **options):
    return {"type": "image", "image": medium, **options}


def audio(medium, **options):
    return {"type": "audio", "audio": medium, **options}


def video(medium, **options):
    return {"type": "video", "video": medium, **options}


def data_uri(path, kind):
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def test_every_way_to_give_an_image():
    opened = Image.open(SHAPES)
    ways = [str(SHAPES), f"file://{SHAPES}", data_uri(SHAPES, "image/png"), opened, np.asarray(opened.convert("RGB"))]
    images = process_mm_info(turn(*map(image, ways)), False)[1]
    assert all(item.tobytes() == images[0].tobytes() and item.mode == "RGB" for item in images)


def test_every_way_to_give_a_sound():
    samples, rate = soundfile.read(QUESTION, dtype="float32")
    assert rate == 16000
    ways = [str(QUESTION), f"file://{QUESTION}", data_uri(QUESTION, "audio/wav"), samples, samples.astype(np.float64)]
    audios = process_mm_info(turn(*[audio(way, audio_start=0.25, audio_end=1.5) for way in ways]), False)[0]
    for item in audios:
        assert item.dtype == np.float32 and item.shape == (20000,)
        np.testing.assert_array_equal(item, samples[4000:24000])


def test_every_way_to_give_a_video(tmp_path):
    ways = [str(BALL), f"file://{BALL}", data_uri(BALL, "video/mp4")]
    videos = process_mm_info(turn(*[video(way, nframes=4) for way in ways]), False)[2]
    assert all((item == videos[0]).all() for item in videos)
    spaced = tmp_path / "a b.mp4"
    spaced.write_bytes(BALL.read_bytes())
    escaped = process_mm_info(turn(video(spaced.as_uri(), nframes=4)), False)[2][0]
    assert (escaped == videos[0]).all()


def test_frames_may_be_images_or_one_array():
    frames = np.stack([pixels(112, 168, 3, seed) for seed in range(3)])
    pictures = [Image.fromarray(frame) for frame in frames]
    exact = {"resized_height": 112, "resized_width": 168}
    from_images, from_array = process_mm_info(
        turn(video(pictures, **exact), video(frames.transpose(0, 3, 1, 2), **exact)), False
    )[2]
    assert from_images.shape == from_array.shape == (4, 3, 112, 168)  # an odd number: the last one twice
    np.testing.assert_array_equal(from_images, from_array)
    np.testing.assert_array_equal(from_array[3], frames[2].transpose(2, 0, 1))


def test_media_keep_their_order_over_turns_and_conversations():
    one = turn(audio(np.full(300, 0.1)), {"type": "text", "text": "?"}, audio(np.full(400, 0.2)))
    one += [{"role": "assistant", "content": "!"}, *turn(audio(np.full(500, 0.3)))]
    audios, images, videos = process_mm_info([one, turn(audio(np.full(600, 0.4)))], False)
    assert [len(item) for item in audios] == [300, 400, 500, 600]
    assert images is None and videos is None


def test_the_sound_of_a_video_stands_where_the_video_stands():
    conversation = turn(audio(np.zeros(300)), video(str(BALL)), audio(np.zeros(400)))
    audios = process_mm_info(conversation, True)[0]
    assert [len(item) for item in audios][::2] == [300, 400] and len(audios[1]) > 16000
    assert [len(item) for item in process_mm_info(conversation, False)[0]] == [300, 400]


def test_what_is_returned_beside_the_media():
    conversation = turn(video(str(BALL), fps=1, min_frames=2))
    *_, kwargs = process_mm_info(conversation, False, return_video_kwargs=True)
    assert kwargs == {"do_sample_frames": False, "fps": [pytest.approx(2 / 3.2)]}  # 2 frames of 3.2 s
    *_, videos, kwargs = process_mm_info(conversation, False, return_video_kwargs=True, return_video_metadata=True)
    assert kwargs == {"do_sample_frames": False}
    frames, metadata = videos[0]
    assert len(metadata["frames_indices"]) == len(frames) and metadata["fps"] > 1


def test_patches_of_another_size():
    assert process_mm_info(turn(image(np.zeros((70, 100, 3), np.uint8))), False, image_patch_size=16)[1][0].size == (
        96,
        64,
    )


def test_a_reader_must_be_known_and_importable(monkeypatch):
    conversation = turn(image(str(SHAPES)))
    with pytest.raises(OmniError, match="reader 'x': expected one of auto, ms_omni, qwen_omni_utils"):
        process_mm_info(conversation, False, reader="x")
    monkeypatch.setitem(sys.modules, "qwen_omni_utils", None)
    with pytest.raises(OmniError, match="--media-reader qwen_omni_utils: this package is not installed"):
        process_mm_info(conversation, False, reader="qwen_omni_utils")


def test_a_reader_whose_libraries_do_not_go_together_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "qwen_omni_utils.py").write_text("raise RuntimeError('operator torchvision::nms\\ndoes not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "qwen_omni_utils", raising=False)
    message = r"imported \(operator torchvision::nms does not exist\); pip install 'ms-omni\[qwen-omni-utils\]', or use"
    with pytest.raises(OmniError, match=message):
        process_mm_info(turn(image(str(SHAPES))), False, reader="qwen_omni_utils")


def requirements(lines):
    """By name, without comments."""
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: requirement for requirement in found}


def test_the_readers_extra_takes_the_versions_that_it_is_tested_with():
    """Those of CI's environment with torch (tests/live/test_qwen_omni_utils.py)."""
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = requirements(project["optional-dependencies"]["qwen-omni-utils"])
    tested = requirements((ROOT / "tests/live/requirements.txt").read_text().splitlines())
    for name in ("qwen-omni-utils", "torch", "torchvision", "decord", "librosa", "audioread"):
        for specifier in tested[name].specifier:
            assert extra[name].specifier.contains(specifier.version), f"{extra[name]} but {tested[name]}"


class TorchLike:
    """Stands for a torch tensor."""

    def numpy(self):
        return np.ones((2, 3, 4, 4))


@pytest.fixture
def package(monkeypatch):
    """The real package stands or falls with torch: a stand-in that records how it is called."""
    module = types.ModuleType("qwen_omni_utils")
    module.__spec__ = ModuleSpec(module.__name__, None)
    module.calls = []

    def process(*args):
        module.calls.append(args)
        return None, ["image"], [TorchLike(), (TorchLike(), {"fps": 2})], {"fps": [1]}

    module.process_mm_info = process
    monkeypatch.setitem(sys.modules, "qwen_omni_utils", module)
    return module


def test_the_original_package_can_read_instead(package):
    conversation = turn(image("a.png"))
    audios, images, videos, kwargs = process_mm_info(conversation, True, True, False, 16, reader="qwen_omni_utils")
    assert package.calls == [([conversation], True, True, False, 16)]
    assert (audios, images, kwargs) == (None, ["image"], {"fps": [1]})
    assert isinstance(videos[0], np.ndarray) and isinstance(videos[1][0], np.ndarray) and videos[1][1] == {"fps": 2}


def test_errors_of_the_original_package_are_one_line(package):
    def fail(*args):
        raise AssertionError("Video must has\naudio track")

    package.process_mm_info = fail
    with pytest.raises(OmniError, match="^qwen_omni_utils: Video must has audio track$"):
        process_mm_info(turn(image("a.png")), True, reader="qwen_omni_utils")
