"""`ms-omni demo`: mistakes are said at once, and nothing of it loads MindSpore."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--server", "127.0.0.1:8901"], ["--server 127.0.0.1:8901", "expected a URL", "http://127.0.0.1:8901"]),
        (["--port", "65536"], ["--port 65536", "0 to 65535"]),
        (["--page", "chats"], ["--page: 'chats'", "did you mean chat?", "auto, chat, captioner"]),
        (["--max-body-mib", "0"], ["--max-body-mib: 0", "at least 1"]),
        (["--sever", "x"], ["unknown flag --sever", "did you mean --server?"]),
    ],
)
def test_mistakes(user_error, argv, parts):
    line = user_error("demo", *argv)
    assert all(part in line for part in parts), line


def test_without_gradio_the_extra_is_named(user_error, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "pip install 'ms-omni[demo]'" in user_error("demo", "--port", "0")


def test_neither_mindspore_nor_the_engine_is_imported():
    program = (
        "import sys, ms_omni.cli.demo, ms_omni.demo.client, ms_omni.demo.question, ms_omni.demo.running,"
        " ms_omni.demo.speech, ms_omni.server.listening;"
        "sys.exit(bool({'mindspore', 'mindone', 'transformers', 'ms_omni.engine'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
