"""Tools and calls of them, in conversations and in the prompt."""

import pytest

from ms_omni.errors import OmniError
from ms_omni.inputs.conversation import validate_conversation
from ms_omni.inputs.tools import check_template_options, check_tools

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ASK = {"role": "user", "content": "Look"}


def called(arguments, **more):
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [call], **more}


@pytest.mark.parametrize("arguments", ['{"at": [1, "x"]}', {"at": [1, "x"]}])
@pytest.mark.parametrize("more", [{}, {"content": None}, {"content": "Well"}])
def test_a_call_and_its_result(arguments, more):
    result = {"role": "tool", "tool_call_id": "a", "content": "a cat"}
    _, call, last = validate_conversation([ASK, called(arguments, **more), result])
    assert call["tool_calls"][0]["function"] == {"name": "look", "arguments": {"at": [1, "x"]}}
    assert call["content"] == (more.get("content") or "") and last is result


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({**called("{}"), "role": "user"}, "'tool_calls' belong to an assistant's message"),
        ({"role": "assistant", "tool_calls": []}, "'tool_calls' must be a list of calls"),
        ({"role": "assistant", "tool_calls": ["look"]}, 'tool call 0: expected {"type": "function"'),
        (called("{not json"), "tool call 0: 'arguments' are not valid JSON"),
        (called("[" * 100_000), "tool call 0: 'arguments' are not valid JSON"),
        (called("[1]"), "tool call 0: 'arguments' must be an object"),
        (called(3), "tool call 0: 'arguments' must be an object"),
        ({"role": "tool", "content": "x", "tool_call_id": 4}, "'tool_call_id' must be a string, got int"),
        ({"role": "tool", "tool_call_id": "a"}, "'content' is missing"),
    ],
)
def test_calls_that_are_none(message, words):
    with pytest.raises(OmniError, match="^conversation: message 1.*" + words.replace("[", "\\[").replace("{", "\\{")):
        validate_conversation([ASK, message])


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ("look", "tools: expected a list of tools, got str"),
        (["look"], "tools: tool 0: expected"),
        ([TOOL, {"type": "custom", "function": {"name": "x"}}], "tools: tool 1: expected"),
        ([{"type": "function", "function": {}}], "tools: tool 0: its function has no 'name'"),
        ([{"type": "function", "function": {"name": "x", "parameters": []}}], "'parameters' must be a JSON schema"),
    ],
)
def test_tools_that_are_none(tools, words):
    with pytest.raises(OmniError, match=words):
        check_tools(tools)
    assert check_tools([TOOL]) == [TOOL]


@pytest.mark.parametrize("name", ["chat_template", "add_generation_prompt", "messages", "tools"])
def test_variables_of_the_template_that_are_not_the_users(name):
    with pytest.raises(OmniError, match=f"^chat_template_kwargs: '{name}' cannot be set"):
        check_template_options({name: "{{ 1 }}"})
    with pytest.raises(OmniError, match="expected an object"):
        check_template_options(["enable_thinking"])


def test_tools_and_variables_reach_the_template(monkeypatch, load_processor):
    processor = load_processor()
    seen = "{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor %}{{ mood }}"
    monkeypatch.setattr(processor.processor, "chat_template", seen)
    text = processor.render([ASK], [TOOL], {"mood": "calm"})
    assert '"name": "look"' in text and text.endswith("calm")
    assert processor.render([ASK]) == ""


def test_half_a_surrogate_pair_is_no_text(load_processor):
    with pytest.raises(OmniError, match="half of a surrogate pair"):
        load_processor().render([{"role": "user", "content": "a \ud83d b"}])
