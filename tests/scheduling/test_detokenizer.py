"""Text deltas are whole characters and together the whole text."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

import ms_omni
from ms_omni.scheduling.detokenizer import Detokenizer

TEXT = "Zwölf Bären 🐻 sagen „你好“.\n\nThe end"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(Path(ms_omni.__file__).parent / "assets/tiny/tokenizer.json"))


@pytest.mark.parametrize("at_a_time", [1, 2, 3])
def test_deltas_of_a_real_tokenizer(tokenizer, at_a_time):
    ids = tokenizer.encode(TEXT + "<|im_end|>").ids
    detokenizer = Detokenizer(tokenizer.decode)
    deltas = [
        detokenizer.put(ids[start : start + at_a_time], start + at_a_time >= len(ids))
        for start in range(0, len(ids), at_a_time)
    ]
    given = [delta for delta in deltas if delta]
    assert len(given) < len(deltas) or at_a_time > 1  # the bear has four bytes
    assert "".join(delta.text for delta in given) == TEXT == detokenizer.text
    assert [i for delta in given for i in delta.token_ids] == ids
    assert not any("\ufffd" in delta.text for delta in given)


def test_half_a_character_at_the_end_is_not_lost(tokenizer):
    ids = tokenizer.encode("🐻").ids[:2]
    detokenizer = Detokenizer(tokenizer.decode)
    assert detokenizer.put(ids[:1], False) is None
    delta = detokenizer.put(ids[1:], True)
    assert delta.text == detokenizer.text == tokenizer.decode(ids) and delta.token_ids == tuple(ids)


@pytest.mark.parametrize("at_a_time", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_half_characters_without_end_are_given_out(tokenizer, size, at_a_time):
    ids = tokenizer.encode("🐻").ids[:size] * 40
    held = 0
    detokenizer = Detokenizer(tokenizer.decode)
    for start in range(0, len(ids), at_a_time):
        put = ids[start : start + at_a_time]
        delta = detokenizer.put(put, start + at_a_time >= len(ids))
        held += len(put) - len(delta.token_ids if delta else ())
        assert held <= size
    assert held == 0 and detokenizer.text == tokenizer.decode(ids)


def test_what_stands_before_half_a_character_does_not_wait_for_it(tokenizer):
    ids, bear = tokenizer.encode("Hello").ids, tokenizer.encode("🐻").ids
    detokenizer = Detokenizer(tokenizer.decode)
    assert detokenizer.put([*ids, *bear[:2]], False).text == "Hello"
    assert detokenizer.put(bear[2:], False).text == "🐻"


@pytest.mark.parametrize("at_a_time", [1, 2, 5])
@pytest.mark.parametrize(
    ("text", "stops", "given"),
    [
        ("One. Two. Three", ("Two",), "One. "),
        ("One. Two. Three", ("Three", "wo. "), "One. T"),
        ("One. Two. Three", ("Twice", "Threesome"), "One. Two. Three"),
        ("aaab", ("aab",), "a"),
        ("Zwölf Bären 🐻 sagen", ("🐻 s",), "Zwölf Bären "),
        ("One", ("One",), ""),
    ],
)
def test_a_text_that_ends_the_answer_is_not_part_of_it(tokenizer, text, stops, given, at_a_time):
    ids = tokenizer.encode(text).ids
    detokenizer, deltas = Detokenizer(tokenizer.decode, stops), []
    for start in range(0, len(ids), at_a_time):
        if delta := detokenizer.put(ids[start : start + at_a_time], start + at_a_time >= len(ids)):
            deltas.append(delta)
        if detokenizer.is_stopped:
            break
    assert "".join(delta.text for delta in deltas) == detokenizer.text == given
    assert detokenizer.is_stopped == (given != text)
    taken = [i for delta in deltas for i in delta.token_ids]
    assert (
        taken == ids[: len(taken)] and any(stop in tokenizer.decode(taken) for stop in stops) == detokenizer.is_stopped
    )
