"""The waves of several requests, each from where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ms_omni.scheduling.state import RequestState


def voice_all(code2wav: Any, states: Sequence[RequestState], counts: Sequence[int]) -> None:
    """Reports the next piece of each wave, of so many frames, as soon as it is made. code2wav: a corrected Code2Wav;
    what each stream needs of it goes on in `state.device_state.voice`."""
    for state in states:
        if state.device_state.voice is None:
            state.device_state.voice = code2wav.new_voice()
    codes = [state.next_codes(count) for state, count in zip(states, counts, strict=True)]
    for number, wave in code2wav.decode([state.device_state.voice for state in states], codes):
        states[number].add_wave(wave, counts[number])
