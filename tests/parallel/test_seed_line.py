"""mindone's own way to start its example, msrun and a script, with nothing of this package's launcher around it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ms_omni import SamplingParams
from ms_omni.parallel.msrun import free_port
from ms_omni.parallel.world import RANK_VARIABLES

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "ms_omni" / "assets"
TEXT = {"type": "text", "text": "What do you see and hear?"}
MEDIA = [
    {"type": "image", "image": str(ASSETS / "tiny_shapes.png")},
    {"type": "audio", "audio": str(ASSETS / "tiny_words.wav")},
    {"type": "video", "video": str(ASSETS / "tiny_ball.mp4")},
]
LINE = (
    "msrun --worker_num=2 --local_worker_num=2 --master_port={port} --log_dir=msrun_log --join=True "
    "--cluster_time_out=300 launch/omni_understanding.py"
)
LENGTHS = {"thinker_max_new_tokens": 8, "talker_max_new_tokens": 6, "thinker_temperature": 0, "talker_temperature": 0}


SCRIPT = (ROOT / "launch" / "omni_understanding.py").read_text()
WORDS = "['I see a red circle, a blue square and a yellow triangle and the voice says hello seven.']"


def msrun(directory, script, *words):
    """The seed's line in a directory with `script` -> the ranks' logs."""
    (directory / "launch").mkdir()
    (directory / "launch" / "omni_understanding.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = [*LINE.format(port=free_port()).split(), *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, cwd=directory, env=environment)
    logs = [(directory / "msrun_log" / f"worker_{rank}.log").read_text() for rank in range(2)]
    assert done.returncode == 0, logs
    return logs


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Directory of the port's answer in one process."""
    directory = tmp_path_factory.mktemp("alone")
    script = ROOT / "launch" / "omni_understanding.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600, cwd=directory)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, WORDS, "")
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["zero3", pytest.param("ep", marks=pytest.mark.long)])
def test_the_port_of_mindones_example(alone, tmp_path, mode):
    edited = SCRIPT.replace('PARALLEL = "auto"', f'PARALLEL = "{mode}"')
    assert edited != SCRIPT
    first, second = msrun(tmp_path, edited)
    assert first.splitlines().count(WORDS) == 1 and WORDS not in second  # one rank prints
    wave, rate = soundfile.read(tmp_path / "output.wav", dtype="float32")
    expected, _ = soundfile.read(alone / "output.wav", dtype="float32")
    assert rate == 24_000 and len(expected) > 24_000
    np.testing.assert_allclose(wave, expected, atol=1e-4)


@pytest.mark.long
def test_mindones_own_model_spread_after_loading(alone, tmp_path):
    """As in mindone's example: a whole model, then its shards; mindone's generate."""
    line = 'model = load_model(MODEL_PATH, engine="fused", parallel=PARALLEL)\n'
    edited = SCRIPT.replace(line, 'model = ms_omni.shard_model(load_model(MODEL_PATH), "zero3")\n')
    assert edited != SCRIPT
    first, second = msrun(tmp_path, edited.replace("**inputs,", "**inputs, thinker_return_dict_in_generate=True,"))
    assert first.splitlines().count(WORDS) == 1 and WORDS not in second
    wave, _ = soundfile.read(tmp_path / "output.wav", dtype="float32")
    np.testing.assert_allclose(wave, soundfile.read(alone / "output.wav", dtype="float32")[0], atol=1e-4)


def test_the_port_is_shorter_than_mindones():
    """Lines that are not empty; those of mindone's README are 75, 69 of them code."""
    code = SCRIPT.split('"""', 2)[2]
    assert sum(1 for line in code.splitlines() if line.strip()) <= 40


@pytest.mark.slow
def test_the_seeds_line(fused, tiny_dir, tmp_path):
    conversation = [{"role": "user", "content": [*MEDIA, TEXT]}]
    (tmp_path / "asked.json").write_text(json.dumps(conversation))
    words = ["--model", tiny_dir, "--conversation", "asked.json", "--audio-out", "answer.wav", "--json"]
    flags = [word for name, value in LENGTHS.items() for word in (f"--{name.replace('_', '-')}", value)]
    first, second = msrun(tmp_path, SCRIPT, *words, *flags, "--ignore-eos", "--use-audio-in-video", "--parallel", "ep")
    answer = json.loads(next(line for line in first.splitlines() if line.startswith("{")))
    expected = fused.generate(
        conversation, use_audio_in_video=True, sampling=SamplingParams(**LENGTHS, ignore_eos=True), return_audio=True
    )
    assert answer["token_ids"] == list(expected.token_ids) and answer["text"] == expected.text
    assert answer["audio"]["num_frames"] == expected.audio.codes.shape[1] > 0
    wave, rate = soundfile.read(tmp_path / "answer.wav", dtype="float32")
    assert rate == 24_000
    np.testing.assert_allclose(wave, expected.audio.samples, atol=1e-4)
    assert not any(line.startswith("{") for line in second.splitlines())  # one rank prints
