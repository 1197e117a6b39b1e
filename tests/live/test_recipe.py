"""The recipe of the tiny model, from nothing to a checkpoint, with next to nothing of everything."""

import ctypes.util
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("MS_OMNI_REFERENCE_PYTHON")

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not PYTHON, reason="MS_OMNI_REFERENCE_PYTHON names no Python with torch and transformers"),
    pytest.mark.skipif(
        not ctypes.util.find_library("espeak-ng"), reason="the voices come from espeak-ng, which is not installed"
    ),
]


def _make(out: Path, **settings: str) -> None:
    environment = os.environ | {"PATH": f"{Path(str(PYTHON)).parent}:{os.environ['PATH']}", "DEVICE": "cpu"} | settings
    command = ["bash", ROOT / "docs" / "tiny" / "make.sh", out]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    logs = "\n".join(f"{log.name}: {log.read_text()[-600:]}" for log in sorted(out.glob("*.log")))
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{logs}"


def test_the_recipe_runs_from_nothing_with_two_processes_and_its_checkpoint_speaks(cpu, tmp_path):
    from safetensors.numpy import load_file

    from ms_omni import OmniEngine, SamplingParams

    _make(tmp_path, SMALL="1", GPUS="2")
    shipped = load_file(ROOT / "ms_omni" / "assets" / "tiny" / "model.safetensors")
    made = load_file(tmp_path / "tiny" / "model.safetensors")
    assert {name: value.shape for name, value in made.items()} == {name: v.shape for name, v in shipped.items()}
    first, second = (
        load_file(tmp_path / run / "thinker-1.safetensors") | load_file(tmp_path / run / "thinker-2.safetensors")
        for run in ("t1", "t2")
    )
    words = "thinker.model.embed_tokens.weight"
    np.testing.assert_array_equal(second[words], first[words])  # the second run keeps them
    assert not np.array_equal(second["thinker.lm_head.weight"], first["thinker.lm_head.weight"])
    engine = OmniEngine.from_pretrained(tmp_path / "tiny", device="CPU")
    question = [{"role": "user", "content": [{"type": "text", "text": "Who are you?"}]}]
    sampling = SamplingParams(thinker_max_new_tokens=4, talker_max_new_tokens=4)
    out = engine.generate(question, return_audio=True, sampling=sampling)
    assert out.audio is not None and np.isfinite(out.audio.samples).all()


AVERAGE = """
import torch
from ranks import Ranks

ranks = Ranks("cpu")
both, frozen, one = (torch.nn.Parameter(torch.zeros(2, 3), requires_grad=learns) for learns in (True, False, True))
both.grad = torch.full((2, 3), 1.0 + 4 * ranks.number)
if ranks.is_first:
    one.grad = torch.ones(2, 3)
assert ranks.average([both, frozen, one], 2.0 * ranks.number) == 1.0
assert (both.grad == 3.0).all() and (one.grad == 0.5).all() and frozen.grad is None
ranks.close()
"""


def test_gradients_are_averaged_over_processes(tmp_path):
    script = tmp_path / "average.py"
    script.write_text(AVERAGE)
    command = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "docs" / "tiny"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
