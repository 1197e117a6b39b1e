"""One call of an operator, from the C++ side to the table and back: a status, and a message if it is refused."""

from __future__ import annotations

import os
import traceback
from typing import Any

from ascend_emulator import arguments, operators, trace  # noqa: F401  operators fills the table
from ascend_emulator.cards import series
from ascend_emulator.refusal import INNER_ERROR, NOT_EMULATED, Refused
from ascend_emulator.table import Operator, find

# the phases of src/python.h
CHECK, RUN, NOTE, REPLAY = range(4)
NOT_IN_TABLE = -1


def num_words(name: str) -> int:
    """Integer-class arguments of an aclnn operator; NOT_IN_TABLE if it is not emulated."""
    operator = find("aclnn", name)
    return operator.signature.num_words if operator and operator.signature else NOT_IN_TABLE


def call(phase: int, kind: str, name: str, words: Any, num: int, reals: Any) -> tuple[int, str]:
    """phase: CHECK when an aclnn operator's workspace is asked for, or when a launch is kept for later; RUN when it is
    launched, REPLAY when it runs again in a captured graph; NOTE writes a line of the trace. aclop and internal
    operators are checked when they run. Returns (0, "") or CANN's status and a message."""
    operator = find(kind, name)
    if operator is None:
        return NOT_EMULATED, f"{kind} {name} is not emulated: add it to tests/ascend_emulator (docs/emulator.md)"
    try:
        given = (
            arguments.of_aclnn(operator.signature, words, num, reals, may_lack_memory=phase == CHECK)
            if operator.signature
            else arguments.of_kernel(words, num)
        )
        if phase == NOTE:
            trace.note_launch(kind, name, given)
        if phase == CHECK or (phase == RUN and kind != "aclnn"):
            check(operator, given)
        if phase in (RUN, REPLAY):
            operator.compute(given)
    except Refused as refusal:
        return refusal.status, f"{name}: {refusal} [{operator.doc}]"
    except Exception:
        if os.environ.get("EMULATED_DEBUG"):
            traceback.print_exc()
        return INNER_ERROR, f"{kind} {name}: fault in the emulator\n{traceback.format_exc()}"
    return 0, ""


def check(operator: Operator, given: Any) -> None:
    """Raises Refused for a card that the operator is not documented for, or a broken limit."""
    if series() not in operator.socs:
        raise Refused(f"not documented for {series()} cards, only for {', '.join(operator.socs)}")
    operator.check(given)
