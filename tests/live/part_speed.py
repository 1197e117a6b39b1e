"""How fast Code2Wav and the encoders are beside transformers' on torch, both on one CPU, in turn.

    MS_OMNI_REFERENCE_PYTHON=TORCH_VENV/bin/python python tests/live/part_speed.py CHECKPOINT [--threads 1 --cpu-time]

Prints, for every case, the medians of both sides, and the median, least and greatest of their ratios. --cpu-time counts
the time that each process computes, with one thread a measure that other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

# name: part, frames or mel frames or the grid of patches
CASES: dict[str, tuple[str, Any]] = {
    **{f"code2wav, {frames} frames": ("code2wav", frames) for frames in (4, 8, 25, 100)},
    **{f"audio encoder, {frames // 100} s": ("audio", frames) for frames in (800, 3000)},
    **{f"vision encoder, {x * 16} x {y * 16}": ("vision", [[1, y, x]]) for x, y in ((16, 16), (32, 32), (72, 54))},
}


def made_input(part: str, size: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    if part == "code2wav":
        return rng.integers(0, 2048, (1, 16, size))
    shape = (128, size) if part == "audio" else (int(np.prod(size[0])), 3 * 2 * 16 * 16)
    return rng.standard_normal(shape).astype(np.float32)


def torch_side(checkpoint: str, threads: int) -> Callable[[str, Any], Any]:
    sys.path.insert(0, str(Path(__file__).parents[2] / "ms_omni" / "profiling" / "transformers_reference"))
    import torch
    import torch_patches

    torch_patches.allow_torchvision_without_its_extension()
    from transformers import Qwen3OmniMoeForConditionalGeneration

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()

    def run(part: str, size: Any) -> Any:
        values = torch.from_numpy(made_input(part, size))
        if part == "code2wav":
            return lambda: model.code2wav(values)
        if part == "audio":
            return lambda: model.thinker.audio_tower(values, feature_lens=torch.tensor([size]))
        return lambda: model.thinker.visual(values, grid_thw=torch.tensor(size))

    return run


def our_side(checkpoint: str) -> Callable[[str, Any], Any]:
    from ms_omni.kernels import setup_device

    setup_device("CPU")
    import mindspore as ms

    from ms_omni.models.load import load_network

    model = load_network(checkpoint, with_decoders=False)

    def run(part: str, size: Any) -> Any:
        values = made_input(part, size)
        if part == "code2wav":
            return lambda: model.code2wav(ms.Tensor(values.astype(np.int32)))
        if part == "audio":
            return lambda: model.thinker.audio_tower(ms.Tensor(values), feature_lens=np.array([size]))
        return lambda: model.thinker.visual(ms.Tensor(values), grid_thw=np.array(size))

    return run


def serve(checkpoint: str, threads: int, clock: Callable[[], float]) -> None:
    """Runs the cases whose names come in, one a line; answers with the seconds of each."""
    side, answers = torch_side(checkpoint, threads), os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(seconds(side(*CASES[line.strip()]), clock), file=answers, flush=True)


def seconds(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    clock = time.process_time if options.cpu_time else time.perf_counter
    if options.serve:
        serve(options.checkpoint, options.threads, clock)
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
    command = [os.environ["MS_OMNI_REFERENCE_PYTHON"], __file__, *sys.argv[1:], "--serve"]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin and other.stdout
    ours = our_side(options.checkpoint)
    for name, case in CASES.items():
        pairs = []
        for _ in range(options.repeats + 1):
            print(name, file=other.stdin, flush=True)
            pairs.append((float(other.stdout.readline()), seconds(ours(*case), clock)))
        theirs, mine = zip(*pairs[1:], strict=True)  # the first warms both up
        ratios = [a / b for a, b in pairs[1:]]
        figures = {"transformers_ms": median(theirs) * 1e3, "ours_ms": median(mine) * 1e3, "speed": median(ratios)}
        rounded = {key: round(value, 3) for key, value in figures.items()}
        print(json.dumps({"case": name, **rounded, "least": round(min(ratios), 3), "most": round(max(ratios), 3)}))
    other.stdin.close()
    other.wait()


if __name__ == "__main__":
    main()
