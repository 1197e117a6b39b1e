"""What a body asks of the engine, and bodies that ask for what cannot be had."""

import json

import pytest

from ms_omni.config import SamplingParams
from ms_omni.errors import OmniError
from ms_omni.server.engine_input import engine_input
from ms_omni.server.errors import ApiError, api_error
from ms_omni.server.schema import ChatRequest, parsed

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def asked(**body):
    return engine_input(parsed(ChatRequest, {"messages": HELLO, **body}))


def test_a_plain_question():
    plain = asked()
    assert plain.conversation == HELLO and not plain.stream and plain.audio_format == "wav"
    assert plain.options["sampling"] == SamplingParams() and plain.options["return_audio"] is False
    assert plain.options["stop"] == [] and plain.options["tools"] is None


def test_every_setting_reaches_the_engine():
    body = {
        "temperature": 0, "top_p": 0.5, "top_k": -1, "repetition_penalty": 1.2, "seed": 3, "max_tokens": 9,
        "max_completion_tokens": 7, "stop": ["a", "b"], "ignore_eos": True, "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [TOOL], "chat_template_kwargs": {"mood": "calm"}, "modalities": ["text", "audio"],
        "audio": {"voice": "Chelsie", "format": "pcm16"},
        "mm_processor_kwargs": {"use_audio_in_video": True, "fps": 2, "max_pixels": 5000},
        "talker": {"temperature": 0.5, "max_new_tokens": 20, "top_k": 2, "top_p": 0.9, "repetition_penalty": 1.1},
    }  # fmt: skip
    full = asked(**body)
    assert full.options["sampling"] == SamplingParams(
        thinker_max_new_tokens=7, thinker_temperature=0, thinker_top_p=0.5, thinker_top_k=0,
        thinker_repetition_penalty=1.2, seed=3, ignore_eos=True,
        talker_temperature=0.5, talker_max_new_tokens=20, talker_top_k=2, talker_top_p=0.9,
        talker_repetition_penalty=1.1,
    )  # fmt: skip
    rest = {key: value for key, value in full.options.items() if key != "sampling"}
    assert rest == {
        "return_audio": True, "speaker": "Chelsie", "use_audio_in_video": True, "fps": 2, "stop": ["a", "b"],
        "tools": [TOOL], "chat_template_kwargs": {"mood": "calm"},
    }  # fmt: skip
    assert full.stream and full.include_usage and full.has_tools and full.audio_format == "pcm16"


@pytest.mark.parametrize(
    ("body", "speaks"),
    [({}, False), ({"modalities": ["text"]}, False), ({"modalities": ["audio"]}, True), ({"speaker": "Ethan"}, True),
     ({"audio": {"voice": "Ethan"}}, True), ({"audio": {"voice": "Ethan"}, "modalities": ["text"]}, False)],
)  # fmt: skip
def test_who_is_answered_in_speech(body, speaks):
    assert asked(**body).options["return_audio"] is speaks


def test_parts_as_the_apis_write_them():
    """OpenAI's, DashScope's, vLLM's; and sizes for parts that have none."""
    parts = [
        {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "data:;base64,UklGRg==", "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": "https://a/b.wav"}},
        {"type": "video_url", "video_url": {"url": "file:///a.mp4"}, "max_pixels": 99},
        {"type": "audio_url", "audio_url": {"url": "https://a/c.wav"}},
        {"type": "text", "text": "x"},
    ]
    found = asked(messages=[{"role": "user", "content": parts}], mm_processor_kwargs={"max_pixels": 5000})
    assert found.conversation[0]["content"] == [
        {"type": "image", "image": "https://a/b.png", "max_pixels": 5000},
        {"type": "audio", "audio": "data:audio/wav;base64,UklGRg=="},
        {"type": "audio", "audio": "data:;base64,UklGRg=="},
        {"type": "audio", "audio": "https://a/b.wav"},
        {"type": "video", "video": "file:///a.mp4", "max_pixels": 99},
        {"type": "audio", "audio": "https://a/c.wav"},
        {"type": "text", "text": "x"},
    ]


def test_messages_that_clients_send_back():
    messages = [
        {"role": "developer", "content": "Be brief", "name": "x"},
        *HELLO,
        {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "function_call": None,
         "tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "a cat"},
        {"role": "assistant", "content": "A cat.", "reasoning_content": "Hm", "tool_calls": None},
    ]  # fmt: skip
    found = asked(messages=messages).conversation
    assert [message["role"] for message in found] == ["system", "user", "assistant", "tool", "assistant"]
    assert found[2]["content"] == "" and found[4] == {
        "role": "assistant", "content": "A cat.", "reasoning_content": "Hm",
    }  # fmt: skip


def test_speech_is_recalled_by_its_id():
    said = {"audio_1": "A cat."}
    messages = [*HELLO, {"role": "assistant", "audio": {"id": "audio_1"}}, *HELLO]
    body = parsed(ChatRequest, {"messages": messages})
    assert engine_input(body, said.get).conversation[1] == {"role": "assistant", "content": "A cat."}
    with pytest.raises(ApiError, match="messages: message 1: no speech with this id"):
        engine_input(body)


def test_tools_that_are_not_to_be_used_are_not_offered():
    assert asked(tools=[TOOL], tool_choice="none").options["tools"] is None
    assert not asked(tools=[TOOL], tool_choice="none").has_tools and not asked(tools=[]).has_tools


NEUTRAL = {
    "n": 1, "logprobs": False, "top_logprobs": 0, "presence_penalty": 0, "frequency_penalty": 0.0, "min_p": 0,
    "logit_bias": {}, "response_format": {"type": "text"}, "store": False, "user": "me",
    "metadata": {"a": "b"}, "service_tier": "auto", "safety_identifier": "x", "prompt_cache_key": "y",
    "parallel_tool_calls": True, "tool_choice": "auto", "model": "any", "stop": None, "stream": False,
    "modalities": None,
}  # fmt: skip


def test_fields_that_ask_for_what_happens_anyway():
    assert asked(**NEUTRAL) == asked()


BAD = [
    ({"temprature": 1}, "temprature", "unknown field 'temprature', did you mean temperature"),
    ({"functions": []}, "functions", "unknown field"),
    ({"messages": []}, "messages", "messages: List should have at least 1"),
    ({"messages": "Hello"}, "messages", "messages: Input should be a valid list"),
    ({"messages": ["Hello"]}, "messages.0", "messages.0: Input should be a valid dict"),
    ({"messages": [{"content": "x"}]}, "messages", "messages: message 0: 'role' is missing"),
    ({"messages": [{"role": 3, "content": "x"}]}, "messages", "messages: message 0: unknown role 3"),
    ({"messages": [{"role": "user"}]}, "messages", "messages: message 0: 'content' is missing"),
    ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages", "unknown content type 'file'"),
    ({"messages": [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": 1}}]}]}, "messages", "url"),
    ({"n": 2}, "n", "n: Input should be 1"),
    ({"temperature": "1"}, "temperature", "temperature: "),
    ({"temperature": -1}, "temperature", "temperature -1"),
    ({"temperature": float("nan")}, "temperature", "temperature nan"),
    ({"top_p": 2}, "top_p", "top_p 2"),
    ({"top_k": -2}, "top_k", "top_k -2"),
    ({"seed": -1}, "seed", "seed -1"),
    ({"seed": 2**31}, "seed", "seed 2147483648"),
    ({"seed": 1.5}, "seed", "seed: "),
    ({"max_tokens": 0}, "max_completion_tokens", "max_completion_tokens 0"),
    ({"max_completion_tokens": 10**30}, "max_completion_tokens", "max_completion_tokens 1000000"),
    ({"talker": {"temperature": -1}}, "talker.temperature", "talker.temperature -1"),
    ({"talker": {"heat": 1}}, "talker.heat", "unknown field 'talker.heat'"),
    ({"stop": {"a": 1}}, "stop", "stop: Input should be a valid list"),
    ({"stop": ["a"] * 17}, "stop", "stop: List should have at most 16"),
    ({"stop": [3]}, "stop.0", "stop.0: "),
    ({"logprobs": True}, "logprobs", "logprobs: "),
    ({"logit_bias": {"5": 1}}, "logit_bias", "logit_bias: "),
    ({"response_format": {"type": "json_object"}}, "response_format.type", "response_format.type: "),
    ({"presence_penalty": 0.5}, "presence_penalty", "presence_penalty: "),
    ({"tool_choice": "required"}, "tool_choice", "tool_choice: "),
    ({"tools": ["look"]}, "tools.0", "tools.0: "),
    ({"tools": [{"type": "web_search"}]}, "tools", "tools: tool 0: expected"),
    ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs", "cannot be set"),
    ({"modalities": ["video"]}, "modalities.0", "modalities.0: "),
    ({"modalities": []}, "modalities", "modalities: "),
    ({"audio": {"format": "aac"}}, "audio.format", "audio.format: "),
    ({"audio": {"voice": "Ethan"}, "speaker": "Ethan"}, "speaker", "say the same"),
    ({"stream": True, "audio": {"format": "mp3"}}, "audio.format", "a stream gives bare samples"),
    ({"mm_processor_kwargs": {"fps": 0}}, "mm_processor_kwargs.fps", "mm_processor_kwargs.fps: "),
    ({"mm_processor_kwargs": {"max_pixels": 1.5}}, "mm_processor_kwargs.max_pixels", "mm_processor_kwargs.max_pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "param", "words"), BAD, ids=lambda value: json.dumps(value)[:40])
def test_bodies_that_are_refused_name_the_field(body, param, words):
    with pytest.raises((ApiError, OmniError)) as found:
        asked(**body)
    error = api_error(found.value)
    assert error.status == 400 and error.param == param and words in error.message, error.body
    assert "\n" not in error.message and len(error.message) < 400


@pytest.mark.parametrize("body", [[], "x", None, 3])
def test_a_body_is_an_object(body):
    with pytest.raises(ApiError, match="expected a JSON object"):
        parsed(ChatRequest, body)
