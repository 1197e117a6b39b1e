"""Trains the Talker to speak answers: the frozen Thinker's embeddings and hidden states in, codes of speech out.

python docs/tiny/train_talker.py --files DIR --phrases FILE.npz --thinker DIR --bank DIR --out DIR --minutes 8
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from config_file import read_config
from dialogue import Dialogue, Turn
from dialogues import SKILLS, Dialogues
from espeak import SPEAKERS
from layers import from_hf_state, hf_state, initialise
from packing import Packer, Sequence
from progress import Schedule, Sums
from ranks import Ranks
from render import log_mel, render_pictures
from safetensors.torch import load_file, save_file
from sounds import Bank, NoSpeech
from speech import Phrasebook
from talker import Talker
from text import Text
from thinker import Thinker
from train_thinker import tensors, to_device
from unrelated import unrelated_question
from words import DIGITS, SPOKEN

# All skills but those without media: the Talker must not mind what was shown, nor how far its positions have come.
WITH_MEDIA = tuple(skill for skill in SKILLS if skill not in ("unknown", "small_talk"))


def reading(rng: random.Random, dialogues: Dialogues) -> Dialogue:
    """A question and an answer that need not fit, without media: what is to be spoken is all in the answer."""
    kind = rng.random()
    if kind < 0.45:
        answer = dialogues.answer()
    elif kind < 0.6:
        answer = f"I hear the digits {' '.join(rng.choice(DIGITS) for _ in range(rng.randint(2, 8)))}."
    else:
        answer = f"The voice says {' '.join(rng.choice(SPOKEN) for _ in range(rng.randint(1, 16)))}."
    question = unrelated_question(rng) if rng.random() < 0.3 else dialogues.draw().turns[-1].question
    return Dialogue("unknown", [Turn([], question or "What?", answer)])


class TalkerPacker:
    """Adds to a packed Thinker batch what the Talker reads and says."""

    def __init__(self, packer: Packer, book: Phrasebook, config: Any):
        self.packer, self.book, self.config = packer, book, config
        talker = config.talker_config
        self.prefix_codes = [talker.codec_nothink_id, talker.codec_think_bos_id, talker.codec_think_eos_id]

    def sequences(self, drawn: list[Any], rng: random.Random) -> dict[str, np.ndarray]:
        """Per position of all sequences: text (id, -1 none), source (index into the Thinker's tokens whose hidden state
        is read, -1 none), control (codec id, -1 none), frame (index into codes, -1 none), positions (3, N), target
        (code 0 that comes next, -1 none), target_frame (index into codes of what comes next, -1 none), codes, starts"""
        fields: dict[str, list[Any]] = {
            key: [] for key in ("text", "source", "control", "frame", "target", "target_frame")
        }
        positions, starts, codes, offset, frames = [], [0], [], 0, 0
        talker, config = self.config.talker_config, self.config
        for dialogue, sequence, _, _ in drawn:
            speaker = rng.choice(list(SPEAKERS))
            code = self.book.speak(speaker, dialogue.turns[-1].answer)[1].astype(int)
            codes.append(code)
            user, place = self._user(sequence)
            ids = [int(sequence.ids[i]) for i in user]
            is_media = [sequence.kinds[i] > 0 for i in user]
            answer = list(self.packer.text.ids(dialogue.turns[-1].answer))
            assistant = [self.packer.im_start, *self.packer.text.ids("assistant"), *self.packer.newline]
            trailing = [*answer[1:], config.tts_eos_token_id]
            count = len(code)
            text = [-1 if m else i for i, m in zip(ids, is_media, strict=False)]
            text += [*assistant, *[config.tts_pad_token_id] * 4, config.tts_bos_token_id, answer[0]]
            text += (trailing + [config.tts_pad_token_id] * count)[:count]
            control = [-1] * (len(user) + 3)
            control += [*self.prefix_codes, talker.speaker_id[speaker], talker.codec_pad_id, talker.codec_bos_id]
            control += [-1] * count
            before = len(user) + 9
            fields["text"] += text
            fields["control"] += control
            fields["source"] += [offset + i if m else -1 for i, m in zip(user, is_media, strict=False)] + [-1] * (
                9 + count
            )
            fields["frame"] += [-1] * before + list(range(frames, frames + count))
            fields["target"] += [-1] * (before - 1) + [*code[:, 0], talker.codec_eos_token_id]
            fields["target_frame"] += [-1] * (before - 1) + [*range(frames, frames + count), -1]
            last = int(place.max()) + 1
            rest = np.tile(np.arange(9 + count) + last, (3, 1))
            positions += [place, rest]
            starts.append(starts[-1] + before + count)
            offset += len(sequence.ids)
            frames += count
        out = {f"t_{key}": np.asarray(value, int) for key, value in fields.items()}
        out["t_positions"] = np.concatenate(positions, axis=1)
        out["t_starts"] = np.asarray(starts)
        out["t_codes"] = np.concatenate(codes)
        return out

    def _user(self, sequence: Sequence) -> tuple[list[int], np.ndarray]:
        """Indices of the user's segments, and their positions when nothing else stood between them."""
        ids, all_places = np.asarray(sequence.ids), np.concatenate(sequence.positions, axis=1)
        user = self.packer.text.ids("user")[0]
        begins = [*np.flatnonzero(ids == self.packer.im_start), len(ids)]
        chosen, places, following = [], [], 0
        for begin, end in itertools.pairwise(begins):
            if ids[begin + 1] != user:
                continue
            own = all_places[:, begin:end]
            places.append(own - own[0, 0] + following)
            following = int(places[-1][:, -1].max()) + 1
            chosen += range(begin, end)
        return chosen, np.concatenate(places, axis=1)


class Stream(torch.utils.data.IterableDataset):
    def __init__(self, options: argparse.Namespace, seed: str):
        self.options, self.seed = options, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        torch.set_num_threads(1)
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(f"talker-{self.seed}-{worker.id if worker else 0}")
        packer = Packer(Text(self.options.files))
        talker = TalkerPacker(packer, Phrasebook(self.options.phrases), read_config(self.options.files))
        real = Dialogues(Bank(self.options.bank), rng)
        texts = Dialogues(NoSpeech(), rng)  # type: ignore[arg-type]
        while True:
            drawn = []
            for index in range(self.options.sequences):
                with_media = index % self.options.media_every == 0
                dialogue = real.draw(rng.choice(self.options.skills)) if with_media else reading(rng, texts)
                drawn.append((dialogue, *packer.sequence(dialogue, rng)))
            yield tensors(packer.pack(drawn) | talker.sequences(drawn, rng))


def losses(
    talker: Talker, thinker: Thinker, b: dict[str, Any], keep: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """(loss, parts): code 0 and the end, the other codes, and how often they are right."""
    with torch.no_grad():
        patches = render_pictures(b)[0] if len(b["unit_grids"]) else None
        mel = log_mel(b) if len(b["clip_frames"]) else None
        kept = thinker(b, patches, mel, tuple(b["longest"].tolist()), keep)["kept"]
        words = thinker.model.embed_tokens(b["t_text"].clamp_min(0))
    text, source, control, frame = b["t_text"], b["t_source"], b["t_control"], b["t_frame"]
    x = talker.text_projection(words) * (text >= 0)[:, None]
    x = x + talker.hidden_projection(kept[source.clamp_min(0)].to(words.dtype)) * (source >= 0)[:, None]
    x = x + talker.model.codec_embedding(control.clamp_min(0)) * (control >= 0)[:, None]
    x = x + talker.frame_embedding(b["t_codes"][frame.clamp_min(0)]) * (frame >= 0)[:, None]
    hidden = talker.model(x, b["t_positions"], b["t_starts"].to(torch.int32), int(b["t_longest"]))
    at = torch.nonzero(b["t_target"] >= 0).squeeze(1)
    logits, target = talker.codec_head(hidden[at]).float(), b["t_target"][at]
    spoken = torch.nonzero(b["t_target_frame"] >= 0).squeeze(1)
    codes = b["t_codes"][b["t_target_frame"][spoken]]
    rest = talker.residual_logits(hidden[spoken], codes).float()
    parts = {
        "first": F.cross_entropy(logits, target),
        "rest": F.cross_entropy(rest.flatten(0, 1), codes[:, 1:].flatten()),
        "balance": torch.stack([layer.mlp.balance for layer in talker.model.layers]).mean(),
    }
    loss = parts["first"] + parts["rest"] + 0.01 * parts["balance"]
    parts["first_right"] = (logits.argmax(-1) == target).float().mean()
    parts["rest_right"] = (rest.argmax(-1) == codes[:, 1:]).float().mean()
    return loss, parts


def load_thinker(config: Any, path: Path) -> Thinker:
    thinker = Thinker(config.thinker_config)
    weights = load_file(path / "thinker-1.safetensors") | load_file(path / "thinker-2.safetensors")
    from_hf_state(thinker, "thinker", weights)
    return thinker.eval().requires_grad_(False)


def train(options: argparse.Namespace) -> None:
    ranks = Ranks(options.device)
    torch.manual_seed(options.seed + ranks.number)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    config = read_config(options.files)
    thinker = load_thinker(config, options.thinker).to(ranks.device)
    talker = Talker(config.talker_config).to(ranks.device)
    initialise(talker, options.seed)
    if options.resume:
        from_hf_state(talker, "talker", load_file(options.resume / "talker.safetensors"))
    parameters = list(talker.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=options.lr, betas=(0.9, 0.98), weight_decay=0.02)
    stream = Stream(options, f"{options.seed}-{ranks.number}")
    batches = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=options.workers))
    schedule, step, minutes, sums = Schedule(options, options.warm_up), 0, 0.0, Sums(options.every)
    while (done := schedule.done(step, minutes)) < 1:
        rate = schedule.set_rate(optimizer, step, done)
        batch = sums.wait_for(batches)
        longest = int(batch["t_starts"].diff().max())
        b = to_device(batch, ranks.device)
        b["t_longest"] = longest
        with torch.autocast(ranks.kind, torch.bfloat16, enabled=ranks.kind == "cuda"):
            loss, parts = losses(talker, thinker, b, config.talker_config.accept_hidden_layer)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        minutes = ranks.average(parameters, schedule.elapsed())
        parts["norm"] = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        line = sums.add(parts, len(batch["skills"]))
        if line and ranks.is_first:
            print(json.dumps({"step": step, "minutes": round(minutes, 2), "lr": round(rate, 6), **line}), flush=True)
    if ranks.is_first:
        state = {key: value.detach().cpu().contiguous() for key, value in hf_state(talker, "talker").items()}
        save_file(state, options.out / "talker.safetensors")
        print(json.dumps({"final": step}), flush=True)
    ranks.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("files", "phrases", "thinker", "bank", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    Schedule.add_options(parser, minutes=8.0, rate=2e-3)
    parser.add_argument("--warm-up", type=int, default=300, help="steps")
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--sequences", type=int, default=192)
    parser.add_argument("--media-every", type=int, default=4, help="every n-th dialogue has media")
    parser.add_argument("--skills", nargs="+", choices=WITH_MEDIA, default=WITH_MEDIA, help="of those with media")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train(options)


if __name__ == "__main__":
    main()
