"""transformers on torch loads what write_tiny writes, and this package reads what transformers writes."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.checkpoint.resolve import resolve_checkpoint
from ms_omni.checkpoint.tiny import write_tiny

REFERENCE_PYTHON = os.environ.get("MS_OMNI_REFERENCE_PYTHON")

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not REFERENCE_PYTHON, reason="MS_OMNI_REFERENCE_PYTHON names no Python with torch"),
]


def inspect(directory, *options):
    script = Path(__file__).with_name("inspect_checkpoint.py")
    command = [REFERENCE_PYTHON, str(script), str(directory), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("variant", "dtype", "seed"),
    [("instruct", "float32", 0), ("instruct", "float16", 1), ("thinking", "bfloat16", 2)],
)
def test_transformers_loads_it_as_it_is(tmp_path, variant, dtype, seed):
    found = inspect(write_tiny(tmp_path / "tiny", variant=variant, dtype=dtype, seed=seed))
    assert found["model_type"] == "qwen3_omni_moe"
    assert found["dtype"] == f"torch.{dtype}"
    assert all(names == [] for names in found["loading"].values()), found["loading"]
    assert found["has_talker"] == (variant == "instruct")
    assert found["patch_size"] == [16, 16]
    assert found["mel_bins"] == 128
    answer = found["answer"]
    assert len(set(answer["token_ids"])) >= 8
    assert answer["smallest_gap"] > 1e-4
    if variant == "instruct":
        assert answer["wave"]["num_samples"] == 1920 * 24 - 555
        assert 0.005 < answer["wave"]["std"] < 0.5
        assert answer["wave"]["peak"] < 1.0


def test_what_transformers_saves_is_read(tmp_path):
    tiny = write_tiny(tmp_path / "tiny")
    saved = tmp_path / "saved"
    inspect(tiny, "--save", saved)
    assert resolve_checkpoint(saved) == saved
    assert len(list(saved.glob("*.safetensors"))) > 2
    ours, theirs = CheckpointReader(tiny), CheckpointReader(saved)
    assert set(ours.names()) == set(theirs.names())
    for name in ours.names():
        np.testing.assert_array_equal(theirs.read(name), ours.read(name), err_msg=name)
    first, second = read_config(tiny).to_dict(), read_config(saved).to_dict()
    for key in ("im_end_token_id", "enable_audio_output", "user_token_id"):
        assert first[key] == second[key]
    for part in ("text_config", "audio_config", "vision_config"):
        assert_same_settings(first["thinker_config"][part], second["thinker_config"][part])
    assert_same_settings(first["talker_config"], second["talker_config"])
    assert_same_settings(first["code2wav_config"], second["code2wav_config"])


def assert_same_settings(first, second):
    written_by_version = {"transformers_version", "dtype", "_attn_implementation_autoset"}
    different = {key for key in first if first[key] != second.get(key)} - written_by_version
    nested = {key for key in different if isinstance(first[key], dict)}
    assert different == nested
    for key in nested:
        assert_same_settings(first[key], second[key])
