"""What a task is: its medium, its prompts with where they are from, and how an answer is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ms_omni.errors import OmniError
from ms_omni.options import Options
from ms_omni.tasks.languages import language_name

# "all video data are set to fps=2 during evaluation" (the model's README, "Setting for Evaluation")
VIDEO_FPS = 2.0


@dataclass(frozen=True)
class Prompt:
    """One prompt of a document.

    text: with {language}, {target_language} and {text} where the caller's words stand. source: the document, and the
    heading or the cell; "ours" where no document has one. language: of LANGUAGES, of the medium for which this one is
    meant; None for any."""

    text: str
    source: str
    language: str | None = None

    def takes(self, name: str) -> bool:
        return "{" + name + "}" in self.text


@dataclass(frozen=True)
class Task:
    """One task of the model's documents. It is about exactly one medium.

    media: the kinds that the medium may be. prompts: the first that fits is asked, see `prompt`; none where the model
    is asked with the medium alone. question: whether the user's own text is "refused", may stand in the place of the
    prompt ("optional"), or must ("required"); a prompt with {text} takes it in. example: a question of the document.
    system: the system prompt, None as in evaluation. use_audio_in_video: hear a video's sound. takes_tools: functions
    that the answer may call must be given. answer: what `read_answer` finds in the answer's text beside reasoning.
    captions: for a Captioner checkpoint alone. source: the document of the task's rules."""

    name: str
    summary: str
    media: tuple[str, ...]
    source: str
    prompts: tuple[Prompt, ...] = ()
    question: Literal["refused", "optional", "required"] = "optional"
    example: str | None = None
    system: str | None = None
    system_source: str | None = None
    use_audio_in_video: bool = False
    takes_tools: bool = False
    answer: Literal["text", "boxes", "calls"] = "text"
    captions: bool = False

    @property
    def takes_language(self) -> bool:
        return any(prompt.language or prompt.takes("language") for prompt in self.prompts)

    @property
    def takes_target_language(self) -> bool:
        return any(prompt.takes("target_language") for prompt in self.prompts)

    @property
    def options(self) -> Options:
        """For `OmniEngine.submit`, whatever the checkpoint; `with_decoding_rule` has the sampling."""
        if "video" not in self.media:
            return {}
        return {"fps": VIDEO_FPS, "use_audio_in_video": self.use_audio_in_video}

    def prompt(self, language: str | None = None, target_language: str | None = None, text: str | None = None) -> str:
        """What is asked beside the medium; "" where nothing is.

        language, target_language: names or codes of LANGUAGES; of the speech (or of a picture's text), None where it
        is not known; and of the translation, None for English. text: the user's own question. Raises OmniError, naming
        the flag, for what the task does not take or lacks."""
        language, target_language = self.check_languages(language, target_language)
        self._check_question(text)
        fitting = self._fitting(language)
        if text is not None and (fitting is None or not fitting.takes("text")):
            return text
        if fitting is None:
            return ""
        words = {"language": language, "target_language": target_language or "English", "text": _phrase(text)}
        return fitting.text.format(**{key: value for key, value in words.items() if fitting.takes(key)})

    def check_languages(
        self, language: str | None = None, target_language: str | None = None
    ) -> tuple[str | None, str | None]:
        """Their names, as the card has them. Raises OmniError, naming the flag, for one that is none or not taken."""
        where = f"--task {self.name}"
        if language is not None:
            language = _named(language, "--language")
            if not self.takes_language:
                raise OmniError(f"--language {language}: {where} has one prompt for all languages; leave it out")
        if target_language is not None:
            target_language = _named(target_language, "--target-language")
            if not self.takes_target_language:
                raise OmniError(f"--target-language {target_language}: {where} translates nothing; leave it out")
        return language, target_language

    def _check_question(self, text: str | None) -> None:
        where = f"--task {self.name}"
        if text is None:
            if self.question == "required":
                raise OmniError(f"{where}: --text is missing; expected your question, such as {self.example!r}")
        elif not text.strip():
            raise OmniError("--text: is empty; expected a question")
        elif self.question == "refused":
            raise OmniError(f"--text: {where} takes no question of your own; leave out --text or --task")

    def _fitting(self, language: str | None) -> Prompt | None:
        """The prompt for the language, else one that names the language, else one for any."""
        for fits in (
            lambda prompt: language is not None and prompt.language == language,
            lambda prompt: language is not None and prompt.language is None and prompt.takes("language"),
            lambda prompt: prompt.language is None and not prompt.takes("language"),
        ):
            if found := next(filter(fits, self.prompts), None):
                return found
        return None


def _named(language: str, flag: str) -> str:
    try:
        return language_name(language)
    except OmniError as error:
        raise OmniError(f"{flag}: {error}") from None


def _phrase(text: str | None) -> str:
    """A user's words inside a sentence that ends by itself."""
    return (text or "").strip().removesuffix(".")
