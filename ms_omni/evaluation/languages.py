"""What a language means for counting: its normaliser, words or characters, sacrebleu's tokenizer."""

from __future__ import annotations

import re

from ms_omni.tasks.languages import LANGUAGES

# Written without spaces between words. Whisper's evaluation counts characters in Chinese, Japanese, Thai, Lao and
# Burmese (Radford et al. 2022, appendix C); Cantonese and Khmer are written alike.
WITHOUT_SPACES = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km"})
# of ISO 639-3, as FLEURS and others have them
_SHORT = {"cmn": "zh", "zho": "zh", "eng": "en", "jpn": "ja", "kor": "ko", "tha": "th", "lao": "lo", "mya": "my",
          "khm": "km", "mandarin": "zh"}  # fmt: skip
_NAMES = {name.lower(): code for code, name in LANGUAGES.items()}
# sacrebleu's tokenizer where 13a, its default, would not find the words. Those for which it has none are counted in
# characters.
_TOKENIZERS = {"zh": "zh", "yue": "zh", "ja": "ja-mecab"}
# Han, kana, Thai, Lao, Burmese, Khmer
_SCRIPT_WITHOUT_SPACES = re.compile(r"[぀-ヿ㐀-鿿฀-๿຀-໿က-႟ក-៿]")


def code_of(language: str | None) -> str | None:
    """'en' of 'en', 'English', 'en-US', 'en_us' and 'eng'; what is not known, in lower case up to '-' or '_'."""
    if language is None:
        return None
    name = language.strip().lower()
    code = re.split(r"[-_]", name)[0]
    return _NAMES.get(name) or _SHORT.get(code, code)


def is_english(language: str | None) -> bool:
    return code_of(language) == "en"


def is_without_spaces(language: str | None) -> bool:
    return code_of(language) in WITHOUT_SPACES


def tokenizer_of(language: str | None) -> str:
    """Of sacrebleu, for BLEU."""
    code = code_of(language) or ""
    return _TOKENIZERS.get(code, "char" if code in WITHOUT_SPACES else "13a")


def looks_without_spaces(text: str) -> bool:
    """Whether most of its characters are of a script without spaces between words."""
    return 2 * len(_SCRIPT_WITHOUT_SPACES.findall(text)) > len(text)
