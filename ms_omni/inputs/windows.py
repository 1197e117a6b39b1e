"""Cuts a recording of any length into windows: in silences, or else at the quietest places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ms_omni.inputs.audio import SAMPLE_RATE

# Samples of a level frame, 20 ms
_FRAME = SAMPLE_RATE // 50
# Frames of a pause between two words, 0.3 s: windows are cut where so many frames together are the quietest
_PAUSE_FRAMES = 15


@dataclass(frozen=True)
class WindowRules:
    """longest_s: of a window. shortest_s: without a silence, the cut comes after this. silence: a frame of 20 ms is
    silent if no sample exceeds this (0.001 is -60 dB of full scale, 33 steps of 16 bits). silence_s: a silence of this
    length ends a window. margin_s: of silence that a window keeps at each end. pause: two windows meet in 0.3 s in
    which every frame has less than this share of the power of the window's loudest tenth (0.001 is -30 dB); without
    such a pause, both windows contain overlap_s around the quietest 0.3 s."""

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
    """The place of a window, in seconds. start, end: within the recording. overlap: how much of its start the window
    before contains too. overlap_behind: how much of its end the next window contains too. Both are 0 where windows meet
    in a pause."""

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
    """The windows of a recording that comes in pieces, float32 (n,) at 16 kHz. They follow each other, or overlap where
    there is no pause; everything outside of them is silent. A silent recording has no windows; a short one without a
    long silence is one window.

    Holds one window and one piece at a time."""
    cutter = _Cutter(rules or WindowRules())
    for piece in pieces:
        yield from cutter.put(piece)
    yield from cutter.put(np.zeros(0, np.float32), is_last=True)


@dataclass(frozen=True)
class _Cut:
    """In samples of the buffer: the window (none if start and stop are 0), and where the rest begins."""

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
        self._offset = 0  # of the buffer, in samples of the recording
        self._last_stop = 0  # end of the window before

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
        overlap, self._last_stop = max(0, self._last_stop - start), stop
        seconds = [samples / SAMPLE_RATE for samples in (start, stop, overlap, stop - rest)]
        return Span(*seconds)

    def _place(self, head: np.ndarray, is_end: bool) -> _Cut:
        """head: as long as the longest window, or the end of the recording."""
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
        if first:  # drop the silence, then fill the window up
            return _Cut(0, 0, first * _FRAME)
        if is_end:
            return _Cut(0, len(head), len(head))
        return self._in_speech(head)

    def _in_speech(self, head: np.ndarray) -> _Cut:
        """Cuts in the middle of the quietest 0.3 s, the last of equal ones. At least half a second is left for the next
        window. If the quietest 0.3 s are not a pause, the windows overlap around them."""
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
    """The first frame of the first silence of at least `num_frames` frames that follows a sound."""
    loud = np.flatnonzero(is_loud)
    ends = np.append(loud[1:], len(is_loud))
    long = np.flatnonzero(ends - loud > num_frames)
    return int(loud[long[0]]) + 1 if long.size else None


def _frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / _FRAME)
