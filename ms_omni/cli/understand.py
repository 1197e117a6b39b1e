"""`ms-omni understand`: answer one conversation in text and, with --audio-out, in speech."""

from __future__ import annotations

import argparse
import io
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any, TextIO

from ms_omni.checkpoint import built_in
from ms_omni.cli.parser import is_terminal, print_note
from ms_omni.cli.progress import AfterTextProgress, BarProgress, LogProgress, is_shown_live, make_progress
from ms_omni.cli.settings import add_flags, merge_settings

if TYPE_CHECKING:  # these import numpy, which --help need not wait for
    from ms_omni.cli.request import Request
    from ms_omni.engine import OmniEngine
    from ms_omni.outputs import OmniOutput

USAGE = "ms-omni understand [--model DIR] (--conversation FILE | --text TEXT [--image FILE] ...) [flags]"
HELP = "answer a conversation of text, pictures, sound and video in text and speech"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything cheap, then load, answer, print the text (or the JSON document) and write the wave."""
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.cli.request import check_request

    with results_only_on_stdout(args.debug) as results:
        settings = merge_settings(args)
        request = check_request(settings)
        if settings.get("model", built_in.NAME) == built_in.NAME:
            print_note(built_in.WHAT_IT_IS)
        output, is_writer = _answer(request, results)
        if is_writer:
            _deliver(request, output, results)
            _note_limits(request, output)
    return 0


def _answer(request: Request, results: TextIO) -> tuple[OmniOutput, bool]:
    """The output, and whether this process is the one of its job that prints and writes."""
    progress: LogProgress | BarProgress | AfterTextProgress = make_progress()
    engine: OmniEngine | None = None
    try:
        progress("load", 0, 0)  # importing MindSpore and mindone alone takes seconds
        from ms_omni.engine import OmniEngine

        engine = OmniEngine(request.engine, progress)
        text = TextPrinter(results if engine.world.is_writer else io.StringIO())
        if request.stream and (is_terminal(results) or is_shown_live()):
            progress.close()
            progress = AfterTextProgress(make_progress(), text.end)
        options: dict[str, Any] = {
            "return_audio": request.audio_out is not None,
            "speaker": request.speaker,
            "use_audio_in_video": request.use_audio_in_video,
            "fps": request.fps,
            "sampling": request.sampling,
            "progress": progress,
        }
        if request.stream:
            with closing(engine.stream(request.conversation, **options)) as chunks:
                output = _print_stream(chunks, text)
        else:
            output = engine.generate(request.conversation, **options)
        return output, engine.world.is_writer
    finally:
        progress.close()
        if engine is not None:
            engine.close()


class TextPrinter:
    """Writes streamed text piece by piece, and its final line end once."""

    def __init__(self, results: TextIO) -> None:
        self._results = results
        self._ended = False

    def put(self, text: str) -> None:
        self._results.write(text)
        self._results.flush()

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self.put("\n")


def _print_stream(chunks: Any, text: TextPrinter) -> OmniOutput:
    """Print text deltas as they come. Audio chunks are parts of the final wave, which is written whole."""
    from ms_omni.outputs import StreamEnd, TextDelta

    for chunk in chunks:
        if isinstance(chunk, TextDelta):
            text.put(chunk.text)
        elif isinstance(chunk, StreamEnd):
            text.end()
            return chunk.output
    raise RuntimeError("the engine's stream ended without its result")


def _deliver(request: Request, output: OmniOutput, results: TextIO) -> None:
    """The text goes out before the wave, so that a full disk costs the wave alone; the document names the wave."""
    from ms_omni.cli.wave import write_wave

    if not request.stream and not request.json:
        results.write(output.text + "\n")
        results.flush()
    path = None
    if request.audio_out is not None:
        if output.audio is None:
            raise RuntimeError("the engine returned no audio although it was asked for")
        write_wave(request.audio_out, output.audio)
        path = str(request.audio_out)
    if request.json:
        results.write(json.dumps(output.to_dict(path), ensure_ascii=False) + "\n")
        results.flush()


def _note_limits(request: Request, output: OmniOutput) -> None:
    """Never cut an answer silently. With --ignore-eos the maximum is what was asked for."""
    if request.sampling.ignore_eos:
        return
    if output.finish_reason == "length":
        count = output.usage.completion_tokens
        print_note(f"note: text stopped at the maximum of {count} tokens; raise --thinker-max-new-tokens for more")
    audio = output.audio
    if audio is not None and audio.finish_reason == "length":
        seconds = audio.num_samples / audio.sample_rate
        print_note(
            f"warning: speech stopped at the maximum of {audio.num_frames} frames ({seconds:.1f} s) and is cut; "
            "raise --talker-max-new-tokens"
        )
