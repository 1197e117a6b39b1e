"""Speech to a WAV file whose path is checked before any work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ms_omni.errors import OmniError
from ms_omni.outputs import AudioOutput


def check_wave_path(name: str) -> Path:
    """The path of `--audio-out`, known to be writable. Raises OmniError naming the flag otherwise."""
    path = Path(name)
    if path.suffix.lower() != ".wav":
        raise OmniError(f"--audio-out {name}: expected a name that ends with .wav")
    check_writable(path, f"--audio-out {name}", " that ends with .wav")
    return path


def check_writable(path: Path, where: str, wanted: str = "") -> None:
    """Raises OmniError, after `where`, the flag and its value, for a file that cannot be written."""
    if path.is_dir():
        raise OmniError(f"{where}: is a directory; expected a file name{wanted}")
    if not path.parent.is_dir():
        raise OmniError(f"{where}: the directory {path.parent} does not exist; create it first")
    try:
        # Only a trial tells: root passes every permission check even on a read-only file system.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OmniError(f"{where}: cannot write in {path.parent} ({error.strerror})") from error


def write_wave(path: Path, audio: AudioOutput, flag: str = "--audio-out") -> None:
    """As AudioOutput.save, with `flag` before what it raises."""
    try:
        audio.save(path)
    except OmniError as error:
        raise OmniError(f"{flag} {error}") from error
