"""Synthetic speech from the espeak-ng library: text, voice, speed and pitch in, samples out."""

from __future__ import annotations

import ctypes
import os
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

SOURCE_RATE = 22_050
# "en" is the one of Great Britain.
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan", "en-029")
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m6", "m7", "f1", "f2", "f3", "f4", "Alex", "Alicia", "Andrea", "Andy", "Annie",
    "Gene", "Jacky", "Lee", "Michael", "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb",
    "david", "ed", "grandma", "gustave", "john", "linda", "marcelo", "max", "norbert", "pablo", "paul", "pedro",
    "quincy", "rob", "robert", "sandro", "steph", "steph2", "travis", "victor", "zac",
)  # fmt: skip
# Voices that training never hears.
HELD_OUT_VARIANTS = ("m5", "m8", "f5", "Denis", "shelby", "edward", "michel", "Mike")


@dataclass(frozen=True)
class Voice:
    """`name` as espeak-ng writes it (accent+variant); `speed` in words a minute; `pitch` 0 to 99."""

    name: str
    speed: int = 160
    pitch: int = 50


# The voices that the model itself speaks with.
SPEAKERS = {"ethan": Voice("en-us+m3", 165, 42), "chelsie": Voice("en+f2", 165, 58)}


def random_voice(rng: random.Random, held_out: bool = False) -> Voice:
    """A voice for the ears to learn from."""
    if not held_out and rng.random() < 0.15:
        voice = rng.choice(list(SPEAKERS.values()))
        return Voice(voice.name, rng.randint(150, 180), voice.pitch + rng.randint(-6, 6))
    variant = rng.choice(HELD_OUT_VARIANTS if held_out else VARIANTS)
    accent = rng.choices(ACCENTS, (6, 5, 1, 2, 2, 1, 1))[0]
    return Voice(f"{accent}+{variant}" if variant else accent, rng.randint(115, 210), rng.randint(25, 80))


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", ctypes.c_char * 8),
    ]  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_RETRIEVAL, _CHARS_UTF8, _RATE, _PITCH = 1, 1, 1, 3


class _Library:
    def __init__(self) -> None:
        self.lib = ctypes.CDLL(os.environ.get("ESPEAK_LIBRARY", "libespeak-ng.so.1"))
        data = os.environ.get("ESPEAK_DATA")
        rate = self.lib.espeak_Initialize(_RETRIEVAL, 0, data.encode() if data else None, 0)
        if rate != SOURCE_RATE:
            raise RuntimeError(f"espeak-ng: expected {SOURCE_RATE} Hz, got {rate}")
        self.blocks: list[np.ndarray] = []
        self.callback = _CALLBACK(self._receive)
        self.lib.espeak_SetSynthCallback(self.callback)

    def _receive(self, wave: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
        if wave and count > 0:
            self.blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        return 0

    def speak(self, text: str, voice: Voice) -> np.ndarray:
        self.blocks = []
        if self.lib.espeak_SetVoiceByName(voice.name.encode()):
            raise RuntimeError(f"espeak-ng has no voice {voice.name}")
        self.lib.espeak_SetParameter(_RATE, voice.speed, 0)
        self.lib.espeak_SetParameter(_PITCH, voice.pitch, 0)
        encoded = text.encode() + b"\0"
        self.lib.espeak_Synth(encoded, len(encoded), 0, 1, 0, _CHARS_UTF8, None, None)
        self.lib.espeak_Synchronize()
        return np.concatenate(self.blocks) if self.blocks else np.zeros(0, np.int16)


@lru_cache(maxsize=1)
def _library(process: int) -> _Library:
    return _Library()


def speak(text: str, voice: Voice, rate: int) -> np.ndarray:
    """Mono speech at `rate` Hz (16 000 or 24 000): float32 (num_samples,), silence cut from both ends."""
    from scipy.signal import resample_poly

    samples = _library(os.getpid()).speak(text, voice).astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(samples) > 0.004)
    if not len(loud):
        return np.zeros(rate // 10, np.float32)
    samples = samples[max(0, loud[0] - 200) : loud[-1] + 200]
    up, down = (320, 441) if rate == 16_000 else (160, 147)
    return resample_poly(samples, up, down).astype(np.float32)
