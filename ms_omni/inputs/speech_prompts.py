"""The prompts by which Qwen3-Omni writes down or translates speech, as its model card has them."""

from __future__ import annotations

from typing import Any

import numpy as np

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
# Its section "Setting for Evaluation", "Default Prompts"
_TRANSCRIBE_CHINESE = "请将这段中文语音转换为纯文本。"
_TRANSCRIBE = "Transcribe the {} audio into text."
_TRANSLATE = "Listen to the provided {} speech and produce a translation in {} text."
# The card has none for a language that is not known. These two are ours; the built-in model knows the first.
_TRANSCRIBE_ANY = "Transcribe the audio."
_TRANSLATE_ANY = "Listen to the provided speech and produce a translation in {} text."


def language_name(text: str) -> str:
    """The card's name of a language that the model hears, of its code or name in any case. Raises OmniError."""
    for code, name in LANGUAGES.items():
        if text.lower() in (code, name.lower()):
            return name
    known = ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())
    guess = did_you_mean(text.lower(), [*LANGUAGES, *(name.lower() for name in LANGUAGES.values())])
    raise OmniError(f"language {text[:40]!r}{guess}: the model's documents name {known}")


def transcription_prompt(language: str | None) -> str:
    """language: a value of LANGUAGES, None where it is not known."""
    if language is None:
        return _TRANSCRIBE_ANY
    return _TRANSCRIBE_CHINESE if language == "Chinese" else _TRANSCRIBE.format(language)


def translation_prompt(source: str | None, target: str = "English") -> str:
    """source, target: values of LANGUAGES; a source of None is not known."""
    return _TRANSLATE_ANY.format(target) if source is None else _TRANSLATE.format(source, target)


def speech_conversation(samples: np.ndarray, prompt: str, system: str | None = None) -> list[dict[str, Any]]:
    """As the card's evaluation asks: the text behind the sound, and no system prompt unless there is one.

    samples: float32 (num_samples,) at 16 kHz."""
    parts = [{"type": "audio", "audio": samples}, {"type": "text", "text": prompt}]
    messages = [{"role": "user", "content": parts}]
    return [{"role": "system", "content": system}, *messages] if system else messages
