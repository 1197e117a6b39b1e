"""The whole page: the server's state, and below it the chat or the Captioner's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import fastapi
import gradio as gr

from ms_omni.demo.caption import CaptionPage
from ms_omni.demo.chat import ChatPage
from ms_omni.demo.client import Client, ServerState
from ms_omni.demo.question import max_file_bytes
from ms_omni.demo.running import Running

Kind = Literal["auto", "chat", "captioner"]
# Interval of checks while the server is not ready
LOOK_AGAIN_S = 3.0
TITLE = "ms_omni"
# The browser's own fonts, so that nothing is fetched from elsewhere
_FONT = ["system-ui", "sans-serif"]
_MONO = ["ui-monospace", "monospace"]
_CSS = """
.gradio-container > main { max-width: 84rem; margin: auto; }
.hint, .hint p { font-size: 0.8rem; opacity: 0.75; }
#head h1 { margin: 0; font-size: 1.3rem; }
#head p { margin: 0.1rem 0 0; }
#chat .placeholder-content, #chat .placeholder { text-align: center; }
footer { display: none !important; }
/* It would send the conversation to a service elsewhere */
button[title="Share"], button[aria-label="Share"] { display: none !important; }
"""


def make_page(client: Client, kind: Kind, folder: Path, max_bytes: int) -> gr.Blocks:
    """folder: for files of the page. max_bytes: limit of one request."""
    running = Running()
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(3600, 86400)) as blocks:
        head = gr.Markdown(_head("Looking for the server ..."), elem_id="head")
        with gr.Column(visible=kind != "captioner") as chat_column:
            chat = ChatPage(client, running, folder, max_bytes)
        with gr.Column(visible=kind == "captioner") as caption_column:
            caption = CaptionPage(client, running, max_bytes)
        timer = gr.Timer(LOOK_AGAIN_S)

        async def look() -> dict[Any, Any]:
            state = await client.state()
            captions = kind == "captioner" or (kind == "auto" and state.captions)
            shown = {head: _head(_sentence(state)), timer: gr.update(active=bool(state.problem))}
            if state.problem:
                return shown
            shown |= {chat_column: gr.update(visible=not captions), caption_column: gr.update(visible=captions)}
            return shown | chat.show_state(state) | caption.show_state(state)

        outputs = [head, timer, chat_column, caption_column, *chat.state_outputs, *caption.state_outputs]
        options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on([blocks.load, timer.tick], look, None, outputs, **options)

        def leave(request: gr.Request) -> None:
            running.stop(request.session_hash or "")

        blocks.unload(leave)
    return blocks


def make_app(blocks: gr.Blocks, folder: Path, max_bytes: int) -> fastapi.FastAPI:
    """The page as an ASGI application."""
    return gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks.queue(default_concurrency_limit=None),
        path="/",
        footer_links=[],
        allowed_paths=[str(folder)],
        max_file_size=max_file_bytes(max_bytes),
        ssr_mode=False,
        theme=gr.themes.Default(font=_FONT, font_mono=_MONO),
        css=_CSS,
    )


def _head(sentence: str) -> str:
    return f"# {TITLE}\n{sentence}"


def _sentence(state: ServerState) -> str:
    if state.problem:
        return f"⏳ {state.problem} The page looks again every {LOOK_AGAIN_S:g} seconds."
    how = " in text and speech" if state.voices else "" if state.voices is None else " in text"
    return f"The model **{state.model or 'of the server'}** answers{how}."
