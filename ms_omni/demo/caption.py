"""The page of a Captioner: describes one sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from ms_omni.demo.client import Client, ServerError, ServerState
from ms_omni.demo.question import MIB, QuestionError, Settings, Turn, chat_body, max_file_bytes, number
from ms_omni.demo.running import Running


class CaptionPage:
    """Components and handlers. The model's card asks for a sound without text and without a system prompt
    (https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Captioner)."""

    def __init__(self, client: Client, running: Running, max_bytes: int):
        self._client, self._running, self._max_bytes = client, running, max_bytes
        self._model = gr.State(None)
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320):
                self._sound = gr.Audio(
                    label="Sound", sources=["upload", "microphone"], type="filepath", buttons=[], elem_id="sound"
                )
                gr.Markdown(f"Up to {max_file_bytes(max_bytes) // MIB} MiB.", elem_classes="hint")
                self._max_tokens = gr.Textbox("", label="Most tokens", placeholder="default", max_lines=1)
                with gr.Row():
                    self._describe = gr.Button("Describe", variant="primary", elem_id="describe")
                    self._stop = gr.Button("Stop", interactive=False)
            with gr.Column(min_width=320):
                self._caption = gr.Textbox(
                    label="Description", lines=12, max_lines=30, interactive=False, buttons=["copy"], elem_id="caption"
                )
        self._describe.click(
            self._answer,
            [self._sound, self._max_tokens, self._model],
            [self._caption, self._describe, self._stop],
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        self._stop.click(self._end, None, None, queue=False, show_progress="hidden", api_visibility="private")

    @property
    def state_outputs(self) -> list[Any]:
        """What `show_state` sets."""
        return [self._model]

    def show_state(self, state: ServerState) -> dict[Any, Any]:
        """Updates of the components for this state of the server."""
        return {self._model: state.model}

    async def _answer(
        self, sound: str | None, max_tokens: str, model: str | None, request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any], None]:
        if not sound:
            yield {self._caption: "Choose a sound, or record one."}
            return
        yield {
            self._caption: gr.update(value="", placeholder="Being described ..."),
            self._describe: gr.update(interactive=False),
            self._stop: gr.update(interactive=True),
        }
        text = ""
        try:
            settings = Settings(model=model, max_tokens=number("Most tokens", max_tokens, int))
            turns = [Turn("user", files=(sound,))]
            body = await asyncio.to_thread(chat_body, turns, settings, self._max_bytes)
            deltas = self._running.answer(request.session_hash or "", self._client.ask(body))
            async with aclosing(deltas):
                async for delta in deltas:
                    text += delta.text
                    yield {self._caption: text}
        except (ServerError, QuestionError) as error:
            yield {self._caption: f"{text}\n\n⚠️ {error}".strip()}
        yield {
            self._caption: gr.update(placeholder=""),
            self._describe: gr.update(interactive=True),
            self._stop: gr.update(interactive=False),
        }

    async def _end(self, request: gr.Request) -> None:
        self._running.stop(request.session_hash or "")
