"""The tokenizer of the tiny checkpoints: byte-level BPE over a few hundred words, with Qwen3-Omni's special tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Tokens after the byte-pair vocabulary, in the order of the released tokenizer (ids 151643 to 151675 there).
# The flag says whether decoding with skip_special_tokens drops the token.
ADDED_TOKENS: tuple[tuple[str, bool], ...] = (
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True),
    ("<|box_start|>", True),
    ("<|box_end|>", True),
    ("<|quad_start|>", True),
    ("<|quad_end|>", True),
    ("<|vision_start|>", True),
    ("<|vision_end|>", True),
    ("<|vision_pad|>", True),
    ("<|image_pad|>", True),
    ("<|video_pad|>", True),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
    ("<tool_response>", False),
    ("</tool_response>", False),
    ("<think>", False),
    ("</think>", False),
    ("<|audio_start|>", True),
    ("<|audio_end|>", True),
    ("<tts_pad>", True),
    ("<tts_text_bos>", True),
    ("<tts_text_eod>", True),
    ("<tts_text_bos_single>", True),
    ("<|audio_pad|>", True),
)

# Attributes that the processors read from the tokenizer.
EXTRA_SPECIAL_TOKENS = {
    "image_token": "<|image_pad|>",
    "audio_token": "<|audio_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}

# How Qwen2's tokenizer cuts text before byte-pair merging (transformers.models.qwen2.tokenization_qwen2).
PRETOKENIZER_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Merged first, so that each is one token after <|im_start|>: the Talker recognises a chat segment by that token.
ROLE_WORDS = ("system", "user", "assistant")

_WORDS = """
the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then
them these so some her would make like him into time has look two more write go see number no way could people my
than first water been call who now find long down day did get come made may part over new sound take only little work
know place year live me back give most very after thing our just name good sentence man think say great where help
through much before line right too mean old any same tell boy follow came want show also around form three small
picture voice music speech video image animal colour bird dog cat tree house light dark blue green red warm cold happy
quiet loud hello world answer question listen morning evening night river mountain city street garden summer winter
""".split()


def build_merges(words: tuple[str, ...] | list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that build each word from its left: a prefix tree, so every prefix is a token as well."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        for end in range(1, len(word)):
            merges.setdefault((word[:end], word[end]))
    return list(merges)


def build_vocab() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair vocabulary (token -> id) and merges. All 256 bytes are tokens, so any UTF-8 text can be encoded."""
    from tokenizers.pre_tokenizers import ByteLevel

    # "Ġ" is how byte-level BPE writes a leading space.
    merges = build_merges([*ROLE_WORDS, *("Ġ" + word for word in _WORDS)])
    tokens = dict.fromkeys(sorted(ByteLevel.alphabet()))
    tokens.update(dict.fromkeys(left + right for left, right in merges))
    return {token: index for index, token in enumerate(tokens)}, merges


def token_ids() -> dict[str, int]:
    """Ids of the added tokens and of the three role words."""
    vocab, _ = build_vocab()
    ids = {word: vocab[word] for word in ROLE_WORDS}
    ids.update({token: len(vocab) + index for index, (token, _) in enumerate(ADDED_TOKENS)})
    return ids


def speakable_ids() -> list[int]:
    """Ids that make readable answers: whole words, printable ASCII characters and the end of the message."""
    vocab, _ = build_vocab()
    printable = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = ["Ġ" + word for word in _WORDS]
    return sorted([*(vocab[token] for token in printable + words), token_ids()["<|im_end|>"]])


def vocab_length() -> int:
    """Number of tokens, added ones included."""
    return len(build_vocab()[0]) + len(ADDED_TOKENS)


def write_tokenizer(directory: Path, chat_template: str) -> None:
    """Writes tokenizer.json, vocab.json, merges.txt, added_tokens.json, special_tokens_map.json and
    tokenizer_config.json (with `chat_template` in it, as the released checkpoints have it)."""
    vocab, merges = build_vocab()
    _fast_tokenizer(vocab, merges).save(str(directory / "tokenizer.json"))
    ids = token_ids()
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _dump(directory / "vocab.json", vocab)
    _dump(directory / "added_tokens.json", {token: ids[token] for token, _ in ADDED_TOKENS})
    special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", **EXTRA_SPECIAL_TOKENS}
    additional = [token for token, is_special in ADDED_TOKENS if is_special][1:]
    _dump(directory / "special_tokens_map.json", {"additional_special_tokens": additional, **special})
    _dump(
        directory / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {str(ids[t]): _added_token(t, special) for t, special in ADDED_TOKENS},
            "additional_special_tokens": additional,
            "bos_token": None,
            "chat_template": chat_template,
            "clean_up_tokenization_spaces": False,
            "errors": "replace",
            "extra_special_tokens": EXTRA_SPECIAL_TOKENS,
            "model_max_length": 131072,
            "processor_class": "Qwen3OmniMoeProcessor",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
            **special,
        },
    )


def _fast_tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZER_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.add_tokens([AddedToken(token, special=special, normalized=False) for token, special in ADDED_TOKENS])
    return tokenizer


def _added_token(token: str, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {"content": token, **flags, "special": special}


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
