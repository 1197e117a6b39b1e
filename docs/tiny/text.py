"""Tokenizer of the tiny model. Its vocabulary was learnt once from the texts of the small world and is part of the
package: training changes the texts, but must not change the ids.

    python docs/tiny/text.py DIR    # learns it anew
"""

from __future__ import annotations

import json
import random
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from dialogues import Dialogues
from sounds import NoSpeech
from unrelated import unrelated_question
from words import COLOURS, DIGITS, EVERYDAY, SHAPES, SPOKEN

from ms_omni.checkpoint.built_in import DIRECTORY
from ms_omni.checkpoint.tiny_tokenizer import ROLE_WORDS

VOCAB_BEFORE_SPECIALS = 1247  # 1280 with the 33 special tokens


def corpus(seed: int = 0) -> list[str]:
    """Texts that decide which words become single tokens: every spoken word often, unrelated questions rarely."""
    rng = random.Random(seed)
    dialogues = Dialogues(NoSpeech(), rng)  # type: ignore[arg-type]
    texts = [" " + word for word in SPOKEN for _ in range(400)]
    texts += [" " + word for word in (*COLOURS, *SHAPES, *DIGITS, *EVERYDAY) for _ in range(400)]
    texts += [f"<role>{role}" for role in ROLE_WORDS for _ in range(1000)]
    for _ in range(6000):
        for turn in dialogues.draw().turns:
            texts += [turn.question, turn.answer, turn.answer]
    texts += [unrelated_question(rng) for _ in range(1500)]
    return texts


def train_merges() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """(vocabulary, merges) of byte-pair encoding with the pre-tokenizer of Qwen2."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = Tokenizer.from_file(str(DIRECTORY / "tokenizer.json")).pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_BEFORE_SPECIALS, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator([text.replace("<role>", "") for text in corpus()], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


class Text:
    """Token ids of texts and of the chat template's pieces."""

    def __init__(self, directory: Path):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.vocab_size = -(-self.tokenizer.get_vocab_size() // 64) * 64

    @lru_cache(maxsize=100_000)  # noqa: B019  # one object lives as long as its process
    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def id(self, token: str) -> int:
        index: Any = self.tokenizer.token_to_id(token)
        return int(index)

    def decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def main() -> None:
    directory = Path(sys.argv[1])
    vocab, merges = train_merges()
    (directory / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
