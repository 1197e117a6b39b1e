"""The readers and the processor give what qwen-omni-utils and transformers gave with torch (record_inputs.py)."""

from pathlib import Path

import numpy as np
import PIL
import pytest
from input_cases import CASES
from recorded import LINSPACES, RESIZES, resize_sample, thinned

from ms_omni.inputs.antialias import resize_bicubic, resize_bicubic_uint8
from ms_omni.inputs.frame_range import linspace_indices
from ms_omni.inputs.mm_info import process_mm_info

RECORDED = dict(np.load(Path(__file__).with_name("recorded_inputs.npz")))
# Largest difference allowed, by name. Media: one 16-bit step of AAC sound (FFmpeg versions round differently) after
# resampling; pictures are exact. Tensors: log-mel of float32 FFTs in torch, float64 here; of AAC sound, what that one
# step does to the quietest bands.
TOLERANCES = {"audio": 3e-5, "image": 0, "video": 0, "tensor.input_features": 1e-4}
FLOAT_TOLERANCE = 1e-6
AAC_CASES = ("video_sound",)
AAC_FEATURES = 1e-2
# Pillow 13 takes its two passes (it clips in between) in another order than 12. Recorded with 13.
HAS_RECORDED_PILLOW = int(PIL.__version__.split(".")[0]) >= 13
PILLOW_CASES = (
    "image_modes",
    "image_pixels",
    "image_resized",
    "image_load_pixels",
    "frames",
    "frames_options",
    "everything",
)


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request):
    if request.param.name in PILLOW_CASES and not HAS_RECORDED_PILLOW:
        pytest.skip(f"Pillow {PIL.__version__} resamples differently from 13")
    return request.param


def of(case, key):
    """(shape, values) as recorded."""
    return RECORDED[f"{case.name}/{key}/shape"], RECORDED[f"{case.name}/{key}/values"]


def names(case, prefix):
    start = f"{case.name}/{prefix}"
    return {key[len(case.name) + 1 : -len("/shape")] for key in RECORDED if key.startswith(start) and "/shape" in key}


def assert_recorded(case, key, array, tolerance):
    shape, values = of(case, key)
    assert array.shape == tuple(shape), key
    np.testing.assert_allclose(thinned(array)[1].astype(np.float64), values, rtol=0, atol=tolerance, err_msg=key)


def test_media_are_read_as_by_qwen_omni_utils(case, made):
    conversation = case.conversation(made)
    *media, kwargs = process_mm_info(conversation, case.use_audio_in_video, return_video_kwargs=True)
    for kind, items in zip(("audio", "image", "video"), media, strict=True):
        items = items or []
        assert names(case, f"{kind}.") == {f"{kind}.{index}" for index in range(len(items))}
        for index, item in enumerate(items):
            assert_recorded(case, f"{kind}.{index}", np.asarray(item), TOLERANCES[kind])
    assert kwargs == {"do_sample_frames": False, "fps": list(of(case, "video_fps")[1])}


def test_tensors_are_those_of_transformers(case, made, load_processor):
    prepared = load_processor(**case.load).prepare(case.conversation(made), case.use_audio_in_video, **case.call)
    assert {f"tensor.{key}" for key in prepared.arrays} == names(case, "tensor.")
    for key, array in prepared.arrays.items():
        tolerance = TOLERANCES.get(f"tensor.{key}", FLOAT_TOLERANCE) if array.dtype.kind == "f" else 0
        if key == "input_features" and case.name in AAC_CASES:
            tolerance = AAC_FEATURES
        assert_recorded(case, f"tensor.{key}", array, tolerance)
        assert array.dtype.kind == of(case, f"tensor.{key}")[1].dtype.kind, key


@pytest.mark.parametrize("sizes", RESIZES, ids=str)
def test_bicubic_resize_is_that_of_torch(sizes):
    expected = RECORDED[f"resize/{sizes}"]
    mine = thinned(resize_bicubic(resize_sample(sizes), *sizes[2:]))[1]
    np.testing.assert_array_equal(mine, expected)
    rounded = thinned(resize_bicubic_uint8(resize_sample(sizes), *sizes[2:]))[1]
    assert (rounded == np.rint(np.clip(expected, 0, 255))).all()


@pytest.mark.parametrize("first,last,count", LINSPACES)
def test_frame_indices_are_those_of_torch_linspace(first, last, count):
    assert linspace_indices(first, last, count) == RECORDED[f"linspace/{(first, last, count)}"].tolist()
