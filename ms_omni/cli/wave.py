"""Speech to a WAV file: the path is checked before any work, the file appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ms_omni.errors import OmniError
from ms_omni.outputs import AudioOutput

# 24 bit integers: half a step is 6e-8, so a reader gets the samples back within 1e-6; 16 bit would lose 1.5e-5.
SUBTYPE = "PCM_24"


def check_wave_path(name: str) -> Path:
    """The path of `--audio-out`, known to be writable. Raises OmniError naming the flag otherwise."""
    path = Path(name)
    if path.suffix.lower() != ".wav":
        raise OmniError(f"--audio-out {name}: expected a name that ends with .wav")
    if path.is_dir():
        raise OmniError(f"--audio-out {name}: is a directory; expected a file name that ends with .wav")
    if not path.parent.is_dir():
        raise OmniError(f"--audio-out {name}: the directory {path.parent} does not exist; create it first")
    try:
        # Only a trial tells: root passes every permission check even on a read-only file system.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OmniError(f"--audio-out {name}: cannot write in {path.parent} ({error.strerror})") from error
    return path


def write_wave(path: Path, audio: AudioOutput, flag: str = "--audio-out") -> None:
    """Write mono PCM_24 at `audio.sample_rate`, first under a temporary name in the same directory.

    Raises OmniError naming `flag` when the disk refuses; nothing partial is left, also after an interrupt."""
    import soundfile

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        soundfile.write(temporary, audio.samples, audio.sample_rate, format="WAV", subtype=SUBTYPE)
        os.replace(temporary, path)
    except (OSError, soundfile.SoundFileError) as error:
        raise OmniError(f"{flag} {path}: could not be written ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
