"""What is read from answers: reasoning, calls of functions against their schemas, boxes in pixels."""

import json

import numpy as np
import pytest
from PIL import Image

from ms_omni import OmniError
from ms_omni.tasks.answer import read_answer
from ms_omni.tasks.boxes import read_boxes
from ms_omni.tasks.drawing import draw_places
from ms_omni.tasks.functions import check_schemas, load_functions


def function(name, **schema):
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def call(name, **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


CAR = function(
    "set_heating",
    type="object",
    properties={"degrees": {"type": "number"}, "is_on": {"type": "boolean"}},
    required=["degrees", "is_on"],
)
SEARCH = function("find", type="object", properties={"queries": {"type": "array", "items": {"type": "string"}}})


def test_an_answer_of_words_alone_stays_as_it_is():
    text = "\n Zwei  Wörter <tool_call> und mehr \n"
    assert read_answer(text) == {"text": text}


def test_reasoning():
    assert read_answer("<think>\nIt is 4.\n</think>\n\nFour.") == {"text": "Four.", "reasoning": "It is 4."}
    assert read_answer("It is 4.\n</think>\n\nFour.", reasons=True) == {"text": "Four.", "reasoning": "It is 4."}
    assert read_answer("It is not over", reasons=True) == {"text": "", "reasoning": "It is not over"}


def test_calls_that_fit():
    # two of them, as in cookbooks/audio_function_call.ipynb, cell 3
    text = call("set_heating", degrees=22, is_on=True) + "\n" + call("find", queries=["博物馆"])
    assert read_answer(text, tools=[CAR, SEARCH]) == {
        "text": "",
        "tool_calls": [
            {"name": "set_heating", "arguments": {"degrees": 22, "is_on": True}},
            {"name": "find", "arguments": {"queries": ["博物馆"]}},
        ],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            call("set_heating", degrees=22),
            {"name": "set_heating", "arguments": {"degrees": 22}, "error": "'is_on' is a required property"},
        ),
        (
            call("find", queries=[1]),
            {"name": "find", "arguments": {"queries": [1]}, "error": '["queries"][0]: 1 is not of type'},
        ),
        (
            call("fnid"),
            {"name": "fnid", "arguments": {}, "error": "unknown function 'fnid', did you mean find?"},
        ),
        ("<tool_call>\nnot json\n</tool_call>", {"raw": "not json", "error": "no JSON object with name and arguments"}),
        ('<tool_call>{"name": "fin', {"raw": '{"name": "fin', "error": "no JSON object"}),
    ],
)
def test_calls_that_do_not_fit_are_kept_and_flagged(text, expected):
    (found,) = read_answer(text, tools=[CAR, SEARCH])["tool_calls"]
    error = found.pop("error")
    assert expected.pop("error") in error and "\n" not in error and found == expected


def test_words_beside_calls_and_what_is_no_call_stay_in_the_text():
    found = read_answer(f"I look. {call('find')}<tool_call>x</tool_call>", tools=[SEARCH])
    assert found["text"] == "I look.<tool_call>x</tool_call>" and len(found["tool_calls"]) == 2


def test_a_schema_that_leads_elsewhere_is_not_fetched(monkeypatch):
    fetched = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **options: fetched.append(args))
    tools = [function("f", **{"$ref": "http://127.0.0.1:9/schema"})]
    (found,) = read_answer(call("f", x=1), tools=check_schemas(tools))["tool_calls"]
    assert "arguments could not be checked: Unresolvable" in found["error"] and not fetched


def test_nan_is_no_number_of_json():
    (found,) = read_answer('<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>', tools=[function("f")])[
        "tool_calls"
    ]
    assert found["arguments"] == {"x": "NaN"}


@pytest.mark.parametrize(
    ("tools", "parts"),
    [
        ({}, ["expected a list of tools"]),
        ([], ["an empty list"]),
        ([{"name": "f"}], ["tool 0", '"type": "function"']),
        ([function("f", type="objekt")], ["tool 0: 'parameters' of 'f' is no JSON schema", "'objekt'"]),
        ([function("f", properties={"a": {"pattern": "("}})], ["is no JSON schema", '["properties"]["a"]["pattern"]']),
        ([function("f", required="a")], ["is no JSON schema", '["required"]']),
        ([function("f", type="array")], ["must be the schema of an object"]),
        ([function("f"), function("f")], ["tool 1: 'f' is the name of another tool"]),
    ],
)
def test_functions_that_are_none(tools, parts, tmp_path):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(tools))
    with pytest.raises(OmniError) as caught:
        load_functions(str(path))
    line = str(caught.value)
    assert line.startswith(f"--tools {path}: ") and "\n" not in line and all(part in line for part in parts), line


def test_a_file_of_functions_that_cannot_be_read(tmp_path):
    with pytest.raises(OmniError, match="--tools .*gone.json: cannot be read"):
        load_functions(str(tmp_path / "gone.json"))
    (tmp_path / "a.json").write_text("[{")
    with pytest.raises(OmniError, match="not valid JSON"):
        load_functions(str(tmp_path / "a.json"))


def test_boxes_of_the_notebook_in_pixels():
    # cookbooks/object_grounding.ipynb, cells 4 and 5: the form of the answers
    text = '```json\n[\n\t{"bbox_2d": [228, 825, 388, 967], "label": "bird"},\n\t{"point_2d": [500, 1000]}\n]\n```'
    assert read_boxes(text, (640, 480)) == (
        [
            # 0.228 * 640, 0.825 * 480, 0.388 * 640, 0.967 * 480
            {"label": "bird", "box": [145.9, 396.0, 248.3, 464.2]},
            {"label": None, "point": [320.0, 480.0]},
        ],
        None,
    )


@pytest.mark.parametrize(
    "text",
    [
        '[{"bbox_2d": [0, 0, 1000, 1000], "label": "all"}]',
        'Here it is: {"bbox_2d": [0, 0, 1000, 1000], "label": "all"} as you see.',
        '```\n[{"bbox_2d": [0.0, 0, 1e3, 1000], "label": "all"}]\n```',
    ],
)
def test_places_with_and_without_fence(text):
    assert read_boxes(text, (30, 20)) == ([{"label": "all", "box": [0, 0, 30, 20]}], None)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("There is no bird.", "no JSON list of places"),
        ("", "no JSON list of places"),
        ('```json\n[{"bbox_2d": [1, 2, 3, 4]}, {"bb', "no JSON list of places"),
        ('[{"bbox_2d": [1, 2, 3]}]', "place 0: bbox_2d is [1, 2, 3]; expected 4 numbers from 0 to 1000"),
        ('[{"bbox_2d": [1, 2, 3, 1001]}]', "expected 4 numbers from 0 to 1000"),
        ('[{"bbox_2d": [1, 2, 3, NaN]}]', "expected 4 numbers"),
        ('[{"bbox_2d": [1, 2, 3, true]}]', "expected 4 numbers"),
        (f'[{{"bbox_2d": [1, 2, 3, {"9" * 400}]}}]', "expected 4 numbers"),
        ('[{"bbox_2d": [3, 2, 1, 4]}]', "expected left, top, right, bottom"),
        ('[{"label": "bird"}]', "expected an object with one of bbox_2d, point_2d"),
        ("[[1, 2, 3, 4]]", "place 0: expected an object"),
        ('[{"point_2d": [1, 2], "label": 3}]', "label is 3"),
        ("[" * 100000, "no JSON list of places"),
    ],
)
def test_what_is_no_box_is_flagged_and_the_text_kept(text, error):
    found = read_answer(text, size=(640, 480))
    assert found["text"] == text and found["boxes"] == [] and error in found["boxes_error"]
    assert "\n" not in found["boxes_error"]


def test_boxes_beside_one_that_is_none_are_kept():
    found = read_answer('[{"point_2d": [1, 2]}, 3, 4]', size=(1000, 1000))
    assert found["boxes"] == [{"label": None, "point": [1, 2]}] and "(and 1 more)" in found["boxes_error"]


def test_nothing_found_is_no_fault():
    assert read_answer("[]", size=(4, 3)) == {"text": "[]", "boxes": [], "image_size": [4, 3]}


def test_boxes_behind_reasoning():
    found = read_answer('<think>I look [here].</think>[{"point_2d": [0, 0]}]', size=(4, 3))
    assert found["boxes"] == [{"label": None, "point": [0, 0]}] and found["reasoning"] == "I look [here]."


def test_drawn_boxes_stand_where_the_places_are():
    picture = Image.new("RGB", (200, 100), "white")
    places = [{"label": None, "box": [50, 20, 150, 80]}, {"label": "x", "point": [180, 50]}]
    drawn = np.asarray(draw_places(picture, places))
    changed = np.argwhere((drawn != 255).any(axis=2))
    assert (drawn[20, 50:151] != 255).any(axis=1).all() and (drawn[20:81, 150] != 255).any(axis=1).all()
    assert (drawn[40:60, 70:130] == 255).all(), "a box is a frame"
    assert (drawn[46:55, 176:185] != 255).any() and changed.min() >= 0
    assert np.asarray(picture).min() == 255, "the picture itself stays"


def test_letters_of_other_scripts_differ():
    def label(text):
        place = {"label": text, "box": [0, 60, 300, 100]}
        return draw_places(Image.new("RGB", (300, 100), "white"), [place]).tobytes()

    assert len({label(text) for text in ("a", "ä", "ж", "ω")}) == 4


def test_labels_at_the_edges_and_of_other_scripts_are_drawn_inside():
    picture = Image.new("RGB", (60, 40), "white")
    places = [{"label": "a long label, 鸟", "box": [0, 0, 60, 40]}, {"label": "b", "point": [60, 40]}]
    assert draw_places(picture, places).size == (60, 40)
    assert draw_places(Image.new("RGB", (1, 1)), places).size == (1, 1)
