"""Reasoning, words and calls of tools, told apart however the text is cut."""

import json

import pytest

from ms_omni.answer_parts import AnswerParts

CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "a \\u00e4 <b>"}}\n</tool_call>'
LOOK = ("call", "look", {"at": "a ä <b>"})

CASES = [
    # text, reasons, has_tools, parts
    ("Hello there.", False, False, [("content", "Hello there.")]),
    ("Hello there.", False, True, [("content", "Hello there.")]),
    (CALL, False, True, [LOOK]),
    (CALL, False, False, [("content", CALL)]),
    (f"Let me look.\n\n{CALL}", False, True, [("content", "Let me look."), LOOK]),
    (f"{CALL}\n{CALL}\n", False, True, [LOOK, LOOK]),
    (f"{CALL}\nand then", False, True, [LOOK, ("content", "and then")]),
    ("<tool_call>\nnot json\n</tool_call>", False, True, [("content", "<tool_call>\nnot json\n</tool_call>")]),
    ('<tool_call>\n{"name": "look"}', False, True, [("call", "look", {})]),
    ('<tool_call>\n{"name": "lo', False, True, [("content", '<tool_call>\n{"name": "lo')]),
    ('<tool_call>{"name": 3}</tool_call>', False, True, [("content", '<tool_call>{"name": 3}</tool_call>')]),
    ("1 < 2 <tool", False, True, [("content", "1 < 2 <tool")]),
    ("<think>\nIt is 4.\n</think>\n\nFour.", False, False, [("reasoning", "It is 4."), ("content", "Four.")]),
    ("It is 4.\n</think>\n\nFour.", True, False, [("reasoning", "It is 4."), ("content", "Four.")]),
    (f"So I look.</think>{CALL}", True, True, [("reasoning", "So I look."), LOOK]),
    ("I think and thi", True, False, [("reasoning", "I think and thi")]),
    ("<thinking> is a word", False, False, [("content", "<thinking> is a word")]),
    ("<think", False, False, [("content", "<think")]),
    ("", False, True, []),
    ("Zwei  Wörter \n und mehr", False, True, [("content", "Zwei  Wörter \n und mehr")]),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "reasons", "has_tools", "expected"), CASES)
def test_parts(text, reasons, has_tools, expected, size):
    parts, found = AnswerParts(reasons, has_tools), []
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    for part in [part for piece in pieces for part in parts.put(piece)] + parts.put("", is_last=True):
        if part.kind == "call":
            found.append(("call", part.name, json.loads(part.text)))
        elif found and found[-1][0] == part.kind:
            found[-1] = (part.kind, found[-1][1] + part.text)
        else:
            found.append((part.kind, part.text))
    assert [(kind, text.strip() if kind != "call" else text, *rest) for kind, text, *rest in found] == expected


def test_words_do_not_wait_for_what_follows():
    parts = AnswerParts(False, True)
    assert [part.text for part in parts.put("Hello <")] == ["Hello"]
    assert [part.text for part in parts.put("3")] == [" <3"]
