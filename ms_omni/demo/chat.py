"""The chat page: messages of text, images, sound and video, answered in text and speech."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any
from uuid import uuid4

import gradio as gr

from ms_omni.demo.client import Client, Delta, ServerError, ServerState
from ms_omni.demo.player import segment_player
from ms_omni.demo.question import (
    MIB,
    QuestionError,
    Settings,
    Turn,
    chat_body,
    check_size,
    max_file_bytes,
    number,
)
from ms_omni.demo.running import Running
from ms_omni.demo.speech import AacSegments, write_wave

ASSETS = Path(__file__).parents[1] / "assets"
EXAMPLES = (
    ("What do you see?", "tiny_shapes.png", "A picture: what do you see?"),
    ("What do you hear?", "tiny_words.wav", "A sound: what do you hear?"),
    ("What happens in the video?", "tiny_ball.mp4", "A video: what happens?"),
)
SERVER_CHOICE = "Server's choice"
STOPPED = "_Stopped._"
CUT = "_Cut: the answer has reached its most tokens._"


class ChatPage:
    """Components and handlers. folder: for the waves of answers; Gradio must be allowed to serve its files."""

    def __init__(self, client: Client, running: Running, folder: Path, max_bytes: int):
        self._client, self._running, self._folder, self._max_bytes = client, running, folder, max_bytes
        self._num_cleared: Counter[str] = Counter()  # for each tab: an older answer is not shown any more
        self._model = gr.State(None)
        self._turns = gr.State([])
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                self._add_conversation()
            with gr.Column(scale=1, min_width=280):
                self._add_settings()
        self._connect()

    def _add_conversation(self) -> None:
        self._chat = gr.Chatbot(
            show_label=False,
            height="clamp(20rem, calc(100vh - 17rem), 60rem)",
            placeholder="### Ask in words, with pictures, sound or video\nTry one of these, or write below.",
            examples=[
                {"text": text, "display_text": title, "files": [str(ASSETS / name)]} for text, name, title in EXAMPLES
            ],
            buttons=["copy"],
            feedback_options=None,
            elem_id="chat",
        )
        self._box = gr.MultimodalTextbox(
            show_label=False,
            placeholder="Ask; add files, or speak",
            sources=["upload", "microphone"],
            file_types=["image", "audio", "video"],
            file_count="multiple",
            max_plain_text_length=100_000,
            autofocus=True,
            elem_id="question",
        )
        gr.Markdown(
            f"Pictures, sound and video; all files of a conversation together up to "
            f"{max_file_bytes(self._max_bytes) // MIB} MiB.",
            elem_classes="hint",
        )

    def _add_settings(self) -> None:
        self._player = segment_player(label="Speech, while it is made", elem_id="speech")
        self._speaks = gr.Checkbox(True, label="Answer in speech as well", elem_id="speaks")
        self._voice = gr.Dropdown(
            [(SERVER_CHOICE, "")], value="", label="Speaker", allow_custom_value=True, elem_id="voice"
        )
        self._audio_in_video = gr.Checkbox(False, label="Listen to the sound of videos", elem_id="audio-in-video")
        self._system = gr.Textbox("", label="System prompt", lines=2, max_lines=8, placeholder="None", elem_id="system")
        with gr.Accordion("Sampling", open=False), gr.Row():
            self._temperature = _field("Temperature", "0 is greedy")
            self._top_p = _field("Top p", "0 to 1")
            self._max_tokens = _field("Most tokens", "of the text")
            self._seed = _field("Seed", "repeats an answer")

    def _connect(self) -> None:
        settings = [
            self._speaks, self._voice, self._system, self._temperature, self._top_p, self._max_tokens, self._seed,
            self._audio_in_video,
        ]  # fmt: skip
        gr.on(
            [self._box.submit],
            self._answer,
            [self._box, self._turns, self._model, *settings],
            [self._box, self._turns, self._chat, self._player],
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        light: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self._box.stop(self._stop, None, None, **light)
        self._box.input(self._check_files, [self._box, self._turns], None, **light)
        self._chat.clear(self._start_again, None, [self._turns, self._chat, self._player], **light)
        self._chat.example_select(_example, None, self._box, **light)

    @property
    def state_outputs(self) -> list[Any]:
        """What `show_state` sets."""
        return [self._model, self._speaks, self._voice]

    def show_state(self, state: ServerState) -> dict[Any, Any]:
        """Updates of the components for this state of the server."""
        can_speak = state.voices != ()
        names = [(SERVER_CHOICE, ""), *((name, name) for name in state.voices or ())]
        label = "Answer in speech as well" if can_speak else "Answers in text: this model cannot speak"
        return {
            self._model: state.model,
            self._speaks: gr.update(value=can_speak, interactive=can_speak, label=label),
            self._voice: gr.update(choices=names, visible=can_speak),
        }

    async def _answer(
        self,
        box: dict[str, Any],
        turns: list[Turn],
        model: str | None,
        speaks: bool,
        voice: str,
        system: str,
        temperature: str,
        top_p: str,
        max_tokens: str,
        seed: str,
        use_audio_in_video: bool,
        request: gr.Request,
    ) -> AsyncGenerator[dict[Any, Any], None]:
        yield {self._player: None}  # begin a new stream
        yield {self._player: gr.update(value=None)}  # and show nothing yet
        asked = Turn("user", box["text"], tuple(box["files"] or ()))
        if not asked.text.strip() and not asked.files:
            return
        answer = Turn("assistant")
        tab = request.session_hash or ""
        num_cleared = self._num_cleared[tab]
        turns = [*turns, asked, answer]
        speech = _Speech(self._folder) if speaks else None
        yield {
            self._box: gr.update(value=None, submit_btn=False, stop_btn=True, placeholder="Being answered ..."),
            self._chat: _shown(turns),
        }
        try:
            settings = Settings(
                model,
                speaks,
                voice or None,
                system,
                number("Temperature", temperature, float),
                number("Top p", top_p, float),
                number("Most tokens", max_tokens, int),
                number("Seed", seed, int),
                use_audio_in_video,
            )
            body = await asyncio.to_thread(chat_body, turns[:-1], settings, self._max_bytes)
            deltas = self._running.answer(tab, self._client.ask(body))
            finish = ""
            async with aclosing(deltas):
                async for delta in deltas:
                    finish = delta.finish or finish
                    if self._num_cleared[tab] == num_cleared:
                        yield self._step(turns, answer, delta, speech)
            answer.notes = {"": STOPPED, "length": CUT}.get(finish, "")
        except (ServerError, QuestionError) as error:
            answer.notes, asked.failed, answer.failed = f"⚠️ {error}", True, True
        ready = {self._box: gr.update(submit_btn=True, stop_btn=False, placeholder="The next question")}
        if self._num_cleared[tab] != num_cleared:
            yield ready
            return
        if speech:
            answer.wave = speech.wave()
            if segment := speech.segments.end():
                yield {self._player: segment}
        yield {**ready, self._turns: turns, self._chat: _shown(turns)}

    def _step(self, turns: Sequence[Turn], answer: Turn, delta: Delta, speech: _Speech | None) -> dict[Any, Any]:
        update: dict[Any, Any] = {}
        if delta.text or delta.reasoning:
            answer.text += delta.text
            answer.reasoning += delta.reasoning
            update[self._chat] = _shown(turns)
        if speech and delta.pcm and (segment := speech.put(delta.pcm)):
            update[self._player] = segment
        return update or {self._chat: gr.skip()}

    async def _stop(self, request: gr.Request) -> None:
        self._running.stop(request.session_hash or "")

    async def _start_again(self, request: gr.Request) -> dict[Any, Any]:
        self._num_cleared[request.session_hash or ""] += 1
        await self._stop(request)
        return {self._turns: [], self._chat: [], self._player: None}

    def _check_files(self, box: dict[str, Any], turns: list[Turn]) -> None:
        """Warns before a question is sent."""
        files = [name for turn in turns if not turn.failed for name in turn.files] + list(box["files"] or ())
        try:
            check_size(files, self._max_bytes)
        except QuestionError as error:
            gr.Warning(str(error))


class _Speech:
    """The speech of one answer."""

    def __init__(self, folder: Path):
        self.segments = AacSegments()
        self._path = folder / f"answer-{uuid4().hex[:8]}.wav"
        self._pcm: list[bytes] = []

    def put(self, pcm: bytes) -> bytes:
        self._pcm.append(pcm)
        return self.segments.put(pcm)

    def wave(self) -> str:
        """Writes everything that was put to a file and returns its path; "" if that is nothing."""
        if not self._pcm:
            return ""
        write_wave(self._path, b"".join(self._pcm))
        return str(self._path)


def _field(label: str, info: str) -> gr.Textbox:
    # Not gr.Number, which shows and sends 0 for an empty field
    return gr.Textbox("", label=label, info=info, placeholder="default", max_lines=1, min_width=110)


def _example(event: gr.SelectData) -> dict[str, Any]:
    return {"text": event.value["text"], "files": [file["path"] for file in event.value.get("files", [])]}


def _shown(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """The turns as messages of Gradio's Chatbot."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        messages += [{"role": turn.role, "content": {"path": name}} for name in turn.files]
        if turn.reasoning:
            messages.append({"role": turn.role, "content": turn.reasoning, "metadata": {"title": "Reasoning"}})
        if text := "\n\n".join(part for part in (turn.text, turn.notes) if part):
            messages.append({"role": turn.role, "content": text})
        if turn.wave:
            messages.append({"role": turn.role, "content": {"path": turn.wave}})
    return messages
