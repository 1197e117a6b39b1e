"""`ms-omni understand`: answer one conversation in text and, with --audio-out, in speech."""

from __future__ import annotations

import argparse
import io
from contextlib import closing
from typing import TYPE_CHECKING, Any, TextIO

from ms_omni.checkpoint import built_in
from ms_omni.cli import flags
from ms_omni.cli.progress import AfterTextProgress, BarProgress, LogProgress, is_shown_live, make_progress
from ms_omni.cli.settings import merge_settings
from ms_omni.cli.terminal import is_terminal, print_note

if TYPE_CHECKING:  # these import numpy, which --help need not wait for
    from ms_omni.cli.understand.recording import RecordingJob
    from ms_omni.cli.understand.request import Request
    from ms_omni.engine import OmniEngine
    from ms_omni.options import Options
    from ms_omni.outputs import OmniOutput

USAGE = "ms-omni understand [--model DIR] (--conversation FILE | --text TEXT [--image FILE] ... | --task NAME ...)"
HELP = "answer a conversation of text, pictures, sound and video in text and speech"
EXIT_NOT_DRAWN = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag of `understand`."""
    flags.absent_flags_are_unset(parser)
    _add_prompt_flags(parser.add_argument_group("what to answer"))
    speech = parser.add_argument_group("speech")
    wave = "speak: 24 kHz mono WAV, 24 bit; without it the Talker is neither run nor loaded"
    speech.add_argument("--audio-out", metavar="FILE.wav", help=wave)
    flags.add_speaker(speech)
    flags.add_decoding(parser)
    _add_output_flags(parser.add_argument_group("output and settings"))


def _add_prompt_flags(group: Any) -> None:
    add = group.add_argument
    add("--conversation", metavar="FILE", help="JSON list of messages; - reads stdin")
    add("--system", metavar="TEXT", help="system prompt of a single turn")
    add("--text", metavar="TEXT", help="text of a single turn")
    for media in flags.MEDIA_KEYS:
        words = f"{media} file or URL of a single turn; may repeat"
        add(f"--{media}", metavar="FILE", action="append", help=words)
    flags.add_task(group)
    flags.add_media(group)
    flags.add_media_access(group)


def _add_output_flags(group: Any) -> None:
    add = group.add_argument
    add("--stream", action=flags.ON_OR_OFF, help="print text as it comes")
    add("--json", action=flags.ON_OR_OFF, help="one JSON document on stdout")
    add("--render", metavar="FILE.png", help="--task object-grounding: the picture with the answer's boxes")
    transcript = (
        "--task speech-recognition, speech-translation: the text to FILE.txt, .srt, .vtt or .json, too; the same "
        "command goes on where it was interrupted"
    )
    add("--transcript", metavar="FILE", help=transcript)
    flags.add_config(group)


def run(args: argparse.Namespace) -> int:
    """Check everything cheap, then load, answer, print the text (or the JSON document) and write the wave."""
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.cli.understand.recording import RecordingJob
    from ms_omni.cli.understand.request import check_request

    with results_only_on_stdout(args.debug) as results:
        settings = merge_settings(args, "understand")
        request = check_request(settings)
        job = RecordingJob(request) if request.by_windows else None
        if settings.get("model", built_in.NAME) == built_in.NAME:
            print_note(built_in.WHAT_IT_IS)
        output, is_writer, reasons = _answer(request, job, results)
        if output is None or not is_writer:
            return 0
        is_drawn = _deliver(request, output, reasons, results)
        _note_limits(request, output)
        return 0 if is_drawn else EXIT_NOT_DRAWN


def _answer(request: Request, job: RecordingJob | None, results: TextIO) -> tuple[OmniOutput | None, bool, bool]:
    """Returns the output, whether this process of its job prints and writes, and whether the prompt has opened the
    model's reasoning."""
    progress: LogProgress | BarProgress | AfterTextProgress = make_progress()
    engine: OmniEngine | None = None
    try:
        progress("load", 0, 0)  # importing MindSpore and mindone alone takes seconds
        from ms_omni.answer_parts import opens_reasoning
        from ms_omni.engine import OmniEngine

        engine = OmniEngine(request.engine, progress)
        text = TextPrinter(results if engine.world.is_writer else io.StringIO())
        if request.stream and (is_terminal(results) or is_shown_live()):
            progress.close()
            progress = AfterTextProgress(make_progress(), text.end)
        if job is not None:
            return _write_down(job, request, engine, progress, text), engine.world.is_writer, False
        options: Options = {**request.options, "progress": progress}
        if request.stream:
            with closing(engine.stream(request.conversation, **options)) as chunks:
                output = _print_stream(chunks, text)
        else:
            output = engine.generate(request.conversation, **options)
        reasons = (request.json or request.render is not None) and opens_reasoning(engine.processor)
        return output, engine.world.is_writer, reasons
    finally:
        progress.close()
        if engine is not None:
            engine.close()


def _write_down(
    job: RecordingJob, request: Request, engine: OmniEngine, progress: Any, text: TextPrinter
) -> OmniOutput | None:
    """Answers about a recording window by window; None in a process that computes for another one."""
    from ms_omni.cli.resuming import goes_on

    if not engine.world.is_leader:
        engine.follow()
        return None
    streams_live = isinstance(progress, AfterTextProgress)
    try:
        output = job.run(engine, text.put if request.stream else lambda delta: None, None if streams_live else progress)
    except KeyboardInterrupt:
        if not job.goes_on:
            raise
        raise KeyboardInterrupt(goes_on()) from None
    if request.stream:
        text.end()
    return output


class TextPrinter:
    """Writes streamed text piece by piece, and its final line end once."""

    def __init__(self, results: TextIO) -> None:
        self._results = results
        self._ended = False

    def put(self, text: str) -> None:
        """Written at once."""
        self._results.write(text)
        self._results.flush()

    def end(self) -> None:
        """Later calls do nothing."""
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


def _deliver(request: Request, output: OmniOutput, reasons: bool, results: TextIO) -> bool:
    """Prints the text before the wave is written, so that a full disk costs only the wave; the document comes last,
    since it names the wave. Returns False if --render was asked for and failed."""
    from ms_omni.cli.output import answer_document, render_places, write_wave
    from ms_omni.files import json_line

    if not request.stream and not request.json:
        results.write(output.text + "\n")
        results.flush()
    path = None
    if request.audio_out is not None:
        if output.audio is None:
            raise RuntimeError("the engine returned no audio although it was asked for")
        write_wave(request.audio_out, output.audio)
        path = str(request.audio_out)
    if not request.json and request.render is None:
        return True
    access, tools = request.engine.media_access, request.options.get("tools")
    document = answer_document(output, path, reasons, request.task, tools, request.conversation, access)
    if request.json:
        results.write(json_line(document))
        results.flush()
    return request.render is None or render_places(request.render, document, request.conversation, access)


def _note_limits(request: Request, output: OmniOutput) -> None:
    """Says that an answer was cut at its maximum. With --ignore-eos that is what was asked for."""
    from ms_omni.cli.understand.recording import note_cut
    from ms_omni.recordings.output import RecordingOutput

    sampling = request.options["sampling"]
    if sampling is not None and sampling.ignore_eos:
        return
    if isinstance(output, RecordingOutput):
        note_cut(output)
    elif output.finish_reason == "length":
        count = output.usage.completion_tokens
        print_note(f"note: text stopped at the maximum of {count} tokens; raise --thinker-max-new-tokens for more")
    audio = output.audio
    if audio is not None and audio.finish_reason == "length":
        seconds = audio.num_samples / audio.sample_rate
        print_note(
            f"warning: speech stopped at the maximum of {audio.num_frames} frames ({seconds:.1f} s) and is cut; "
            "raise --talker-max-new-tokens"
        )
