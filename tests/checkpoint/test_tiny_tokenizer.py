"""The tiny tokenizer, as transformers and mindone load it: any text, one token for each special token and role."""

import json

import pytest
from transformers import AutoTokenizer

from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.checkpoint.config import read_config
from ms_omni.checkpoint.tiny_tokenizer import build_vocab, speakable_ids, vocab_length


@pytest.fixture(scope="module")
def tokenizer(tiny_dir):
    return AutoTokenizer.from_pretrained(tiny_dir)


def test_merges_build_each_word_from_the_left():
    vocab, merges = build_vocab()
    first = merges.index(("s", "y"))
    assert merges[first : first + 5] == [("s", "y"), ("sy", "s"), ("sys", "t"), ("syst", "e"), ("syste", "m")]
    assert merges.count(("Ġ", "t")) == 1 and {"system", "Ġthe", "Ġth"} <= set(vocab)


@pytest.mark.parametrize(
    "text", ["Hello, world!", "  two  spaces\n\ttab", "Éteins 你好 🦜", "\x00\x7f", "9.81 m/s²", ""]
)
def test_any_text_survives(tokenizer, text):
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert all(index < vocab_length() for index in ids)


def test_special_tokens_and_roles_are_the_ids_of_the_configuration(tokenizer, tiny_dir):
    config = read_config(tiny_dir)
    thinker, talker = config.thinker_config, config.talker_config
    for token, expected in {
        "<|im_start|>": config.im_start_token_id,
        "<|im_end|>": config.im_end_token_id,
        "<tts_pad>": config.tts_pad_token_id,
        "<tts_text_bos>": config.tts_bos_token_id,
        "<tts_text_eod>": config.tts_eos_token_id,
        "system": config.system_token_id,
        "user": config.user_token_id,
        "assistant": config.assistant_token_id,
        tokenizer.audio_token: thinker.audio_token_id,
        tokenizer.image_token: talker.image_token_id,
        tokenizer.video_token: thinker.video_token_id,
        tokenizer.vision_bos_token: talker.vision_start_token_id,
        tokenizer.audio_bos_token: thinker.audio_start_token_id,
        tokenizer.audio_eos_token: thinker.audio_end_token_id,
        tokenizer.vision_eos_token: thinker.vision_end_token_id,
    }.items():
        assert tokenizer(token).input_ids == [expected], token
    assert thinker.text_config.vocab_size >= len(tokenizer) == vocab_length()


def test_role_is_one_token_after_the_start_of_a_message(tokenizer):
    for role in ("system", "user", "assistant"):
        assert len(tokenizer(f"<|im_start|>{role}\n").input_ids) == 3


def test_decoding_drops_special_tokens_only(tokenizer):
    added = tokenizer.added_tokens_decoder
    assert len(added) == 33
    for index, token in added.items():
        assert tokenizer(token.content).input_ids == [index]
        assert tokenizer.decode([index], skip_special_tokens=True) == ("" if token.special else token.content)


def test_answers_are_words_and_printable_characters(tokenizer):
    for index in speakable_ids():
        text = tokenizer.decode([index])
        assert text == "<|im_end|>" or (text.strip().isascii() and text.strip().isprintable() and text.strip())


def test_slow_tokenizer_agrees(tokenizer, tiny_dir):
    slow = AutoTokenizer.from_pretrained(tiny_dir, use_fast=False)
    text = "<|im_start|>user\nWhat is the answer? 你好 <|image_pad|>Listen.<|im_end|>\n"
    assert slow(text).input_ids == tokenizer(text).input_ids


@pytest.mark.parametrize("directory", ["tiny", "built in"])
def test_the_one_chat_template_is_the_file(directory, tiny_dir):
    """transformers would pass over another one in tokenizer_config.json."""
    directory = tiny_dir if directory == "tiny" else DIRECTORY
    assert "chat_template" not in json.loads((directory / "tokenizer_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.chat_template == (directory / "chat_template.jinja").read_text()


def test_chat_template(tokenizer):
    conversation = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "image", "image": "a.png"},
                {"type": "audio", "audio": "b.wav"},
                {"type": "video", "video": "c.mp4"},
                {"type": "text", "text": "What is it?"},
            ],
        },
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": "Sure?"},
    ]
    expected = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|audio_start|><|audio_pad|><|audio_end|>"
        "<|vision_start|><|video_pad|><|vision_end|>What is it?<|im_end|>\n"
        "<|im_start|>assistant\nA dog.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
    )
    assert tokenizer.apply_chat_template(conversation, tokenize=False) == expected
    prompt = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    assert prompt == expected + "<|im_start|>assistant\n"
