"""Trains the Thinker on dialogues that are drawn as it goes.

    python docs/tiny/train_thinker.py --files DIR --bank DIR --held-out-bank DIR --out DIR --minutes 9

On several GPUs: torchrun --nproc-per-node N docs/tiny/train_thinker.py ...
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
from config_file import read_config
from dialogues import SKILLS, Dialogues
from layers import from_hf_state, hf_state, initialise
from packing import HEARD_IDS, Packer
from progress import Schedule, Sums
from ranks import Ranks
from render import draw_frame, log_mel, render_pictures
from sounds import Bank
from text import Text
from thinker import Thinker
from torch import nn


class Stream(torch.utils.data.IterableDataset):
    """Batches without end; every worker draws its own."""

    def __init__(self, options: argparse.Namespace, seed: str):
        self.options, self.seed = options, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(f"{self.seed}-{worker.id if worker else 0}")
        packer = Packer(Text(self.options.files))
        dialogues = Dialogues(Bank(self.options.bank, self.options.own_voice), rng)
        while True:
            yield tensors(packer.batch(dialogues, self.options.tokens, self.options.patches))


def tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    out = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in batch.items()}
    out["longest"] = torch.tensor([int(np.diff(batch["starts"]).max()), int(max([1, *batch["unit_grids"].prod(1)]))])
    return out


class Trainee(nn.Module):
    """The Thinker and two helpers that are not kept: what fills a picture token, which words a clip holds (CTC)."""

    def __init__(self, config: Any):
        super().__init__()
        self.thinker = Thinker(config.thinker_config)
        width = config.thinker_config.text_config.hidden_size
        self.shape_head, self.colour_head = nn.Linear(width, 6), nn.Linear(width, 9)
        self.word_head = nn.Linear(width, len(HEARD_IDS) + 1)
        self.draw = draw_frame

    def compile_parts(self) -> None:
        """What makes most of the small kernels: 2.2 times as fast on an H100. Takes a minute."""
        self.draw = torch.compile(draw_frame, dynamic=True)
        for layer in (*self.thinker.visual.blocks, *self.thinker.model.layers):
            layer.compile(dynamic=True)

    def forward(self, b: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """(loss, its parts, whether each learnt token is right)."""
        thinker, device = self.thinker, b["ids"].device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            patches, filled = render_pictures(b, self.draw) if len(b["unit_grids"]) else (None, None)
            mel = log_mel(b) if len(b["clip_frames"]) else None
        out = thinker(b, patches, mel, tuple(b["longest"].tolist()))
        learn = torch.nonzero(b["labels"] >= 0).squeeze(1)
        logits = thinker.lm_head(out["hidden"][learn]).float()
        target = b["labels"][learn]
        parts = {"text": F.cross_entropy(logits, target)}
        if patches is not None:
            seen = out["seen"]
            weight = torch.where(filled[:, 0] > 0, 1.0, 0.3)
            for head, column in ((self.shape_head, 0), (self.colour_head, 1)):
                each = F.cross_entropy(head(seen).float(), filled[:, column], reduction="none")
                parts[head_name(column)] = (each * weight).sum() / weight.sum()
        if mel is not None:
            parts["ctc"] = self._ctc(out, b)
        parts["balance"] = torch.stack([layer.mlp.balance for layer in thinker.model.layers]).mean()
        loss = parts["text"] + 0.01 * parts["balance"]
        for name, factor in (("shape", 0.3), ("colour", 0.3), ("ctc", 0.3)):
            loss = loss + factor * parts.get(name, torch.zeros((), device=device))
        return loss, parts, logits.argmax(-1) == target

    def _ctc(self, out: dict[str, Any], b: dict[str, torch.Tensor]) -> torch.Tensor:
        scores = F.log_softmax(self.word_head(out["heard"]).float(), -1)
        lengths = out["clip_tokens"]
        number = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        time_index = torch.arange(len(number), device=lengths.device) - (torch.cumsum(lengths, 0) - lengths)[number]
        longest = int(b["clip_frames_cpu"].max()) // 100 * 13 + 13
        padded = scores.new_zeros(longest, len(lengths), scores.shape[-1])
        padded[time_index, number] = scores
        each = F.ctc_loss(padded, b["heard"], lengths, b["heard_lengths"], reduction="none", zero_infinity=True)
        return (each / (b["heard_lengths"] + 1)).mean()


def head_name(column: int) -> str:
    return ("shape", "colour")[column]


def to_device(batch: dict[str, torch.Tensor], device: str) -> dict[str, Any]:
    out: dict[str, Any] = {key: value.to(device, non_blocking=True) for key, value in batch.items() if key != "longest"}
    out["longest"] = batch["longest"]
    out["clip_frames_cpu"] = batch["clip_frames"]
    return out


@torch.no_grad()
def evaluate(model: Trainee, batches: list[dict[str, torch.Tensor]], ranks: Ranks) -> dict[str, float]:
    """Share of conversations of each skill whose answers are right, word by word (equal to greedy decoding)."""
    right: dict[str, list[bool]] = {}
    model.eval()
    for batch in batches:
        b = to_device(batch, ranks.device)
        precision = torch.autocast(ranks.kind, torch.bfloat16, enabled=ranks.kind == "cuda")
        with precision, torch.compiler.set_stance("force_eager"):
            hits = model(b)[2].cpu()
        learn = torch.nonzero(batch["labels"] >= 0).squeeze(1)
        sequence = torch.searchsorted(batch["starts"], learn, right=True) - 1
        wrong = torch.zeros(len(batch["skills"])).scatter_add(0, sequence, (~hits).float())
        for skill, count in zip(batch["skills"].tolist(), wrong.tolist(), strict=False):
            right.setdefault(list(SKILLS)[skill], []).append(count == 0)
    model.train()
    return {skill: sum(values) / len(values) for skill, values in sorted(right.items())}


def held_out(options: argparse.Namespace, seed: int = 10_007) -> list[dict[str, torch.Tensor]]:
    """Dialogues with voices and unrelated questions that training does not have."""
    packer = Packer(Text(options.files))
    rng = random.Random(seed)
    dialogues = Dialogues(Bank(options.held_out_bank, options.own_voice), rng, held_out=True)
    return [tensors(packer.batch(dialogues, 10**9, 10**9, skill, options.held_out)) for skill in SKILLS]


def save(model: Trainee, path: Path, name: str = "thinker") -> None:
    """float32 weights, in two files below 16 MiB."""
    from safetensors.torch import save_file

    state = hf_state(model.thinker, "thinker") | {
        f"helpers.{k}": v for k, v in model.state_dict().items() if not k.startswith("thinker.")
    }
    state = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    keys = sorted(state)
    half, total, done = [], sum(v.numel() for v in state.values()), 0
    for key in keys:
        if done < total / 2:
            half.append(key)
        done += state[key].numel()
    save_file({k: state[k] for k in half}, path / f"{name}-1.safetensors")
    save_file({k: state[k] for k in keys if k not in half}, path / f"{name}-2.safetensors")


def load(model: Trainee, path: Path, name: str = "thinker") -> None:
    from safetensors.torch import load_file

    state = load_file(path / f"{name}-1.safetensors") | load_file(path / f"{name}-2.safetensors")
    from_hf_state(model.thinker, "thinker", state)
    helpers = {key.removeprefix("helpers."): value for key, value in state.items() if key.startswith("helpers.")}
    model.load_state_dict(helpers, strict=False)


def train(options: argparse.Namespace) -> None:
    ranks = Ranks(options.device)
    torch.manual_seed(options.seed + ranks.number)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    model = Trainee(read_config(options.files)).to(ranks.device)
    initialise(model, options.seed)
    if options.resume:
        load(model, options.resume)
    model.thinker.model.embed_tokens.weight.requires_grad_(not options.keep_words)
    if options.compile:
        model.compile_parts()
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=ranks.kind == "cuda")
    if options.state and options.state.exists():
        state = torch.load(options.state, map_location=ranks.device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    loader = torch.utils.data.DataLoader(
        Stream(options, f"{options.seed}-{options.span[0]:g}-{ranks.number}"), batch_size=None,
        num_workers=options.workers, pin_memory=ranks.kind == "cuda",
        prefetch_factor=4 if options.workers else None,
    )  # fmt: skip
    checks = held_out(options) if ranks.is_first else []
    batches, schedule = iter(loader), Schedule(options, warm_up=300)
    step, minutes, checked, sums = 0, 0.0, 0.0, Sums(options.every)
    while (done := schedule.done(step, minutes)) < 1:
        rate = schedule.set_rate(optimizer, step, done)
        batch = sums.wait_for(batches)
        b = to_device(batch, ranks.device)
        with torch.autocast(ranks.kind, torch.bfloat16, enabled=ranks.kind == "cuda"):
            loss, parts, hits = model(b)
        loss.backward()
        minutes = ranks.average(parameters, schedule.elapsed())
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        line = sums.add(parts | {"tokens_right": hits.float().mean(), "norm": norm}, len(batch["skills"]))
        if line and ranks.is_first:
            print(json.dumps({"step": step, "minutes": round(minutes, 2), "lr": round(rate, 6), **line}), flush=True)
        if ranks.is_first and minutes - checked > options.check_minutes:
            checked = minutes
            report("held_out", step, evaluate(model, checks, ranks))
            save(model, options.out)
    if ranks.is_first:
        save(model, options.out)
        if options.state:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, options.state)
        scores = evaluate(model, checks, ranks)
        report("final", step, scores)
        (options.out / "scores.json").write_text(json.dumps(scores))
    ranks.close()


def report(name: str, step: int, scores: dict[str, float]) -> None:
    print(json.dumps({"step": step, name: {skill: round(score, 3) for skill, score in scores.items()}}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("files", "bank", "held-out-bank", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--resume", type=Path, help="directory with the weights of an earlier run")
    parser.add_argument(
        "--state", type=Path, help="file for weights and optimizer, read if it exists, written at the end"
    )
    parser.add_argument("--own-voice", type=Path, help="phrasebook of own_voice.py, to understand oneself")
    parser.add_argument(
        "--keep-words", action="store_true", help="leave the text embeddings as they are (the Talker knows them)"
    )
    Schedule.add_options(parser, minutes=9.0, rate=2e-3)
    parser.add_argument("--check-minutes", type=float, default=4.0)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=52_000)
    parser.add_argument("--patches", type=int, default=110_000)
    parser.add_argument("--held-out", type=int, default=150, help="conversations of each skill")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--compile", action="store_true", help="layers and renderer, which takes a minute")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options)


if __name__ == "__main__":
    main()
