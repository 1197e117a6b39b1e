"""Speech to a WAV file whose path is checked before any work."""

from __future__ import annotations

from pathlib import Path

from ms_omni.errors import OmniError
from ms_omni.files import check_writable
from ms_omni.outputs import AudioOutput


def check_wave_path(name: str) -> Path:
    """The path of `--audio-out`, known to be writable. Raises OmniError naming the flag otherwise."""
    path = Path(name)
    if path.suffix.lower() != ".wav":
        raise OmniError(f"--audio-out {name}: expected a name that ends with .wav")
    check_writable(path, f"--audio-out {name}", " that ends with .wav")
    return path


def write_wave(path: Path, audio: AudioOutput, flag: str = "--audio-out") -> None:
    """As AudioOutput.save, with `flag` before what it raises."""
    try:
        audio.save(path)
    except OmniError as error:
        raise OmniError(f"{flag} {error}") from error
