"""The languages of speech that the model's documents name."""

from __future__ import annotations

from ms_omni.errors import OmniError, did_you_mean

# ISO 639 (Cantonese has no code of two letters), and the card's "Speech Input"
LANGUAGES = {
    "en": "English",
    "zh": "Chinese",
    "ko": "Korean",
    "ja": "Japanese",
    "de": "German",
    "ru": "Russian",
    "it": "Italian",
    "fr": "French",
    "es": "Spanish",
    "pt": "Portuguese",
    "ms": "Malay",
    "nl": "Dutch",
    "id": "Indonesian",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "yue": "Cantonese",
    "ar": "Arabic",
    "ur": "Urdu",
}
# The card's "Speech Output"
SPOKEN = (
    "English",
    "Chinese",
    "French",
    "German",
    "Russian",
    "Italian",
    "Spanish",
    "Portuguese",
    "Japanese",
    "Korean",
)


def language_name(text: str) -> str:
    """The card's name of a language that the model hears. text: its code or name, in any case. Raises OmniError."""
    for code, name in LANGUAGES.items():
        if text.lower() in (code, name.lower()):
            return name
    known = ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())
    guess = did_you_mean(text.lower(), [*LANGUAGES, *(name.lower() for name in LANGUAGES.values())])
    raise OmniError(f"language {text[:40]!r}{guess}: the model's documents name {known}")


def check_spoken(language: str, where: str) -> None:
    """Raises OmniError for a language of LANGUAGES that the Talker does not speak. where: begins the error."""
    if language not in SPOKEN:
        raise OmniError(f"{where} {language}: the model speaks {', '.join(SPOKEN)}; ask for text alone")
