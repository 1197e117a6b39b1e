"""`ms-omni serve`: answer OpenAI's protocol over HTTP with one loaded model."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ms_omni.checkpoint import built_in
from ms_omni.cli import flags
from ms_omni.cli.parser import decimal_number, whole_number
from ms_omni.cli.progress import load_engine
from ms_omni.cli.settings import merge_settings
from ms_omni.cli.terminal import print_note
from ms_omni.errors import OmniError

if TYPE_CHECKING:  # these import numpy, which --help need not wait for
    from socket import socket

    from ms_omni.config import EngineConfig
    from ms_omni.server.service import ServerSettings

USAGE = "ms-omni serve [--model DIR] [--host ADDRESS] [--port N] [flags]"
HELP = "answer OpenAI's protocol over HTTP with one loaded model"
EXIT_ENGINE_STOPPED = 1
KEY_VARIABLE = "MS_OMNI_API_KEY"
PORT = 8901
# After the time of grace: how long a server may take to close its engine
END_S = 20.0
MIB = 1 << 20


@dataclass(frozen=True)
class ServeJob:
    """One checked run."""

    host: str
    port: int
    uds: str | None
    server: ServerSettings
    engine: EngineConfig

    def listen(self) -> tuple[socket, str]:
        """A listening socket, and its address for readers. Raises OmniError for one that cannot be used."""
        from ms_omni.server.listening import listening_socket, shown_address, unix_socket

        if self.uds is not None:
            return unix_socket(self.uds), self.uds
        listener = listening_socket(self.host, self.port)
        return listener, shown_address(self.host, listener)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server, whose media it reads, and the engine."""
    flags.absent_flags_are_unset(parser)
    _add_server_flags(parser.add_argument_group("server"))
    flags.add_media_access(parser.add_argument_group("media that clients name"))
    group = parser.add_argument_group("model and device")
    flags.add_engine(group)
    flags.add_sizes(group)
    flags.add_pixels(group)
    talker = "load the Talker, if the checkpoint has one (default); --no-talker saves its memory"
    group.add_argument("--talker", action=flags.ON_OR_OFF, help=talker)
    warm_up = "compile all graphs before the first question (default); --no-warm-up compiles them as they are needed"
    group.add_argument("--warm-up", action=flags.ON_OR_OFF, help=warm_up)
    flags.add_config(parser.add_argument_group("settings"))


def _add_server_flags(group: Any) -> None:
    add = group.add_argument
    add("--host", metavar="ADDRESS", help="to listen at (default 127.0.0.1: this machine only)")
    add("--port", metavar="N", type=whole_number(0), help=f"default {PORT}; 0 takes a free one")
    add("--uds", metavar="PATH", help="listen at this Unix socket instead, as behind a proxy of this machine")
    flags.add_served_model_name(group)
    key = f"that clients must send; may repeat; also from {KEY_VARIABLE}, with commas between several (default: none)"
    add("--api-key", metavar="KEY", action="append", help=key)
    queue = "questions that may wait beyond those that are answered (default 64)"
    add("--max-queue", metavar="N", type=whole_number(0), help=queue)
    add("--timeout-s", metavar="S", type=decimal_number(0), help="for a whole answer (default 3600)")
    grace = "for answers under way when the server is told to end (default 30)"
    add("--grace-s", metavar="S", type=decimal_number(), help=grace)
    add("--max-body-mib", metavar="N", type=whole_number(1), help="largest request (default 64)")


def check_serve(settings: dict[str, Any]) -> ServeJob:
    """settings: flag names with underscores; unset ones are absent. Raises OmniError for every mistake that shows
    without loading."""
    from ms_omni.checkpoint.resolve import resolve_checkpoint
    from ms_omni.cli.engine_settings import check_pixels, engine_config
    from ms_omni.cli.voices import Voices
    from ms_omni.server.service import ServerSettings

    settings = {"model": built_in.NAME, "parallel": "auto", "warm_up": True, **settings}
    if not 0 <= settings.get("port", PORT) <= 65535:
        raise OmniError(f"--port {settings['port']}: expected 0 to 65535")
    if settings.get("grace_s", 0) < 0:
        raise OmniError(f"--grace-s {settings['grace_s']:g}: expected 0 or more")
    keys = [*settings.get("api_key", []), *os.environ.get(KEY_VARIABLE, "").split(",")]
    keys = [key.strip() for key in keys if key.strip()]
    if not all(key.isascii() and key.isprintable() for key in keys):
        raise OmniError("--api-key: expected printable ASCII characters")
    check_pixels(settings)
    voices = Voices.of(resolve_checkpoint(settings["model"]))
    if settings.get("talker"):
        voices.check_speech("--talker")
    engine = engine_config(settings, with_talker=settings.get("talker", voices.can_speak), restricted=True)
    given: dict[str, Any] = {name: settings[name] for name in ("max_queue", "timeout_s", "grace_s") if name in settings}
    if "max_body_mib" in settings:
        given["max_body_bytes"] = settings["max_body_mib"] * MIB
    names = tuple(settings.get("served_model_name", [settings["model"]]))
    server = ServerSettings(model_names=names, api_keys=tuple(keys), **given)
    address = settings.get("host", "127.0.0.1"), settings.get("port", PORT), settings.get("uds")
    return ServeJob(*address, server, engine)


def run(args: argparse.Namespace) -> int:
    """Listen, load, answer until the end. Exit code 1 when the engine has stopped by itself."""
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.parallel.world import writes_before_start

    with results_only_on_stdout(args.debug):
        settings = merge_settings(args, "serve")
        job = check_serve(settings)
        if settings.get("model", built_in.NAME) == built_in.NAME and writes_before_start():
            print_note(built_in.WHAT_IT_IS)
        return _serve(job)


@contextmanager
def serving_extra() -> Iterator[None]:
    """Around imports from the extra [serve]: says how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise OmniError(f"serve needs more packages ({error}): pip install 'ms-omni[serve]'") from error


def _serve(job: ServeJob) -> int:
    from ms_omni.parallel.world import is_under_msrun, writes_before_start

    if not writes_before_start():  # clients talk to one process of the job
        with load_engine(job.engine) as engine:
            engine.follow()
        return 0
    with serving_extra():
        from ms_omni.server.run import Server

    listener, address = job.listen()
    server = Server(listener, job.server)
    server.start()
    place = "" if is_under_msrun() else f"listening at {address}; "  # launch has said where
    print_note(f"{place}loading {job.server.model_names[0]}")
    try:
        engine = load_engine(job.engine)
        precision = "" if engine.quantize == "none" else f"; decoder layers: {engine.quantize}"
        limits = f"{engine.max_num_seqs} conversations at a time, {job.server.max_queue} may wait"
        print_note(f"ready: answers {limits}{precision}")
        return 0 if server.answer(engine, print_note) else EXIT_ENGINE_STOPPED
    finally:
        server.close()
