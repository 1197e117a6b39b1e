"""Gradio's audio output for speech that is already encoded."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ms_omni.demo.speech import seconds_of


def segment_player(**options: Any) -> gr.Audio:
    """Plays the segments of `AacSegments` that are yielded to it; None begins a new stream. Gradio itself would encode
    every piece with the ffmpeg program."""
    player = gr.Audio(streaming=True, autoplay=True, interactive=False, buttons=[], **options)
    # Not a subclass: Gradio writes a .pyi file beside the source of each subclass
    player.stream_output = _stream_output  # type: ignore[method-assign]
    return player


async def _stream_output(value: bytes | None, output_id: str, first_chunk: bool) -> Any:
    """The segment, and what the browser gets: the playlist's address, once there is something to play."""
    if value is None:
        return None, {}
    playlist = {
        "path": output_id,
        "is_stream": True,
        "orig_name": "answer.aac",
        "meta": {"_type": "gradio.FileData"},
    }
    return {"data": value, "duration": seconds_of(value), "extension": ".aac"}, playlist
