"""Trains Code2Wav on the phrasebook: codes of answers in, the wave out.

python docs/tiny/train_code2wav.py --files DIR --phrases FILE.npz --out DIR --minutes 8
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from code2wav import Code2Wav
from config_file import read_config
from espeak import SPEAKERS
from progress import Schedule, Sums
from safetensors.torch import load_file, save_file
from speech import FRAME, Phrasebook

RESOLUTIONS = ((256, 64), (512, 128), (1024, 256), (2048, 512))


def random_entries(book: Phrasebook, rng: random.Random, speaker: str, frames: int) -> list[int]:
    """Words of one voice in any order, with pauses, at least `frames` long."""
    entries, length = [], 0
    own = [index for key, index in book.keys.items() if key[0] == speaker]
    silence = book.keys[(speaker, "<silence>", "inner")]
    while length < frames:
        entry = silence if rng.random() < 0.12 else rng.choice(own)
        entries.append(entry)
        length += int(book.starts[entry + 1] - book.starts[entry])
    return entries


class Stream(torch.utils.data.IterableDataset):
    def __init__(self, options: argparse.Namespace):
        self.options = options

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(f"{self.options.seed}-{worker.id if worker else 0}")
        book, frames = Phrasebook(self.options.phrases), self.options.frames
        while True:
            codes, waves = [], []
            for _ in range(self.options.batch):
                entries = random_entries(book, rng, rng.choice(list(SPEAKERS)), frames)
                wave, code = book.join(entries)
                first = 0 if rng.random() < 0.5 else rng.randint(0, len(code) - frames)
                codes.append(code[first : first + frames])
                waves.append(wave[first * FRAME : (first + frames) * FRAME])
            yield torch.from_numpy(np.stack(codes)).long(), torch.from_numpy(np.stack(waves)).float() / 32767


def spectral_loss(made: torch.Tensor, wanted: torch.Tensor) -> dict[str, torch.Tensor]:
    """Magnitudes (L1 of the logarithm and of the value) and the complex values, at four resolutions."""
    log, value, phase = 0.0, 0.0, 0.0
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size, device=made.device)
        a, b = (torch.stft(x, size, hop, window=window, return_complex=True) for x in (made, wanted))
        scale = b.abs().mean() + 1e-6
        size_a, size_b = (torch.sqrt(x.real**2 + x.imag**2 + 1e-8) for x in (a, b))
        log = log + (torch.log(size_a + 1e-2) - torch.log(size_b + 1e-2)).abs().mean()
        value = value + (size_a - size_b).abs().mean() / scale
        phase = phase + (torch.view_as_real(a) - torch.view_as_real(b)).abs().mean() / scale
    return {"log": log / 4, "value": value / 4, "phase": phase / 4}  # type: ignore[operator]


def train(options: argparse.Namespace) -> None:
    device = options.device
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    model = Code2Wav(read_config(options.files).code2wav_config).to(device)
    if options.resume:
        weights = load_file(options.resume / "code2wav.safetensors")
        model.load_state_dict({key.removeprefix("code2wav."): value for key, value in weights.items()})
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.8, 0.99), weight_decay=0.0)
    loader = iter(torch.utils.data.DataLoader(Stream(options), batch_size=None, num_workers=options.workers))
    schedule, step, sums = Schedule(options, warm_up=200), 0, Sums(options.every)
    while (done := schedule.done(step, schedule.elapsed())) < 1:
        rate = schedule.set_rate(optimizer, step, done)
        codes, wave = (x.to(device) for x in sums.wait_for(loader))
        made = model(codes)
        wanted = wave[:, : made.shape[1]]
        parts: dict[str, Any] = spectral_loss(made, wanted)
        parts["wave"] = F.l1_loss(made, wanted) / (wanted.abs().mean() + 1e-6)
        loss = parts["log"] + parts["value"] + 0.5 * parts["phase"] + 0.5 * parts["wave"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parts["norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
        step += 1
        line = sums.add(parts, len(codes))
        if line:
            print(json.dumps({"step": step, "lr": round(rate, 6), **line}), flush=True)
    state = {f"code2wav.{key}": value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(state, options.out / "code2wav.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("files", "phrases", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    Schedule.add_options(parser, minutes=8.0, rate=1.5e-3)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options)


if __name__ == "__main__":
    main()
