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


def msrun(directory, *words):
    """The seed's line in a directory with this project's launch/ -> the ranks' logs."""
    (directory / "launch").symlink_to(ROOT / "launch")
    environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = [*LINE.format(port=free_port()).split(), *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, cwd=directory, env=environment)
    logs = [(directory / "msrun_log" / f"worker_{rank}.log").read_text() for rank in range(2)]
    assert done.returncode == 0, logs
    return logs


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "media"), [("ep", MEDIA), ("zero3", [])])
def test_the_seeds_line(fused, tiny_dir, tmp_path, mode, media):
    conversation = [{"role": "user", "content": [*media, TEXT]}]
    (tmp_path / "asked.json").write_text(json.dumps(conversation))
    words = ["--model", tiny_dir, "--conversation", "asked.json", "--audio-out", "answer.wav", "--json"]
    flags = [word for name, value in LENGTHS.items() for word in (f"--{name.replace('_', '-')}", value)]
    first, second = msrun(tmp_path, *words, *flags, "--ignore-eos", "--use-audio-in-video", "--parallel", mode)
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
