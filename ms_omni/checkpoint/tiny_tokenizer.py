"""Tokenizer and processor files of random checkpoints: those of the built-in one, with a few hundred common words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.checkpoint.config import read_json

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
"""

# Bounds for the area of pictures in the released preprocessor_config.json
_RELEASED_PIXELS = {"min_pixels": 3136, "max_pixels": 12845056}


def build_vocab() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair vocabulary (token -> id) and merges. All 256 bytes are tokens, so any UTF-8 text can be encoded. Merges
    build each word from its left, so that every prefix of a word is a token as well."""
    from tokenizers.pre_tokenizers import ByteLevel

    # "Ġ" is how byte-level BPE writes a leading space.
    words = [*ROLE_WORDS, *("Ġ" + word for word in _WORDS.split())]
    merges = list(dict.fromkeys((word[:end], word[end]) for word in words for end in range(1, len(word))))
    tokens = dict.fromkeys(sorted(ByteLevel.alphabet()))
    tokens.update(dict.fromkeys(left + right for left, right in merges))
    return {token: index for index, token in enumerate(tokens)}, merges


def token_ids() -> dict[str, int]:
    """Ids of the special tokens and of the three role words."""
    vocab, _ = build_vocab()
    special = read_json(DIRECTORY / "added_tokens.json")
    ids = {token: len(vocab) + index for index, token in enumerate(sorted(special, key=special.__getitem__))}
    return {word: vocab[word] for word in ROLE_WORDS} | ids


def speakable_ids() -> list[int]:
    """Ids that make readable answers: whole words, printable ASCII characters and the end of the message."""
    vocab, _ = build_vocab()
    printable = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    words = ["Ġ" + word for word in _WORDS.split()]
    return sorted([*(vocab[token] for token in printable + words), token_ids()["<|im_end|>"]])


def vocab_length() -> int:
    """Number of tokens, special ones included."""
    return max(token_ids().values()) + 1


def write_processor(directory: Path) -> None:
    """Writes everything that a processor is loaded from."""
    (vocab, merges), ids = build_vocab(), token_ids()
    tokenizer, settings = read_json(DIRECTORY / "tokenizer.json"), read_json(DIRECTORY / "tokenizer_config.json")
    tokenizer["model"] |= {"vocab": vocab, "merges": merges}
    for token in tokenizer["added_tokens"]:
        token["id"] = ids[token["content"]]
    added = settings["added_tokens_decoder"].values()
    settings["added_tokens_decoder"] = {str(ids[token["content"]]): token for token in added}
    del settings["size"]  # of the built-in checkpoint's videos
    _dump(directory / "tokenizer.json", tokenizer)
    _dump(directory / "tokenizer_config.json", settings)
    _dump(directory / "vocab.json", vocab)
    _dump(directory / "added_tokens.json", {token["content"]: ids[token["content"]] for token in added})
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _dump(directory / "preprocessor_config.json", read_json(DIRECTORY / "preprocessor_config.json") | _RELEASED_PIXELS)
    for name in ("special_tokens_map.json", "chat_template.jinja"):
        shutil.copyfile(DIRECTORY / name, directory / name)


def _dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
