"""OpenAI's own client against a server on the built-in model: every kind of question, whole and streamed, answered as
the engine answers it."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import openai
import pytest
import soundfile

from ms_omni import SamplingParams
from ms_omni.server.chat import pcm16

MEDIA = Path(__file__).parents[1] / "tiny/media"
KINDS = {".png": ("image", "image_url", "image/png"), ".wav": ("audio", "audio_url", "audio/wav"),
         ".mp4": ("video", "video_url", "video/mp4")}  # fmt: skip
GREEDY = {"temperature": 0, "extra_body": {"talker": {"temperature": 0, "max_new_tokens": 20}}}
SAMPLING = SamplingParams(thinker_temperature=0, talker_temperature=0, talker_max_new_tokens=20)
QUESTIONS = {
    "text": (["What is your name?"], {}),
    "picture": (["image_12_1.png", "What do you see?"], {}),
    "sound": (["word_41_1.wav", "What does the voice say?"], {}),
    "video": (["video_24_1.mp4", "What happens?"], {}),
    "audio in video": (["audio_in_video_14_1.mp4", "What happens?"], {"use_audio_in_video": True}),
    "several": (["everything_78_1.png", "everything_78_2.wav", "everything_78_3.mp4", "What is there?"], {}),
}


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)


def parts(items):
    """(those of the API, those of the engine)"""
    theirs, ours = [], []
    for item in items:
        path = MEDIA / item
        if path.suffix not in KINDS:
            theirs.append({"type": "text", "text": item})
            ours.append({"type": "text", "text": item})
            continue
        kind, name, media_type = KINDS[path.suffix]
        data = base64.b64encode(path.read_bytes()).decode()
        theirs.append({"type": name, name: {"url": f"data:{media_type};base64,{data}"}})
        ours.append({"type": kind, kind: str(path)})
    return theirs, ours


def create(client, messages, **options):
    return client.chat.completions.create(model="ms-omni", messages=messages, **{**GREEDY, **options})


@pytest.mark.parametrize("kind", QUESTIONS)
def test_an_answer_is_the_engines(client, trained, kind):
    items, processing = QUESTIONS[kind]
    theirs, ours = parts(items)
    alone = trained.generate(
        [{"role": "user", "content": ours}], sampling=SAMPLING, return_audio=True, speaker="Chelsie", **processing
    )
    speech = {"modalities": ["text", "audio"], "audio": {"voice": "Chelsie", "format": "wav"}}
    more = {**GREEDY["extra_body"], "mm_processor_kwargs": processing}
    messages = [{"role": "user", "content": theirs}]
    answer = create(client, messages, **speech, extra_body=more)
    (choice,) = answer.choices
    assert choice.message.content == choice.message.audio.transcript == alone.text
    assert choice.finish_reason == alone.finish_reason
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(choice.message.audio.data)))
    assert rate == 24_000
    np.testing.assert_allclose(samples, alone.audio.samples, atol=2e-4)
    usage, details = answer.usage, answer.usage.prompt_tokens_details
    assert usage.prompt_tokens == alone.usage.prompt_tokens
    assert usage.completion_tokens == alone.usage.completion_tokens + alone.audio.num_frames
    assert (details.image_tokens, details.audio_tokens, details.video_tokens) == (
        alone.usage.image_tokens, alone.usage.audio_tokens, alone.usage.video_tokens,
    )  # fmt: skip
    # And streamed, text and speech
    text, joined, end = "", "", None
    speech["audio"] = {"voice": "Chelsie", "format": "pcm16"}
    for chunk in create(
        client, messages, **speech, extra_body=more, stream=True, stream_options={"include_usage": True}
    ):
        if not chunk.choices:
            assert chunk.usage == usage
            continue
        delta = chunk.choices[0].delta
        text += delta.content or ""
        end = chunk.choices[0].finish_reason or end
        if (audio := getattr(delta, "audio", None)) is not None:
            joined += audio.data or ""
    data = base64.b64decode(joined)  # as DashScope's client does: all pieces at once
    assert text == alone.text and end == alone.finish_reason
    expected = np.frombuffer(pcm16(alone.audio.samples), "<i2")
    np.testing.assert_allclose(np.frombuffer(data, "<i2"), expected, atol=4)


def test_several_turns(client, trained):
    picture, ours = parts(["follow_up_31_1.png", "What do you see?"])
    first = create(client, [{"role": "user", "content": picture}]).choices[0].message
    messages = [{"role": "user", "content": picture}, first.model_dump(), {"role": "user", "content": "Which is red?"}]
    conversation = [
        {"role": "user", "content": ours},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "Which is red?"},
    ]
    alone = trained.generate(conversation, sampling=SAMPLING, return_audio=False)
    assert create(client, messages).choices[0].message.content == alone.text


def test_a_turn_that_was_spoken_is_named_by_its_id(client):
    messages = [{"role": "user", "content": "What is your name?"}]
    spoken = create(client, messages, modalities=["text", "audio"], audio={"voice": "Ethan", "format": "wav"})
    said = spoken.choices[0].message
    again = [*messages, {"role": "assistant", "audio": {"id": said.audio.id}}, *messages]
    written = [*messages, {"role": "assistant", "content": said.content}, *messages]
    by_id, by_text = create(client, again), create(client, written)
    assert by_id.usage.prompt_tokens == by_text.usage.prompt_tokens
    assert by_id.choices[0].message.content == by_text.choices[0].message.content


def test_tools_are_offered_and_their_results_are_read(client, trained):
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    messages = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}]},
        {"role": "tool", "tool_call_id": "a", "content": "a red circle"},
    ]  # fmt: skip
    prompt = trained.processor.render(
        [messages[0], {**messages[1], "content": "", "tool_calls": [
            {"function": {"name": "look", "arguments": {"at": 1}}}]}, messages[2]], tools
    )  # fmt: skip
    assert '"name": "look"' in prompt and "<tool_response>\na red circle\n</tool_response>" in prompt
    answer = create(client, messages, tools=tools)
    assert answer.usage.prompt_tokens == len(trained.processor.tokenizer(prompt)["input_ids"])
    none = create(client, messages, tools=tools, tool_choice="none")
    assert none.usage.prompt_tokens < answer.usage.prompt_tokens


def test_texts_that_end_an_answer(client):
    messages = [{"role": "user", "content": "What is your name?"}]
    whole = create(client, messages).choices[0].message.content
    stopped = create(client, messages, stop=["model", "never"])
    assert stopped.choices[0].message.content == whole[: whole.index("model")]
    assert stopped.choices[0].finish_reason == "stop"
    short = create(client, messages, max_completion_tokens=3)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 3
    streamed = create(client, messages, stop="model", stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert text == stopped.choices[0].message.content


def test_a_seed_repeats_an_answer(client):
    def ask(seed):
        messages = [{"role": "user", "content": "Tell me something"}]
        answer = create(client, messages, temperature=3.0, top_p=1.0, seed=seed, max_completion_tokens=20)
        return answer.choices[0].message.content

    assert ask(1) == ask(1) != ask(2)


def test_mistakes_are_the_clients_own_errors(client):
    messages = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.NotFoundError, match="gpt-9"):
        client.chat.completions.create(model="gpt-9", messages=messages)
    with pytest.raises(openai.BadRequestError, match="audio.voice Nobody: expected one of"):
        create(client, messages, modalities=["text", "audio"], audio={"voice": "Nobody", "format": "wav"})
    broken = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="not an image"):
            create(client, broken, stream=stream)
    with pytest.raises(openai.BadRequestError, match="max_completion_tokens 900000: with a prompt of"):
        create(client, messages, max_completion_tokens=900_000)


def test_the_bodies_of_the_models_readme(http):
    """Without a model, and with media by URL: the seed's curl line, its media replaced by files sent along."""
    theirs, _ = parts(["image_12_1.png", "word_41_1.wav", "What can you see and hear? Answer in one sentence."])
    system = {"role": "system", "content": "You are a helpful assistant."}
    body = {"messages": [system, {"role": "user", "content": theirs}]}
    answer = http.post("/v1/chat/completions", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"]
