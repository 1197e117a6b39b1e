"""How texts of a language are prepared and counted: Whisper's normalisers (of the package whisper-normalizer), words or
characters, sacrebleu's tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable

from ms_omni.tasks.languages import LANGUAGES

NORMALIZERS = ("english", "basic", "none")
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
    """'en' for 'en', 'English', 'en-US', 'en_us' and 'eng'. A name that is not known is put in lower case and cut at
    '-' or '_'."""
    if language is None:
        return None
    name = language.strip().lower()
    code = re.split(r"[-_]", name)[0]
    return _NAMES.get(name) or _SHORT.get(code, code)


def is_without_spaces(language: str | None) -> bool:
    """Whether it is written without spaces between words; False for a language that is not known."""
    return code_of(language) in WITHOUT_SPACES


def tokenizer_of(language: str | None) -> str:
    """Of sacrebleu, for BLEU."""
    code = code_of(language) or ""
    return _TOKENIZERS.get(code, "char" if code in WITHOUT_SPACES else "13a")


def looks_without_spaces(text: str) -> bool:
    """Whether most of its characters are of a script without spaces between words."""
    return 2 * len(_SCRIPT_WITHOUT_SPACES.findall(text)) > len(text)


def normalizer_name(chosen: str | None, language: str | None) -> str:
    """Of NORMALIZERS: the chosen one, else that of the language."""
    return chosen or ("english" if code_of(language) == "en" else "basic")


def normalizer(name: str) -> Callable[[str], str]:
    """name: of NORMALIZERS. All collapse white space.

    english: Whisper's for English (numbers, contractions, spelling, punctuation, case).
    basic: Whisper's for other languages (punctuation, case), with marks kept: it would put a space in the place of
    every vowel sign of Hindi or Thai, and so split words
    (https://kavyamanohar.com/post/indic-normalizer/). Radford et al. 2022, appendix C."""
    if name == "none":
        return _collapsed
    if name == "english":
        from whisper_normalizer.english import EnglishTextNormalizer

        normalize: Callable[[str], str] = EnglishTextNormalizer()
    else:
        from whisper_normalizer.basic import BasicTextNormalizer

        normalize = BasicTextNormalizer(preserve_marks=True)
    return lambda text: _collapsed(normalize(text))


def graphemes(text: str) -> list[str]:
    """What a reader calls characters, without white space: letters with their marks (Unicode's \\X)."""
    import regex

    return [part for part in regex.findall(r"\X", text) if not part.isspace()]


def _collapsed(text: str) -> str:
    return " ".join(text.split())
