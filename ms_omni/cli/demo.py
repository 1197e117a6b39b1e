"""`ms-omni demo`: a page in the browser that talks to a server."""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ms_omni.cli.parser import choice, whole_number
from ms_omni.cli.quiet import results_only_on_stdout
from ms_omni.cli.serve import KEY_VARIABLE, MIB
from ms_omni.cli.serve import PORT as SERVER_PORT
from ms_omni.cli.terminal import print_note
from ms_omni.errors import OmniError

USAGE = "ms-omni demo [--server URL] [--api-key KEY] [--host ADDRESS] [--port N]"
HELP = "a page in the browser for chats with a server"
SERVER = f"http://127.0.0.1:{SERVER_PORT}"
PORT = 7860
PAGES = ("auto", "chat", "captioner")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The server to talk to, and the page."""
    add = parser.add_argument
    add("--server", default=SERVER, metavar="URL", help=f"of OpenAI's protocol, as ms-omni serve (default {SERVER})")
    add("--api-key", metavar="KEY", help=f"that the server wants; also from {KEY_VARIABLE}")
    address = "to listen at (default 127.0.0.1: this machine only)"
    add("--host", default="127.0.0.1", metavar="ADDRESS", help=address)
    add("--port", type=whole_number(0), default=PORT, metavar="N", help=f"default {PORT}; 0 takes a free one")
    add("--page", **choice(*PAGES), default="auto", help="auto: captioner where the model's name says so")
    largest = "largest request that the server takes (default 64)"
    add("--max-body-mib", type=whole_number(1), default=64, metavar="N", help=largest)


def run(args: argparse.Namespace) -> int:
    """Show the page until Ctrl-C."""
    if not args.server.startswith(("http://", "https://")):
        raise OmniError(f"--server {args.server}: expected a URL, for example {SERVER}")
    if args.port > 65535:
        raise OmniError(f"--port {args.port}: expected 0 to 65535")
    key = args.api_key or os.environ.get(KEY_VARIABLE, "").split(",")[0].strip() or None
    with results_only_on_stdout(args.debug), tempfile.TemporaryDirectory(prefix="ms_omni_demo_") as name:
        _show(args, key, Path(name))
    return 0


def _show(args: argparse.Namespace, key: str | None, folder: Path) -> None:
    # Read when Gradio is imported: where uploads go, and that nothing is asked or told elsewhere
    os.environ.update(GRADIO_TEMP_DIR=str(folder), GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    try:
        import gradio  # noqa: F401
        import uvicorn

        from ms_omni.demo.client import Client
        from ms_omni.demo.page import make_app, make_page
    except ImportError as error:
        raise OmniError(f"demo needs more packages ({error}): pip install 'ms-omni[demo]'") from error
    from ms_omni.server.listening import listening_socket, shown_address

    listener = listening_socket(args.host, args.port)
    max_bytes = args.max_body_mib * MIB
    app = make_app(make_page(Client(args.server, key), args.page, folder, max_bytes), folder, max_bytes)
    print_note(f"the page is at {shown_address(args.host, listener)}, its server at {args.server}")
    config = uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1)
    with suppress(KeyboardInterrupt):  # the page's ordinary end
        uvicorn.Server(config).run(sockets=[listener])
