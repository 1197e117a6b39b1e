"""Opens media: a path, file://, http(s):// or a data: URI."""

from __future__ import annotations

import base64
import binascii
import http.client
import os
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field, replace
from io import BytesIO, FileIO
from typing import Any, BinaryIO

from ms_omni.errors import OmniError
from ms_omni.inputs.access import UNRESTRICTED, MediaAccess

HTTP_TIMEOUT_S = 30.0
# A guard against endless streams, far above the longest video the model takes.
HTTP_MAX_BYTES = 2 << 30
_CHUNK_BYTES = 1 << 20
_NAME_LENGTH = 500


@dataclass(frozen=True)
class Source:
    """An opened medium: either `path`, a readable file that is not empty, or `data`, its bytes in memory.

    `name` is what error messages call it, for example "audio clip.wav". `access`: its limits, for the decoders.
    `opened`: the file object whose descriptor `path` refers to, if it does."""

    name: str
    path: str | None = None
    data: bytes | None = None
    is_remote: bool = False
    access: MediaAccess = UNRESTRICTED
    opened: Any = field(default=None, repr=False)

    def open(self) -> str | BinaryIO:
        """For decoders: the path, or a new stream over the bytes."""
        return self.path if self.path is not None else BytesIO(self.data or b"")

    def head(self, count: int) -> bytes:
        """The first `count` bytes."""
        if self.path is None:
            return (self.data or b"")[:count]
        with open(self.path, "rb") as file:
            return file.read(count)

    def contents(self) -> bytes:
        """All of its bytes."""
        if self.path is None:
            return self.data or b""
        with open(self.path, "rb") as file:
            return file.read()

    def check(self, limit: str, value: float, unit: str) -> None:
        """Raises OmniError when `value` exceeds this limit of a restricted access."""
        if self.access.restricted and value > (most := getattr(self.access, limit)):
            shown = f"{value:.15g}" if value < 1e15 else "far too many"  # an int may be too large for a float
            raise self.fail(f"{shown} {unit}; at most {most:.15g} are allowed")

    def check_time(self) -> None:
        """Raises OmniError when the time of a restricted access is over."""
        if time.monotonic() > self.access.until:
            raise self.fail(f"all media of the conversation took longer than {self.access.all_seconds:g} s")

    def fail(self, reason: str) -> OmniError:
        """The error to raise: this medium's name and the reason, on one line."""
        short = self.name if len(self.name) <= _NAME_LENGTH else f"{self.name[:_NAME_LENGTH]}..."
        name = "".join(char if char.isprintable() else repr(char)[1:-1] for char in short)
        return OmniError(f"{name}: {' '.join(reason.split())}")


def open_source(value: str | Source, kind: str, access: MediaAccess = UNRESTRICTED) -> Source:
    """The medium behind `value`, or `value` itself where it is opened already. `kind` is image, audio or video and only
    names it.

    Raises OmniError, naming it, when it is missing, a directory, unreadable, empty, cannot be fetched, or not allowed
    by `access`."""
    source = value if isinstance(value, Source) else _opened(value, kind, access)
    source.check_time()
    return source


def _opened(value: str, kind: str, access: MediaAccess) -> Source:
    if value.startswith(("http://", "https://")):
        name = f"{kind} {value}"
        return _fetched_checked(value, name, access) if access.restricted else _fetched(value, name)
    if value.startswith("data:"):
        return _inline(value, kind, access)
    if access.restricted:
        return _below(value, kind, access)
    path = value[len("file://") :] if value.startswith("file://") else value
    if value.startswith("file://") and not os.path.exists(path):
        path = urllib.parse.unquote(path)  # a proper URI escapes spaces; qwen-omni-utils does not unescape them
    source = Source(f"{kind} {path}", path=path)
    _check_file(source, path)
    return source


def _check_file(source: Source, path: str) -> None:
    try:
        if os.path.isdir(path):
            raise source.fail("is a directory, expected a file")
        with open(path, "rb") as file:
            if not file.read(1):
                raise source.fail("is empty (0 bytes)")
    except FileNotFoundError as error:
        raise source.fail("no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise source.fail(f"cannot be read ({reason})") from error


def _inline(value: str, kind: str, access: MediaAccess) -> Source:
    """RFC 2397, base64 only, as in qwen-omni-utils."""
    head, separator, payload = value.partition("base64,")
    name = f"{kind} {head[:40]}base64,..."
    if not separator:
        raise OmniError(f"{kind} {value[:40]}...: a data: URI must be base64 (data:{kind}/...;base64,...)")
    Source(name, access=access).check("max_bytes", len(payload) * 3 // 4, "bytes")
    try:
        data = base64.b64decode(urllib.parse.unquote(payload), validate=True)
    except (binascii.Error, ValueError) as error:
        raise OmniError(f"{name}: not valid base64 ({error})") from error
    if not data:
        raise OmniError(f"{name}: is empty (0 bytes)")
    return Source(name, data=data, access=access)


class _NotAllowedError(Exception):
    """The file is outside of the directory, or not a regular file. Does not disclose whether it exists."""


def _below(value: str, kind: str, access: MediaAccess) -> Source:
    """Opens a file below the allowed directory."""
    source = Source(f"{kind} {value}", access=access)
    path = value[len("file://") :] if value.startswith("file://") else value
    ways = [path, urllib.parse.unquote(path)] if value.startswith("file://") else [path]
    try:
        if access.local_directory is None:
            raise _NotAllowedError
        file = _open_below(next(filter(os.path.exists, ways), path), access.local_directory)
    except FileNotFoundError as error:
        raise source.fail("no such file") from error
    except (_NotAllowedError, ValueError) as error:  # ValueError: a null byte in the name
        raise source.fail(f"is not allowed; {access.where}") from error
    except OSError as error:
        raise source.fail(f"cannot be read ({error.strerror})") from error
    size = os.fstat(file.fileno()).st_size
    source.check("max_bytes", size, "bytes")
    if not size:
        raise source.fail("is empty (0 bytes)")
    return replace(source, path=f"/proc/self/fd/{file.fileno()}", opened=file)


def _open_below(path: str, directory: str) -> FileIO:
    """Opens a regular file whose real path, symlinks resolved, is below `directory`, itself a real path. Read it by the
    name `/proc/self/fd/N`, which is the checked file even if its path has been replaced since.

    Raises NotAllowedError, or OSError for a file below that cannot be opened."""
    real = os.path.realpath(path)
    if not _is_below(real, directory):
        raise _NotAllowedError
    # O_PATH: reads nothing, so that pipes do not block and devices are not touched
    descriptor = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        # the path may have been replaced between the check and the opening
        if not is_file or not _is_below(os.readlink(f"/proc/self/fd/{descriptor}"), directory):
            raise _NotAllowedError
        return FileIO(f"/proc/self/fd/{descriptor}", "rb")
    finally:
        os.close(descriptor)


def _is_below(path: str, directory: str) -> bool:
    return path.startswith(directory + os.sep)


def _fetched_checked(url: str, name: str, access: MediaAccess) -> Source:
    from ms_omni.inputs import checked_fetch

    source = Source(name, is_remote=True, access=access)
    try:
        data = checked_fetch.fetch(url, access)
    except checked_fetch.RefusedError as error:
        raise source.fail(f"cannot be fetched; {access.where}") from error
    except checked_fetch.FetchError as error:
        raise source.fail(f"cannot be fetched ({error})") from error
    if not data:
        raise source.fail("is empty (0 bytes)")
    return replace(source, data=data)


def _fetched(url: str, name: str) -> Source:
    source = Source(name, is_remote=True)
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "ms-omni"})
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as response:
            data = _read_capped(response, source)
            promised = response.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        raise source.fail(f"cannot be fetched (HTTP {error.code} {error.reason})") from error
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors; ValueError: not a URL
        raise source.fail(f"cannot be fetched ({getattr(error, 'reason', None) or error})") from error
    except http.client.HTTPException as error:  # a broken transfer, or no HTTP at all
        raise source.fail(f"cannot be fetched ({type(error).__name__})") from error
    if promised and promised.isdigit() and int(promised) != len(data):
        raise source.fail(f"transfer ended early ({len(data)} of {promised} bytes)")
    if not data:
        raise source.fail("is empty (0 bytes)")
    return Source(name, data=data, is_remote=True)


def _read_capped(response: BinaryIO, source: Source) -> bytes:
    chunks, size = [], 0
    while chunk := response.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > HTTP_MAX_BYTES:
            raise source.fail(f"larger than {HTTP_MAX_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
