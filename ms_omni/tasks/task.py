"""What a task is: its medium, its prompts with their sources, and how the model is asked."""

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

    text: with {language}, {target_language} and {text} in the place of the caller's words. source: the document, with
    its heading or cell; "ours" where no document has one. language: of LANGUAGES, the medium's language for which this
    prompt is meant; None for any."""

    text: str
    source: str
    language: str | None = None

    def takes(self, name: str) -> bool:
        """Whether the text has a place for this: language, target_language or text."""
        return "{" + name + "}" in self.text


@dataclass(frozen=True)
class Task:
    """One task of the model's documents. It is about exactly one medium.

    media: the kinds that the medium may be. prompts: the first one that fits is used, see `prompt`; none where the
    medium is all that the model gets. question: the user's own text is "refused", "optional" (it replaces the prompt)
    or "required"; a prompt with {text} includes it. example: a question from the document. system: the system prompt;
    None, as in the card's evaluation. use_audio_in_video: whether a video's sound is heard. takes_tools: whether the
    functions that the answer may call must be given. answer: what `read_answer` finds in the text beside reasoning.
    captions: only for a Captioner checkpoint. source: the document of the task's rules."""

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
        """Whether a prompt names the medium's language or is for one."""
        return any(prompt.language or prompt.takes("language") for prompt in self.prompts)

    @property
    def takes_target_language(self) -> bool:
        """Whether the task translates."""
        return any(prompt.takes("target_language") for prompt in self.prompts)

    @property
    def options(self) -> Options:
        """For `OmniEngine.submit`, without the sampling, which depends on the checkpoint (`with_decoding_rule`)."""
        if "video" not in self.media:
            return {}
        return {"fps": VIDEO_FPS, "use_audio_in_video": self.use_audio_in_video}

    def prompt(self, language: str | None = None, target_language: str | None = None, text: str | None = None) -> str:
        """The text that goes with the medium; "" where there is none.

        language: of the speech or of a picture's text, by name or code of LANGUAGES; None: not known. target_language:
        of the translation; None: English. text: the user's own question. Raises OmniError, naming the flag, for what
        the task does not take, and for what it lacks."""
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
        """Their names in the card. Raises OmniError, naming the flag, for unknown ones and for those not taken."""
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
    """The user's words for the middle of a sentence."""
    return (text or "").strip().removesuffix(".")
