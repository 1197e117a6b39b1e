"""Texts of windows joined, and the forms of a transcript."""

import pytest
from ms_omni.server.transcript import Transcript

from ms_omni.outputs import OmniOutput, StreamEnd, TextDelta, Usage


def transcript_of(*texts, reasons=False, finish_reason="stop"):
    """Of windows of 30 s, each text in the pieces that | marks. All that it grew by is its text."""
    transcript, grown = Transcript(reasons), ""
    for index, text in enumerate(texts):
        span = (30.0 * index, 30.0 * index + 30)
        for piece in text.split("|"):
            grown += transcript.put(span, TextDelta(piece, ()))
        output = OmniOutput(text, (1, 2), finish_reason, Usage(10, 2, audio_tokens=7))
        grown += transcript.put(span, StreamEnd(output))
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
