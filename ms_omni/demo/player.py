"""Gradio's audio output, for speech that is encoded already."""

from __future__ import annotations

from typing import Any

import gradio as gr


class SegmentPlayer(gr.Audio):
    """Plays what is yielded to it, each a segment and its seconds as `AacSegments` gives them, one after the other.
    Gradio's own encodes every piece with the ffmpeg program."""

    is_template = True  # for the browser it is gr.Audio

    def __init__(self, **options: Any):
        super().__init__(streaming=True, autoplay=True, interactive=False, buttons=[], **options)

    def postprocess(self, value: Any) -> Any:
        return value

    async def stream_output(self, value: Any, output_id: str, first_chunk: bool) -> Any:
        if value is None:
            return None, {}
        playlist = {
            "path": output_id,
            "is_stream": True,
            "orig_name": "answer.aac",
            "meta": {"_type": "gradio.FileData"},
        }
        data, seconds = value
        return {"data": data, "duration": seconds, "extension": ".aac"}, playlist
