"""What is taken out of texts before they are compared: Whisper's normalisers, of the package whisper-normalizer."""

from __future__ import annotations

from collections.abc import Callable

from ms_omni.evaluation.languages import is_english

NORMALIZERS = ("english", "basic", "none")


def normalizer_name(chosen: str | None, language: str | None) -> str:
    """Of NORMALIZERS: the chosen one, else that of the language."""
    return chosen or ("english" if is_english(language) else "basic")


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
