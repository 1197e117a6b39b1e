"""Where answers go: the document that `understand --json` prints and a line of `batch` holds, waves, pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ms_omni.cli.terminal import print_note
from ms_omni.errors import OmniError
from ms_omni.files import write_bytes
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.schema import media_parts
from ms_omni.recordings.output import RecordingOutput
from ms_omni.tasks.answer import read_answer
from ms_omni.tasks.task import Task

if TYPE_CHECKING:
    from PIL import Image

    from ms_omni.outputs import AudioOutput, OmniOutput


def answer_document(
    output: OmniOutput,
    wave: str | None,
    reasons: bool,
    task: Task | None,
    tools: list[dict[str, Any]] | None,
    conversation: list[dict[str, Any]],
    access: MediaAccess,
) -> dict[str, Any]:
    """The output's own document with the parts that `read_answer` finds in its text. wave: where the speech was
    written. conversation, access: what was asked, and whose media may be read. Boxes are in pixels of the
    conversation's picture; if that cannot be read a second time (a URL), only the boxes are lost."""
    size, fault = None, {}
    if task is not None and task.answer == "boxes":
        try:
            size = _picture(conversation, access).size
        except OmniError as error:
            fault = {"boxes": [], "boxes_error": f"the picture could not be read again: {error}"}
    reasons = reasons and not isinstance(output, RecordingOutput)  # which has left it out
    found = read_answer(output.text, reasons=reasons, tools=tools, size=size)
    return {**output.to_dict(wave), **found, **fault}


def render_places(
    path: Path, document: dict[str, Any], conversation: list[dict[str, Any]], access: MediaAccess
) -> bool:
    """Draws the boxes of a document into its picture. The file is written whole or not at all. Returns whether all
    boxes could be read, and prints a warning if not. Raises OmniError for a full disk."""
    from ms_omni.tasks.drawing import draw_places

    error = document.get("boxes_error")
    if error is not None and not document["boxes"]:
        print_note(f"warning: {error}; --render {path} is not written")
        return False
    content = io.BytesIO()
    draw_places(_picture(conversation, access), document["boxes"]).save(content, "PNG")
    write_bytes(path, [content.getvalue()], "--render")
    if error is not None:
        print_note(f"warning: {error}; --render {path} lacks it")
    return error is None


def write_wave(path: Path, audio: AudioOutput, flag: str = "--audio-out") -> None:
    """AudioOutput.save, whose errors name `flag` as well."""
    try:
        audio.save(path)
    except OmniError as error:
        raise OmniError(f"{flag} {error}") from error


def _picture(conversation: list[dict[str, Any]], access: MediaAccess) -> Image.Image:
    """The only picture of a conversation, RGB, in its own size."""
    from ms_omni.inputs.image import read_image

    return read_image(next(media_parts(conversation))[1], access)[1]
