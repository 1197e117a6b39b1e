"""Cuts a recording of any length into windows, in silences where there are any, else at the quietest place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ms_omni.inputs.audio import SAMPLE_RATE

# Levels are taken of so much sound at a time, 20 ms
_FRAME = SAMPLE_RATE // 50
# A cut is where so many frames together are the quietest: as long as a pause between two words, 0.3 s
_PAUSE_FRAMES = 15


@dataclass(frozen=True)
class WindowRules:
    """longest_s: of a window. shortest_s: where nothing is silent, a cut is behind this. silence: a frame of 20 ms
    without any sample above this is silent (0.001 is -60 dB of full scale, 33 steps of 16 bits). silence_s: so long a
    silence ends a window. margin_s: of the silence beside its sound, which a window keeps."""

    longest_s: float = 30.0
    shortest_s: float = 20.0
    silence: float = 0.001
    silence_s: float = 2.0
    margin_s: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s <= self.longest_s - 1 or not 2 * self.margin_s < self.silence_s <= self.longest_s:
            raise ValueError(f"{self}: no windows can be cut by these rules")


@dataclass(frozen=True)
class Window:
    """samples: float32 (num_samples,) at 16 kHz. start, end: seconds within the recording."""

    samples: np.ndarray
    start: float
    end: float


def cut_windows(pieces: Iterable[np.ndarray], rules: WindowRules | None = None) -> Iterator[Window]:
    """The windows of a recording that comes in pieces, float32 (n,) at 16 kHz. They follow each other without overlap;
    what lies between two of them, before the first and behind the last is silent. A recording without sound has none;
    a short one without a long silence is one window, whole.

    Holds one window and one piece at a time."""
    cutter = _Cutter(rules or WindowRules())
    for piece in pieces:
        yield from cutter.put(piece)
    yield from cutter.put(np.zeros(0, np.float32), is_last=True)


class _Cutter:
    def __init__(self, rules: WindowRules):
        self._rules = rules
        self._longest, self._shortest = _frames(rules.longest_s), _frames(rules.shortest_s)
        self._silence, self._margin = _frames(rules.silence_s), _frames(rules.margin_s)
        self._held: list[np.ndarray] = []
        self._num_held = 0
        self._offset = 0  # of what is held, in samples of the recording

    def put(self, piece: np.ndarray, is_last: bool = False) -> Iterator[Window]:
        self._held.append(piece)
        self._num_held += piece.size
        while self._num_held and (is_last or self._num_held >= self._longest * _FRAME):
            samples = np.concatenate(self._held)
            head = samples[: self._longest * _FRAME]
            start, stop, rest = self._place(head, is_end=is_last and len(head) == len(samples))
            if stop > start:
                begin, end = self._offset + start, self._offset + stop
                yield Window(samples[start:stop].copy(), begin / SAMPLE_RATE, end / SAMPLE_RATE)
            self._held, self._num_held = [samples[rest:]], len(samples) - rest
            self._offset += rest

    def _place(self, head: np.ndarray, is_end: bool) -> tuple[int, int, int]:
        """(start, stop, rest), in samples: the window that begins in `head`, none where both are 0, and from where on
        nothing is decided yet. head: as long as a window may be, or the end of the recording."""
        is_loud = _peaks(head) > self._rules.silence
        if not is_loud.any():
            return 0, 0, len(head) if is_end else len(head) - self._margin * _FRAME
        first = max(0, int(is_loud.argmax()) - self._margin)
        if not self._offset and is_loud[: self._silence].any():
            first = 0  # a recording that is one window is asked as it is
        silent_from = _silence_in(is_loud, self._silence)
        if silent_from is not None:
            stop = (silent_from + self._margin) * _FRAME
            return first * _FRAME, stop, stop
        if first:  # more fits behind
            return 0, 0, first * _FRAME
        if is_end:
            return 0, len(head), len(head)
        stop = self._quietest(head) * _FRAME
        return 0, stop, stop

    def _quietest(self, head: np.ndarray) -> int:
        """The frame to cut at: in the middle of the quietest pause, the last of equal ones. What is left behind is at
        least half a second, so that no window is too short to be heard."""
        power = np.square(head.reshape(-1, _FRAME)).mean(axis=1)
        sums = np.cumsum(np.concatenate([[0.0], power.astype(np.float64)]))
        pauses = (sums[_PAUSE_FRAMES:] - sums[:-_PAUSE_FRAMES])[self._shortest : self._longest - 2 * _PAUSE_FRAMES - 3]
        return self._shortest + len(pauses) - 1 - int(pauses[::-1].argmin()) + _PAUSE_FRAMES // 2


def _peaks(samples: np.ndarray) -> np.ndarray:
    """float32 (frames,): the largest absolute value of each frame, the last one possibly shorter."""
    padded = np.pad(np.abs(samples), (0, -len(samples) % _FRAME))
    return padded.reshape(-1, _FRAME).max(axis=1)


def _silence_in(is_loud: np.ndarray, num_frames: int) -> int | None:
    """The first frame of the first silence of so many frames behind some sound."""
    loud = np.flatnonzero(is_loud)
    ends = np.append(loud[1:], len(is_loud))
    long = np.flatnonzero(ends - loud > num_frames)
    return int(loud[long[0]]) + 1 if long.size else None


def _frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / _FRAME)
