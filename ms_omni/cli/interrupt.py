"""Lets Ctrl-C end a command in order although MindSpore has taken the signal over."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ms_omni.parallel.world import is_under_msrun


@contextmanager
def interrupts_raise() -> Iterator[None]:
    """MindSpore 2.7.1 answers SIGINT, from the first operator on, by sending its own process SIGTERM, and sets that
    handler again with every graph it compiles. So SIGTERM raises KeyboardInterrupt while this is active, except in the
    ranks of a job, whose end by SIGTERM tells `launch` what happened."""
    if is_under_msrun() or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
