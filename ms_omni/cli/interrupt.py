"""Lets Ctrl-C end a command in order although MindSpore has taken the signal over."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NoReturn

from ms_omni.cli.quiet import redirected, writes_to
from ms_omni.parallel.world import is_under_msrun

_has_come = threading.Event()


def raise_interrupt_again() -> None:
    """To be called now and then: raises KeyboardInterrupt if one has come that somebody has swallowed, as MindSpore
    does while it parses a graph."""
    if _has_come.is_set():
        raise KeyboardInterrupt


@contextmanager
def interrupts_raise(debug: bool) -> Iterator[None]:
    """MindSpore 2.7.1 answers SIGINT, from the first operator on, by sending its own process SIGTERM, and sets that
    handler again with every graph it compiles. So SIGTERM raises KeyboardInterrupt while this is active, except in the
    ranks of a job, whose end by SIGTERM tells `launch` what happened. Without `debug`, what MindSpore writes to stderr
    on an interrupt is dropped: a compiler that is interrupted prints a page."""
    if is_under_msrun() or threading.current_thread() is not threading.main_thread():
        yield
        return
    with ExitStack() as stack:

        def interrupt(number: int, frame: object) -> NoReturn:
            is_first = not _has_come.is_set()
            if is_first and not debug and "mindspore" in sys.modules and writes_to(sys.stderr, 2):
                stack.enter_context(_python_alone_on_stderr())
            _has_come.set()
            raise KeyboardInterrupt

        stack.callback(_has_come.clear)
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, interrupt))
        yield


@contextmanager
def _python_alone_on_stderr() -> Iterator[None]:
    """sys.stderr goes where it went; what C++ writes to its descriptor goes nowhere."""
    stderr = sys.stderr
    with open(os.devnull, "w") as nowhere, redirected(stderr, nowhere.fileno()) as python_stderr:
        sys.stderr = python_stderr
        try:
            yield
        finally:
            sys.stderr = stderr
