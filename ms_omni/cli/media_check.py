"""Faults of media files that show without decoding them: found before minutes are spent on loading weights."""

from __future__ import annotations

from typing import Any

from ms_omni.inputs.access import MediaAccess, check_counts
from ms_omni.inputs.conversation import media_parts


def check_local_media(conversation: list[dict[str, Any]], use_audio_in_video: bool, access: MediaAccess) -> None:
    """Raise OmniError, naming the medium, for local media that `access` refuses, that are missing, empty, cut short, no
    picture, or a video without the sound that is asked for. Remote media are left to the readers, which see the rest as
    well."""
    check_counts(conversation, access)
    for kind, medium, _ in media_parts(conversation):
        for item in medium if isinstance(medium, list) else [medium]:
            if isinstance(item, str) and not item.startswith(("http://", "https://")):
                # a video may be a list of pictures
                _check("image" if isinstance(medium, list) else kind, item, use_audio_in_video, access)


def _check(kind: str, name: str, use_audio_in_video: bool, access: MediaAccess) -> None:
    from ms_omni.inputs.source import open_source
    from ms_omni.inputs.truncation import check_whole

    if kind == "image":
        from ms_omni.inputs.image import read_image

        read_image(name, access)
        return
    source = open_source(name, kind, access)
    check_whole(source)
    if kind == "video":
        from ms_omni.inputs.av_file import opened

        with opened(source) as container:
            if use_audio_in_video and not container.streams.audio:
                raise source.fail(
                    "has no audio track, which --use-audio-in-video needs; --no-use-audio-in-video leaves the sound out"
                )
