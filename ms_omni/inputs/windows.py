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
    silence ends a window. margin_s: of the silence beside its sound, which a window keeps. pause: windows meet in 0.3 s
    of which each frame has less than this of the power of the loudest tenth of the window (0.001 is -30 dB); where
    there are none, both hear overlap_s around the quietest 0.3 s."""

    longest_s: float = 30.0
    shortest_s: float = 20.0
    silence: float = 0.001
    silence_s: float = 2.0
    margin_s: float = 0.25
    pause: float = 0.001
    overlap_s: float = 3.0

    def __post_init__(self) -> None:
        fits = 0 < 1.5 * self.overlap_s <= self.shortest_s <= self.longest_s - self.overlap_s / 2 - 1
        if not fits or not 2 * self.margin_s < self.silence_s <= self.longest_s:
            raise ValueError(f"{self}: no windows can be cut by these rules")


@dataclass(frozen=True)
class Span:
    """Of a window, in seconds. start, end: within the recording. overlap: at its start, what the window
    before has heard, too; overlap_behind: at its end, what the next one hears again. Both are 0 where windows meet in a
    pause."""

    start: float
    end: float
    overlap: float = 0.0
    overlap_behind: float = 0.0


@dataclass(frozen=True)
class Window:
    """samples: float32 (num_samples,) at 16 kHz."""

    samples: np.ndarray
    span: Span


def cut_windows(pieces: Iterable[np.ndarray], rules: WindowRules | None = None) -> Iterator[Window]:
    """The windows of a recording that comes in pieces, float32 (n,) at 16 kHz: one behind the other, or overlapping
    where nobody pauses. What lies between two of them, before the first and behind the last is silent. A recording
    without sound has none; a short one without a long silence is one window, whole.

    Holds one window and one piece at a time."""
    cutter = _Cutter(rules or WindowRules())
    for piece in pieces:
        yield from cutter.put(piece)
    yield from cutter.put(np.zeros(0, np.float32), is_last=True)


@dataclass(frozen=True)
class _Cut:
    """In samples of what is held: the window, none where both are 0, and from where on nothing is decided yet."""

    start: int
    stop: int
    rest: int


class _Cutter:
    def __init__(self, rules: WindowRules):
        self._rules = rules
        self._longest, self._shortest = _frames(rules.longest_s), _frames(rules.shortest_s)
        self._silence, self._margin = _frames(rules.silence_s), _frames(rules.margin_s)
        self._half_overlap = _frames(rules.overlap_s / 2)
        self._held: list[np.ndarray] = []
        self._num_held = 0
        self._offset = 0  # of what is held, in samples of the recording
        self._heard_to = 0  # where the window before has ended

    def put(self, piece: np.ndarray, is_last: bool = False) -> Iterator[Window]:
        self._held.append(piece)
        self._num_held += piece.size
        while self._num_held and (is_last or self._num_held >= self._longest * _FRAME):
            samples = np.concatenate(self._held)
            head = samples[: self._longest * _FRAME]
            cut = self._place(head, is_end=is_last and len(head) == len(samples))
            if cut.stop > cut.start:
                yield Window(samples[cut.start : cut.stop].copy(), self._span(cut))
            self._held, self._num_held = [samples[cut.rest :]], len(samples) - cut.rest
            self._offset += cut.rest

    def _span(self, cut: _Cut) -> Span:
        start, stop, rest = (self._offset + place for place in (cut.start, cut.stop, cut.rest))
        overlap, self._heard_to = max(0, self._heard_to - start), stop
        seconds = [samples / SAMPLE_RATE for samples in (start, stop, overlap, stop - rest)]
        return Span(*seconds)

    def _place(self, head: np.ndarray, is_end: bool) -> _Cut:
        """head: as long as a window may be, or the end of the recording."""
        is_loud = _peaks(head) > self._rules.silence
        if not is_loud.any():
            rest = len(head) if is_end else len(head) - self._margin * _FRAME
            return _Cut(0, 0, rest)
        first = max(0, int(is_loud.argmax()) - self._margin)
        if not self._offset and is_loud[: self._silence].any():
            first = 0  # a recording that is one window is asked as it is
        silent_from = _silence_in(is_loud, self._silence)
        if silent_from is not None:
            stop = (silent_from + self._margin) * _FRAME
            return _Cut(first * _FRAME, stop, stop)
        if first:  # more fits behind
            return _Cut(0, 0, first * _FRAME)
        if is_end:
            return _Cut(0, len(head), len(head))
        return self._in_speech(head)

    def _in_speech(self, head: np.ndarray) -> _Cut:
        """In the middle of the quietest 0.3 s, the last of equal ones; what is left behind is at least half a second,
        so that no window is too short to be heard. Where that is no pause, the windows overlap around it."""
        power = np.square(head.reshape(-1, _FRAME), dtype=np.float64).mean(axis=1)
        parts = np.lib.stride_tricks.sliding_window_view(power, _PAUSE_FRAMES)
        last = self._longest - max(self._half_overlap, _PAUSE_FRAMES) - _PAUSE_FRAMES - 3
        means = parts.mean(axis=1)
        quietest = last - 1 - int(means[self._shortest : last][::-1].argmin())
        middle = quietest + _PAUSE_FRAMES // 2
        if parts[quietest].max() < self._rules.pause * np.quantile(means, 0.9):
            return _Cut(0, middle * _FRAME, middle * _FRAME)
        return _Cut(0, (middle + self._half_overlap) * _FRAME, (middle - self._half_overlap) * _FRAME)


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
