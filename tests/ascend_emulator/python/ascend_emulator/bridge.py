"""Registers the operators with the emulator's libraries, which import this module at their first use (src/python.cc).

The libraries are preloaded (launch/emulated.sh), so their functions are found in the process itself.
"""

from __future__ import annotations

import ctypes

from ascend_emulator import dispatch
from ascend_emulator.arguments import Argument

NUM_WORDS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)
CALL = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.POINTER(Argument),
    ctypes.c_int,
    ctypes.POINTER(ctypes.c_double),
    ctypes.c_void_p,
    ctypes.c_int,
)


@NUM_WORDS
def _num_words(name: bytes) -> int:
    return dispatch.num_words(name.decode())


@CALL
def _call(phase, kind, name, words, num, reals, message, size) -> int:
    """message: a buffer of `size` bytes for the reason of a refusal."""
    status, text = dispatch.call(phase, kind.decode(), name.decode(), words, num, reals)
    if text:
        ctypes.memmove(message, text.encode()[: size - 1] + b"\0", min(len(text.encode()), size - 1) + 1)
    return status


def register() -> None:
    library = ctypes.CDLL(None)
    library.emulated_register.argtypes = [NUM_WORDS, CALL]
    library.emulated_register(_num_words, _call)


register()
