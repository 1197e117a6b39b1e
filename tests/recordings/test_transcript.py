"""Texts of windows joined, and the forms of a transcript."""

import random

import pytest
from hearing import heard, speech, vocabulary

from ms_omni.inputs.windows import Span
from ms_omni.outputs import OmniOutput, StreamEnd, TextDelta, Usage
from ms_omni.recordings.join import words_of
from ms_omni.recordings.transcript import Transcript


def transcript_of(*texts, reasons=False, finish_reason="stop"):
    """Of windows of 30 s, each text in the pieces that | marks. All that it grew by is its text."""
    spans = [Span(30.0 * index, 30.0 * index + 30) for index in range(len(texts))]
    return transcript_in(spans, texts, reasons, finish_reason)


def transcript_in(spans, texts, reasons=False, finish_reason="stop"):
    transcript, grown = Transcript(reasons), ""
    for span, text in zip(spans, texts, strict=True):
        for piece in text.split("|"):
            grown += transcript.put(span, TextDelta(piece, ()))
        output = OmniOutput(text, (1, 2), finish_reason, Usage(10, 2, audio_tokens=7))
        grown += transcript.put(span, StreamEnd(output))
    grown += transcript.end()
    assert grown == transcript.text
    return transcript


@pytest.mark.parametrize(
    "texts, text",
    [
        (["One two.", "Three."], "One two. Three."),
        ([" One| |two. |", "|\n Three.\n"], "One two. Three."),
        (["", "One", " ", "two", ""], "One two"),
        (["你好。", "再见。"], "你好。再见。"),
        (["こんにちは", "カタカナ"], "こんにちはカタカナ"),
        (["안녕하세요", "안녕"], "안녕하세요 안녕"),
        (["你好", "Qwen", "再见"], "你好 Qwen 再见"),
        ([], ""),
    ],
)
def test_joined(texts, text):
    assert transcript_of(*texts).text == text


def test_reasoning_is_left_out():
    transcript = transcript_of("It is| clear.</thi|nk>\n\nOne.", "Hm.</think>|Two.", reasons=True)
    assert transcript.text == "One. Two."


def test_usage_is_that_of_all_windows():
    assert transcript_of("a", "b").as_json() == {
        "text": "a b",
        "usage": {
            "type": "tokens",
            "input_tokens": 20,
            "input_token_details": {"audio_tokens": 14, "text_tokens": 6},
            "output_tokens": 4,
            "total_tokens": 24,
        },
    }


def test_a_window_that_is_not_whole_is_told():
    transcript = transcript_of("and so and so", finish_reason="length")
    spans = [{"start": 0.0, "end": 30.0}]
    assert transcript.as_json()["incomplete"] == spans
    assert transcript.as_verbose_json("transcribe", None, 0.0)["incomplete"] == spans
    assert "incomplete" not in transcript_of("a").as_json()


def test_verbose():
    document = transcript_of("a a a a a a a a a a", "").as_verbose_json("transcribe", "english", 0.5)
    first, second = document["segments"]
    assert (document["task"], document["language"]) == ("transcribe", "english")
    assert (second["id"], second["seek"], second["start"], second["end"], second["text"]) == (1, 3000, 30, 60, "")
    assert first["compression_ratio"] > 1 and second["compression_ratio"] == 0
    assert (first["tokens"], first["temperature"], first["avg_logprob"]) == ([1, 2], 0.5, None)


def test_subtitles():
    transcript = transcript_of("One\n\ntwo.", "", "a < b --> c & d")
    transcript.segments[2].start, transcript.segments[2].end = 3661.5, 36_000.0004
    assert transcript.as_text("srt") == (
        "1\n00:00:00,000 --> 00:00:30,000\nOne two.\n\n2\n01:01:01,500 --> 10:00:00,000\na < b --> c & d\n\n"
    )
    assert transcript.as_text("vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:30.000\nOne two.\n\n"
        "01:01:01.500 --> 10:00:00.000\na &lt; b --&gt; c &amp; d\n\n"
    )


# Where windows overlap


def overlapping(*lengths, overlap=3.0):
    """Spans of windows of these lengths, each beginning before the end of the one before."""
    spans, start = [], 0.0
    for index, length in enumerate(lengths):
        before, behind = overlap * (index > 0), overlap * (index < len(lengths) - 1)
        spans.append(Span(start, start + length, before, behind))
        start += length - overlap
    return spans


def test_what_both_windows_have_heard_is_there_once():
    texts = ["We saw how the cat sat on the m.", "The cat| sat on| the mat and sl|ept.", "Sat and slept. No no no."]
    transcript = transcript_in(overlapping(30, 30, 20), texts)
    assert transcript.text == "We saw how the cat sat on the mat and slept. No no no."
    assert " ".join(segment.text for segment in transcript.segments) == transcript.text
    assert [(segment.start, segment.end) for segment in transcript.segments] == [(0, 28.5), (28.5, 55.5), (55.5, 74)]


def test_repetitions_in_windows_that_meet_stay():
    assert transcript_of("No no no", "no no no").text == "No no no no no no"


def test_text_that_may_change_is_held_back():
    spans, transcript = overlapping(30, 30), Transcript()
    first = " ".join(f"w{i}" for i in range(50))
    assert transcript.put(spans[0], TextDelta(first, ())) == " ".join(f"w{i}" for i in range(21))
    assert transcript.put(spans[0], StreamEnd(OmniOutput(first, (), "stop", Usage(0, 0)))) == ""
    assert transcript.num_settled == 0
    # the next one has said too little, and then enough
    assert transcript.put(spans[1], TextDelta("w47 w48 w49", ())) == "" and transcript.num_settled == 0
    grown = transcript.put(spans[1], TextDelta("".join(f" v{i}" for i in range(27)), ()))
    assert grown == "".join(f" w{i}" for i in range(21, 50)) + "".join(f" v{i}" for i in range(27))
    assert transcript.num_settled == 1
    assert transcript.put(spans[1], TextDelta(" v27", ())) == " v27"
    transcript.put(spans[1], StreamEnd(OmniOutput("", (), "stop", Usage(0, 0))))
    assert transcript.num_settled == 2 and transcript.end() == ""


def test_an_end_that_nobody_hears_again_is_given_at_last():
    """The next window was silent, or the recording turned out to be corrupt."""
    first, _ = overlapping(30, 30)
    assert transcript_in([first], ["One two."]).text == "One two."
    assert transcript_in([first, Span(40, 50)], ["One two.", "Two."]).text == "One two. Two."


def test_nothing_is_cut_from_an_answer_that_was_cut():
    transcript = transcript_in(overlapping(30, 30), ["one two one two", "one two three"], finish_reason="length")
    assert transcript.text == "one two one two one two three"


def test_chinese():
    texts = ["今天天气很好，我们去公园。", "我们去公园玩，然后|回家。"]
    assert transcript_in(overlapping(30, 30), texts).text == "今天天气很好，我们去公园玩，然后回家。"


@pytest.mark.parametrize("seed", range(8))
def test_hundreds_of_joins_double_and_lose_nothing(seed):
    """Seventy windows of ten minutes of speech without a pause, streamed in pieces of any size."""
    chance = random.Random(seed)
    said = speech(chance, 600, vocabulary(chance, 200 if seed % 2 else 3000))
    spans = []
    while not spans or spans[-1].overlap_behind:
        start = spans[-1].end - 3 if spans else 0.0
        end = start + chance.uniform(8, 15)
        is_last = end > 600
        spans.append(Span(start, end, 3.0 if spans else 0.0, 0.0 if is_last else 3.0))
    texts = []
    for span in spans:
        text = heard(said, span.start, span.end, chance)
        size = chance.randint(1, 40)
        texts.append("|".join(text[i : i + size] for i in range(0, len(text), size)))
    transcript = transcript_in(spans, texts)
    last = spans[-1].end
    assert len(spans) > 50
    words = [word.key for word in words_of(transcript.text)]
    assert words[:-1] == [one.word for one in said if one.end <= last][: len(words) - 1]
    assert len(words) >= len([one for one in said if one.end <= last])
    # the same text, whatever the pieces
    assert transcript_in(spans, [text.replace("|", "") for text in texts]).text == transcript.text
