"""Sound clips at 16 kHz with what can be said about them: speech from a bank, tones, beeps, noise, silence."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from espeak import SPEAKERS
from own_voice import OwnVoice

RATE = 16_000


@dataclass
class Clip:
    """samples: float32 (n,), n a multiple of 160. kind: speech, tone, beeps, noise or silence. heard: symbols of
    words.HEARD in their order. about: of a tone high/low/rising/falling/steady, of beeps (number, fast or slow)."""

    samples: np.ndarray
    kind: str
    heard: tuple[str, ...] = ()
    about: tuple = ()


class Bank:
    """Speech that was synthesised before: utterances (words, samples), found by what they say. own: the phrasebook as
    own_voice.py writes it."""

    def __init__(self, path: Path, own: Path | None = None):
        self.own = OwnVoice(own) if own else None
        self.samples = np.load(path / "samples.npy", mmap_mode="r")
        index = np.load(path / "index.npz")
        self.starts, self.ends = index["starts"], index["ends"]
        self.words: dict[str, list[int]] = {}
        self.sentences: list[tuple[int, tuple[str, ...]]] = []
        self.questions: dict[str, list[int]] = {}
        for number, (kind, text) in enumerate(zip(index["kinds"], index["texts"], strict=False)):
            if kind == "word":
                self.words.setdefault(str(text), []).append(number)
            elif kind == "sentence":
                self.sentences.append((number, tuple(str(text).split())))
            else:
                self.questions.setdefault(str(text), []).append(number)

    def get(self, number: int) -> np.ndarray:
        return self.samples[self.starts[number] : self.ends[number]].astype(np.float32) / 32768

    def word(self, rng: random.Random, word: str) -> np.ndarray:
        return self.get(rng.choice(self.words[word]))

    def sentence(self, rng: random.Random) -> tuple[tuple[str, ...], np.ndarray]:
        number, words = rng.choice(self.sentences)
        return words, self.get(number)

    def question(self, rng: random.Random, text: str) -> np.ndarray:
        return self.get(rng.choice(self.questions[text]))


class NoSpeech:
    """Stands in for the bank while only the texts of dialogues matter."""

    own = None

    def word(self, rng: random.Random, word: str) -> np.ndarray:
        return np.zeros(800, np.float32)

    def sentence(self, rng: random.Random) -> tuple[tuple[str, ...], np.ndarray]:
        return ("hello",), np.zeros(800, np.float32)

    def question(self, rng: random.Random, text: str) -> np.ndarray:
        return np.zeros(800, np.float32)


def _noise(rng: random.Random, count: int) -> np.ndarray:
    generator = np.random.default_rng(rng.getrandbits(32))
    noise = generator.standard_normal(count).astype(np.float32)
    colour = rng.random()
    if colour < 0.5 and count > 8:
        smooth = rng.randint(2, 8)
        noise = np.convolve(noise, np.ones(smooth, np.float32) / math.sqrt(smooth), "same")
    return noise


def _finish(rng: random.Random, samples: np.ndarray, clean: bool = False) -> np.ndarray:
    """Volume, a little noise, whole mel frames."""
    samples = samples[: max(len(samples) // 160, 3) * 160]
    if len(samples) % 160:
        samples = np.pad(samples, (0, 160 - len(samples) % 160))
    samples = samples * math.exp(rng.uniform(math.log(0.15), math.log(1.6)))
    if not clean and rng.random() < 0.5:
        samples = samples + _noise(rng, len(samples)) * math.exp(rng.uniform(math.log(1e-4), math.log(6e-3)))
    return np.clip(samples, -1, 1).astype(np.float32)


def _placed(
    rng: random.Random, pieces: list[np.ndarray], seconds: float | None, gap: tuple[float, float]
) -> np.ndarray:
    """The pieces one after the other with gaps; in a clip of `seconds`, at random within it."""
    gaps = [rng.uniform(*gap) for _ in pieces[1:]]
    length = sum(map(len, pieces)) + int(RATE * sum(gaps))
    if seconds is None:
        longest = 0.35 if rng.random() < 0.85 else 0.04
        before, after = rng.uniform(0, longest), rng.uniform(0, longest)
        if rng.random() < 0.15:
            after += rng.uniform(0, 4)
        total = length + int(RATE * (before + after))
        position = int(RATE * before)
    else:
        total = max(int(RATE * seconds), length + 800)
        position = rng.randint(0, total - length)
    out = np.zeros(total, np.float32)
    for index, piece in enumerate(pieces):
        end = min(position + len(piece), total)
        out[position:end] += piece[: end - position]
        position = end + int(RATE * gaps[index]) if index < len(gaps) else end
    return out


def speech(rng: random.Random, bank: Bank, words: list[str], seconds: float | None = None) -> Clip:
    """Single words, spoken by one voice or several."""
    gap = (0.02, 0.3) if rng.random() < 0.6 else (0.2, 1.2)
    samples = _placed(rng, [bank.word(rng, word) for word in words], seconds, gap)
    return Clip(_finish(rng, samples), "speech", tuple(words))


def spoken_sentence(rng: random.Random, bank: Bank, seconds: float | None = None) -> Clip:
    """A sentence in one breath."""
    words, samples = bank.sentence(rng)
    return Clip(_finish(rng, _placed(rng, [samples], seconds, (0, 0))), "speech", words)


def own_voice(rng: random.Random, bank: Bank, answer: str) -> Clip:
    """An answer as the model itself says it."""
    assert bank.own is not None
    words, samples = bank.own.say(answer, rng.choice(list(SPEAKERS)), rng.randrange(2))
    return Clip(_finish(rng, _placed(rng, [samples], None, (0, 0))), "speech", words)


def spoken_question(rng: random.Random, bank: Bank, text: str) -> Clip:
    samples = _placed(rng, [bank.question(rng, text)], None, (0, 0))
    return Clip(_finish(rng, samples), "speech", tuple(text.split()))


def _tone(rng: random.Random, start: float, end: float, seconds: float) -> np.ndarray:
    count = int(RATE * seconds)
    time = np.arange(count) / RATE
    phase = 2 * np.pi * np.cumsum(np.geomspace(start, end, count)) / RATE if count else time
    wave = np.sin(phase)
    for harmonic in range(2, rng.choice((2, 2, 3, 5))):
        wave = wave + rng.uniform(0, 0.5) * np.sin(harmonic * phase)
    edge = np.minimum(1, np.minimum(time, seconds - time) / 0.01)
    return (0.4 * wave / max(1e-6, np.abs(wave).max()) * np.maximum(edge, 0)).astype(np.float32)


def tone(rng: random.Random, seconds: float | None = None) -> Clip:
    """about: (high, low or middle; rising, falling or steady). High is above 900 Hz, low below 300 Hz."""
    height = rng.choice(("high", "low"))
    base = math.exp(rng.uniform(math.log(900), math.log(3200))) if height == "high" else rng.uniform(90, 300)
    motion = rng.choice(("rising", "falling", "steady"))
    if motion != "steady":
        base = math.exp(rng.uniform(math.log(150), math.log(1200)))
        height = ""
    factor = rng.uniform(1.6, 3.5)
    ends = {"rising": (base, base * factor), "falling": (base * factor, base), "steady": (base, base)}[motion]
    sound = _tone(rng, *ends, min(rng.uniform(0.4, 3.0), (seconds or 9) - 0.05))
    heard = {"rising": "<rise>", "falling": "<fall>"}.get(motion, f"<{height}>")
    return Clip(_finish(rng, _placed(rng, [sound], seconds, (0, 0))), "tone", (heard,), (height, motion))


def beeps(rng: random.Random, seconds: float | None = None) -> Clip:
    """about: (how many, fast or slow). Fast: at most 0.25 s from one to the next; slow: at least 0.5 s."""
    number = rng.randint(1, 6)
    pace = rng.choice(("fast", "slow"))
    length = rng.uniform(0.06, 0.12)
    period = rng.uniform(0.17, 0.25) if pace == "fast" else rng.uniform(0.5, 0.8)
    if seconds is not None and number * period > seconds - 0.3:
        number = max(1, int((seconds - 0.3) / period))
    pitch = math.exp(rng.uniform(math.log(300), math.log(2500)))
    one = _tone(rng, pitch, pitch, length)
    sound = np.zeros(int(RATE * (period * (number - 1) + length)) + 1, np.float32)
    for index in range(number):
        start = int(RATE * period * index)
        sound[start : start + len(one)] = one[: len(sound) - start]
    about = (number, pace if number > 1 else "")
    return Clip(_finish(rng, _placed(rng, [sound], seconds, (0, 0))), "beeps", ("<beep>",) * number, about)


def noise(rng: random.Random, seconds: float) -> Clip:
    samples = _noise(rng, int(RATE * seconds)) * math.exp(rng.uniform(math.log(0.03), math.log(0.2)))
    return Clip(_finish(rng, samples, clean=True), "noise", ("<noise>",))


def silence(rng: random.Random, seconds: float) -> Clip:
    """Nothing at all, or a hiss too faint to be called a sound."""
    samples = np.zeros(int(RATE * seconds), np.float32)
    if rng.random() < 0.5:
        samples += _noise(rng, len(samples)) * 1e-5
    return Clip(_finish(rng, samples, clean=True), "silence")
