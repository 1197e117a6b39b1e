"""The speech that the model learns to speak: every word of its answers once per voice, on a grid of codec frames.

Each word starts at a frame (80 ms), so a word is always the same frames, whatever stands around it: the Talker learns
one sequence of codes a word and voice. A word has two forms, before other words and at the end of a sentence.

The codes are residual k-means over the log spectrum of a frame, learnt once: rounding on another machine gives other
codes, of which a trained Talker and Code2Wav know nothing. They lie in phrase_codes.npy.

    python docs/tiny/speech.py FILE.npz [--learn-codes]
"""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path

import numpy as np
from espeak import SPEAKERS, speak
from words import SPOKEN

RATE = 24_000
FRAME = 1920
CODEBOOK_SIZE, NUM_CODE_GROUPS = 256, 4
SILENCE = "<silence>"
FROZEN_CODES = Path(__file__).resolve().parent / "phrase_codes.npy"  # uint8 (frames, NUM_CODE_GROUPS)
# Alone, espeak-ng names the letter.
_SAID_AS = {"a": "uh"}
# Frames of silence after a comma, between sentences, at the end.
COMMA, PAUSE, END = 2, 4, 2


def parts(answer: str) -> list[tuple[str, bool]]:
    """(word, whether it ends a sentence) of an answer, and (SILENCE, False) for every frame of a pause."""
    out: list[tuple[str, bool]] = []
    tokens = re.findall(r"[A-Za-z']+|[.,:]", answer)
    for index, token in enumerate(tokens):
        if token[0].isalpha():
            following = tokens[index + 1] if index + 1 < len(tokens) else "."
            out.append((token.lower(), following == "."))
        else:
            out += [(SILENCE, False)] * (COMMA if token == "," else PAUSE)
    while out and out[-1][0] == SILENCE:
        out.pop()
    return out + [(SILENCE, False)] * END


class Phrasebook:
    """waves: (entry) -> int16 (frames * 1920,); codes: (entry) -> (frames, NUM_CODE_GROUPS)."""

    def __init__(self, path: Path):
        data = np.load(path)
        self.keys = {tuple(key.split("|")): index for index, key in enumerate(data["keys"])}
        self.starts, self.samples, self.codes = data["starts"], data["samples"], data["codes"]

    def entry(self, speaker: str, word: str, final: bool) -> int:
        return self.keys[(speaker, word, "final" if final else "inner")]

    def speak(self, speaker: str, answer: str) -> tuple[np.ndarray, np.ndarray]:
        """(int16 samples (frames * 1920,), codes (frames, NUM_CODE_GROUPS)) of an answer."""
        entries = [self.entry(speaker, word, final) for word, final in parts(answer)]
        return self.join(entries)

    def join(self, entries: list[int]) -> tuple[np.ndarray, np.ndarray]:
        spans = [(self.starts[entry], self.starts[entry + 1]) for entry in entries]
        samples = np.concatenate([self.samples[FRAME * a : FRAME * b] for a, b in spans])
        return samples, np.concatenate([self.codes[a:b] for a, b in spans])


def on_grid(samples: np.ndarray) -> np.ndarray:
    """Quiet ends cut, faded, whole frames, 5 ms of silence first."""
    loud = np.flatnonzero(np.abs(samples) > 0.012)
    samples = samples[max(0, loud[0] - 120) : loud[-1] + 480]
    fade = np.linspace(0, 1, 240, dtype=np.float32)
    samples[:120] *= fade[::2]
    samples[-240:] *= fade[::-1]
    samples = np.pad(samples, (120, 0))
    return np.pad(samples, (0, -len(samples) % FRAME)).astype(np.float32)


def features(frames: np.ndarray) -> np.ndarray:
    """Frames (N, 1920) -> (N, 8 * 48): log spectrum in bands, eight slices a frame."""
    slices = frames.reshape(len(frames), 8, 240)
    spectrum = np.abs(np.fft.rfft(slices * np.hanning(240), 512)) ** 2
    edges = np.unique(np.round(np.geomspace(3, 256, 49)).astype(int))
    bands = np.stack([spectrum[..., a:b].mean(-1) for a, b in itertools.pairwise(edges)], -1)
    return np.log(bands + 1e-4).reshape(len(frames), -1).astype(np.float32)


def k_means(points: np.ndarray, count: int, seed: int, rounds: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """(centres (count, width), nearest centre of each point)."""
    rng = np.random.default_rng(seed)
    centres = points[rng.permutation(len(points))[:count]].copy()
    for _ in range(rounds):
        distance = (centres**2).sum(1) - 2 * points @ centres.T
        nearest = distance.argmin(1)
        counts = np.bincount(nearest, minlength=count)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        used = counts > 0
        centres[used] = sums[used] / counts[used, None]
        empty = np.flatnonzero(~used)
        if len(empty):  # centres that nobody chose go to the points that are served worst
            worst = np.argsort(-(distance.min(1) + (points**2).sum(1)))[: len(empty)]
            centres[empty] = points[worst]
    return centres, ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)


def residual_codes(points: np.ndarray) -> np.ndarray:
    """(N, NUM_CODE_GROUPS): residual k-means. Code 0 of every group belongs to silence (the first point)."""
    rest, codes = points - points[0], []
    for group in range(NUM_CODE_GROUPS):
        centres, nearest = k_means(rest, CODEBOOK_SIZE, group)
        swap = nearest[0]
        renumber = np.arange(CODEBOOK_SIZE)
        renumber[[0, swap]] = renumber[[swap, 0]]
        codes.append(renumber[nearest])
        rest = rest - centres[nearest]
        print(f"group {group}: {(rest**2).mean() / (points - points[0]).var():.4f} of the variance left")
    return np.stack(codes, 1)


def make_phrasebook(path: Path, learn_codes: bool) -> None:
    keys, waves = [], []
    for speaker, voice in SPEAKERS.items():
        keys.append(f"{speaker}|{SILENCE}|inner")
        waves.append(np.zeros(FRAME, np.float32))
        for word in SPOKEN:
            for form, stop in (("inner", ","), ("final", ".")):
                wave = speak(_SAID_AS.get(word, word) + stop, voice, RATE)
                keys.append(f"{speaker}|{word}|{form}")
                waves.append(on_grid(wave / np.abs(wave).max() * 0.6))
    samples = np.concatenate(waves)
    starts = np.cumsum([0, *(len(wave) // FRAME for wave in waves)])
    codes = residual_codes(features(samples.reshape(-1, FRAME))) if learn_codes else np.load(FROZEN_CODES)
    if len(codes) != starts[-1]:
        raise ValueError(f"{starts[-1]} frames of speech, codes of {len(codes)}: other words or another espeak-ng")
    unique = len(np.unique(codes, axis=0))
    print(f"{len(keys)} entries, {starts[-1]} frames, {unique} different codes")
    np.savez_compressed(
        path, keys=keys, starts=starts, samples=(samples * 32767).astype(np.int16), codes=codes.astype(np.int16)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--learn-codes", action="store_true", help="k-means anew; Talker and Code2Wav begin anew too")
    options = parser.parse_args()
    make_phrasebook(options.out, options.learn_codes)


if __name__ == "__main__":
    main()
