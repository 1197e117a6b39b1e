"""Keeps stdout for results alone, and silences what MindSpore, mindone and transformers say while they load."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

# Read by the libraries when they are imported. A value that the user has set stays.
_QUIET_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "GLOG_v": "3",  # MindSpore: errors only
    # Where its compiler leaves a file when it is interrupted or fails; otherwise in the current directory
    "MS_OM_PATH": str(Path(tempfile.gettempdir()) / "ms_omni_graphs"),
}


@contextmanager
def results_only_on_stdout(debug: bool) -> Iterator[TextIO]:
    """Yield the stream for results. Whatever else writes to stdout meanwhile, in Python or in C, goes to stderr with
    `debug` and nowhere without it (mindone 0.5.0 prints "Config not found for parakeet" to stdout when imported)."""
    results = sys.stdout
    results.flush()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        if debug:
            noise = sys.stderr
        else:
            noise = stack.enter_context(open(os.devnull, "w"))
            warnings.simplefilter("ignore")
            stack.enter_context(_no_log_below_error())
            for name, value in _QUIET_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
        if writes_to(results, 1):
            results = stack.enter_context(redirected(results, noise.fileno()))
        stack.enter_context(redirect_stdout(noise))
        yield results


@contextmanager
def _no_log_below_error() -> Iterator[None]:
    """mindone sets its loggers' levels itself while it is imported, whatever the environment says."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def redirected(stream: TextIO, target: int) -> Iterator[TextIO]:
    """What is written to the descriptor of `stream`, in Python or in C, goes to the descriptor `target`; yields a
    stream to where it went before."""
    number = stream.fileno()
    original = os.dup(number)
    os.dup2(target, number)
    try:
        with open(os.dup(original), "w", buffering=1, encoding=stream.encoding, errors=stream.errors) as before:
            yield before
    finally:
        os.dup2(original, number)
        os.close(original)


def writes_to(stream: TextIO, number: int) -> bool:
    """Whether `stream` writes to this descriptor; not if a test or another program has replaced it."""
    try:
        return stream.fileno() == number
    except (AttributeError, OSError, ValueError):
        return False
