"""Where media may come from, and how large they may be. Imports nothing heavy."""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.inputs.schema import media_parts

# Image formats of restricted accesses: those of OpenAI's API, and BMP. Pillow knows forty more, some of which run other
# programs (EPS) or hold images of other sizes than they state (ICO).
IMAGE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
# Directories of the kernel, which hold no media
_NO_MEDIA = ("/", "/proc", "/sys", "/dev")


@dataclass(frozen=True)
class MediaAccess:
    """Which media may be read. `MediaAccess()` is for media that the user named: any local file, any http(s) host, any
    size. `restricted=True` is for media that somebody else named; only then do the other fields apply.

    local_directory: local files must lie below it; None: no local files.
    domains: hosts that may be contacted, each matched exactly; empty: any.
    networks: private networks, in CIDR notation, that may be contacted; other addresses must be public.
    max_bytes: of one medium as it is received. fetch_seconds: from the DNS query to the last byte, with redirects.
    all_seconds: for fetching and decoding all media of one conversation.
    max_media: in one conversation. max_frames: sampled from one video file, and in all lists of frames together.
    max_image_pixels: of one image, before and after resizing.
    max_frame_pixels, max_video_pixels: of one frame of a video, and of all decoded frames.
    max_seconds, max_samples: of one sound (samples of all channels, before resampling); max_seconds of a video too.
    max_decoded_bytes: of all media of one conversation, ready for the processor.

    Raises OmniError for an invalid directory, host or network."""

    restricted: bool = False
    local_directory: str | None = None
    domains: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    max_bytes: int = 256 << 20
    fetch_seconds: float = 60.0
    all_seconds: float = 600.0
    max_media: int = 64
    max_frames: int = 768
    max_image_pixels: int = 1 << 26
    max_frame_pixels: int = 4096 * 2304
    max_video_pixels: int = 1 << 37
    max_seconds: float = 3600.0
    max_samples: int = 1 << 28
    max_decoded_bytes: int = 1 << 30
    until: float = field(default=math.inf, repr=False)  # of time.monotonic(), see `begun`

    def __post_init__(self) -> None:
        if not self.restricted and (self.local_directory is not None or self.domains or self.networks):
            raise OmniError("media access: a directory, domains and networks need restricted=True")
        for name in (each.name for each in fields(self) if each.type in ("int", "float")):
            if not getattr(self, name) > 0:
                raise OmniError(f"media access: {name} {getattr(self, name)}: expected a number above 0")
        if self.local_directory is not None:
            object.__setattr__(self, "local_directory", _directory(self.local_directory))
        object.__setattr__(self, "domains", tuple(_domain(name) for name in self.domains))
        object.__setattr__(self, "networks", tuple(_network(text) for text in self.networks))

    def begun(self) -> MediaAccess:
        """A copy for one conversation, whose `all_seconds` begin now."""
        return replace(self, until=time.monotonic() + self.all_seconds) if self.restricted else self

    @property
    def max_video_packets(self) -> int:
        """Packets of a video of max_seconds at 240 frames a second."""
        return int(self.max_seconds * 240)

    @property
    def max_index_entries(self) -> int:
        """Edits times samples of an MP4, for which FFmpeg allocates 310 MB."""
        return 1 << 23

    @property
    def where(self) -> str:
        """What is allowed, for error messages. Discloses nothing about the machine."""
        names = ", ".join((*self.domains[:3], *(["..."] if len(self.domains) > 3 else [])))
        web = f"http(s) from {names}" if self.domains else "http(s) from public addresses"
        local = "local files below the allowed directory" if self.local_directory is not None else "no local files"
        return f"allowed are {web}, data: URIs and {local}"


UNRESTRICTED = MediaAccess()


def check_counts(conversation: Sequence[dict[str, Any]], access: MediaAccess) -> None:
    """Raises OmniError when a validated conversation has more media, or frames in a list, than `access` allows."""
    if not access.restricted:
        return
    media = [medium for _, medium, _ in media_parts(conversation)]
    frames = sum(len(medium) for medium in media if isinstance(medium, (list, tuple)))
    for what, count, most in (("media", len(media), access.max_media), ("frames in lists", frames, access.max_frames)):
        if count > most:
            raise OmniError(f"conversation: {count} {what}; at most {most} are allowed")


def host_name(name: str) -> str:
    """A host name in the form in which names are compared: IDNA (UTS 46), lower case, no final dot. Raises
    ValueError."""
    import idna

    plain = name.strip("[]").lower() if name.isascii() else idna.encode(name, uts46=True).decode()
    plain = plain[:-1] if plain.endswith(".") else plain
    if not plain or len(plain) > 253 or any(char <= " " or char in "/\\@?#%\x7f" for char in plain):
        raise ValueError("not a host name")
    return plain


def _directory(path: str) -> str:
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        raise OmniError(f"--allowed-local-media-path {path}: expected a directory")
    if real in _NO_MEDIA or real.startswith(tuple(f"{place}/" for place in _NO_MEDIA[1:])):
        raise OmniError(f"--allowed-local-media-path {path}: expected a directory that holds nothing but media")
    return real


def _domain(name: str) -> str:
    try:
        host = host_name(name)
    except ValueError as error:  # idna's own errors are ValueErrors
        raise OmniError(f"--allowed-media-domain {name}: expected a host name such as media.example.com") from error
    if "*" in host or (":" in host and not _is_address(host)):
        raise OmniError(f"--allowed-media-domain {name}: expected one host, without a port and without *")
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=True))
    except ValueError as error:
        raise OmniError(f"--allowed-media-network {text}: expected a network such as 10.1.0.0/16 ({error})") from error
