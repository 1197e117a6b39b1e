"""The tasks of the model's documents, one row each: prompts word for word, and the rules that go with them.

Sources. CARD: the model's README (https://github.com/QwenLM/Qwen3-Omni, and the card of the released checkpoints).
cookbooks/*.ipynb: the notebooks of that repository; cells count from 0. Prompts are quoted exactly; "ours" marks a
prompt that is in no document."""

from __future__ import annotations

from ms_omni.errors import OmniError, did_you_mean
from ms_omni.tasks.task import Prompt, Task

OURS = "ours"
CARD = "README.md"
EVALUATION = f'{CARD}, "Setting for Evaluation", "Default Prompts"'
INTERACTION = f'{CARD}, "Prompt for Audio-Visual Interaction"'

# The card lets users replace this first sentence by another character.
CHARACTER = "You are Qwen-Omni, a smart voice assistant created by Alibaba Qwen."
_MANNERS = (
    "You are a virtual voice assistant with no gender or age.\n"
    "You are communicating with the user.\n"
    "In user messages, “I/me/my/we/our” refer to the user and “you/your” refer to the assistant. In your replies, "
    "address the user as “you/your” and yourself as “I/me/my”; never mirror the user’s pronouns—always shift "
    "perspective. Keep original pronouns only in direct quotes; if a reference is unclear, ask a brief clarifying "
    "question.\n"
    "Interact with users using short(no more than 50 words), brief, straightforward language, maintaining a natural "
    "tone.\n"
    "Never use formal phrasing, mechanical expressions, bullet points, overly structured language. \n"
    "Your output must consist only of the spoken content you want the user to hear. \n"
    "Do not include any descriptions of actions, emotions, sounds, or voice changes. \n"
    "Do not use asterisks, brackets, parentheses, or any other symbols to indicate tone or actions. \n"
    "You must answer users' audio or text questions, do not directly describe the video content. \n"
    "You should communicate in the same language strictly as the user unless they request otherwise.\n"
    "When you are uncertain (e.g., you can't see/hear clearly, don't understand, or the user makes a comment rather "
    "than asking a question), use appropriate questions to guide the user to continue the conversation.\n"
    "Keep replies concise and conversational, as if talking face-to-face."
)


def interaction_system(character: str = CHARACTER) -> str:
    """The system prompt that the card recommends for talking about what is seen and heard."""
    return f"{character} {_MANNERS}"


def _cookbook(name: str) -> str:
    return f"cookbooks/{name.replace('-', '_')}.ipynb"


def _cell(name: str, number: int) -> str:
    return f"{_cookbook(name)}, cell {number}"


_ROWS = (
    Task(
        name="speech-recognition",
        summary="write down what is said",
        media=("audio",),
        source=_cookbook("speech-recognition"),
        question="refused",
        prompts=(
            Prompt("请将这段中文语音转换为纯文本。", EVALUATION, language="Chinese"),
            Prompt("Transcribe the {language} audio into text.", EVALUATION),
            # for a language that is not known; the built-in model knows it
            Prompt("Transcribe the audio.", OURS),
        ),
    ),
    Task(
        name="speech-translation",
        summary="translate what is said, into text or, spoken, into speech",
        media=("audio",),
        source=_cookbook("speech-translation"),
        question="refused",
        prompts=(
            Prompt(
                "Listen to the provided {language} speech and produce a translation in {target_language} text.",
                EVALUATION,
            ),
            # for a language that is not known
            Prompt("Listen to the provided speech and produce a translation in {target_language} text.", OURS),
        ),
    ),
    Task(
        name="song-lyrics",
        summary="write down the words of a song",
        media=("audio",),
        source=f'{CARD}, "Setting for Evaluation"',
        question="refused",
        prompts=(
            Prompt(
                "Transcribe the song lyrics into text without any punctuation, separate lines with line breaks, and "
                "output only the lyrics without additional explanations.",
                EVALUATION,
            ),
        ),
    ),
    Task(
        name="music-analysis",
        summary="style, rhythm, instruments and mood of music",
        media=("audio",),
        source=_cookbook("music-analysis"),
        prompts=(
            Prompt(
                "Describe the style, rhythm, dynamics, and expressed emotions of this piece of music. Identify the "
                "instruments used and suggest possible scenarios from which this music might originate.",
                _cell("music-analysis", 4),
            ),
            Prompt(
                "Write an appreciative description for this piece of music. Identifying its style and genre. Analyze "
                "the collaborative patterns of different instruments in audio and explain their impact on the overall "
                "atmosphere.",
                _cell("music-analysis", 5),
            ),
            Prompt("请分析这是什么风格的音乐？", _cell("music-analysis", 3), language="Chinese"),
        ),
    ),
    Task(
        name="sound-analysis",
        summary="what happens in a sound, what makes it, where it is",
        media=("audio",),
        source=_cookbook("sound-analysis"),
        prompts=(
            Prompt("What happened in the audio?", _cell("sound-analysis", 3)),
            Prompt("What is this sound? In what kind of situation might it occur?", _cell("sound-analysis", 4)),
            Prompt("Guess where I am?", _cell("sound-analysis", 5)),
        ),
    ),
    Task(
        name="audio-caption",
        summary="a detailed description of any sound",
        media=("audio",),
        source=_cookbook("audio-caption"),
        prompts=(
            Prompt("Give the detailed description of the audio.", _cell("audio-caption", 3)),
            Prompt("Please provide a detailed description of the audio.", _cell("audio-caption", 4)),
            Prompt("Give a thorough description of the audio.", _cell("audio-caption", 5)),
        ),
    ),
    Task(
        name="mixed-audio-analysis",
        summary="speech, music and noises that sound together",
        media=("audio",),
        source=_cookbook("mixed-audio-analysis"),
        prompts=(
            Prompt(
                "Determine which sound effects and musical instruments are present in the audio.",
                _cell("mixed-audio-analysis", 4),
            ),
            Prompt(
                "判断说话人的国籍和性别，并告诉我音频里出现的音效是什么？",
                _cell("mixed-audio-analysis", 3),
                language="Chinese",
            ),
        ),
    ),
    Task(
        name="ocr",
        summary="the text in a picture",
        media=("image",),
        source=_cookbook("ocr"),
        prompts=(
            Prompt("Extract the text from the image.", _cell("ocr", 4)),
            Prompt("请提取图片中的文字。", _cell("ocr", 3), language="Chinese"),
        ),
    ),
    Task(
        name="object-grounding",
        summary="where something is in a picture: boxes and points",
        media=("image",),
        source=_cookbook("object-grounding"),
        question="required",
        example="bird",
        prompts=(Prompt("Locate the object: {text}.", _cell("object-grounding", 4)),),
        answer="boxes",
    ),
    Task(
        name="image-question",
        summary="any question about a picture",
        media=("image",),
        source=_cookbook("image-question"),
        question="required",
        example="What style does this image depict?",
    ),
    Task(
        name="image-math",
        summary="a mathematical problem in a picture, best with a Thinking checkpoint",
        media=("image",),
        source=_cookbook("image-math"),
        question="required",
        example="Please select the correct answer from the options above.",
    ),
    Task(
        name="video-description",
        summary="what a video shows",
        media=("video",),
        source=_cookbook("video-description"),
        prompts=(Prompt("Describe the video.", _cell("video-description", 3)),),
    ),
    Task(
        name="video-navigation",
        summary="the way to go, of a video seen while moving",
        media=("video",),
        source=_cookbook("video-navigation"),
        question="required",
        example="If I want to stop at the window. Which direction should I take?",
    ),
    Task(
        name="video-scene-transition",
        summary="how the scenes of a video change",
        media=("video",),
        source=_cookbook("video-scene-transition"),
        prompts=(Prompt("How the scenes in the video change?", _cell("video-scene-transition", 3)),),
    ),
    Task(
        name="audio-visual-question",
        summary="any question about what a video shows and sounds like",
        media=("video",),
        source=_cookbook("audio-visual-question"),
        question="required",
        example="What was the first sentence the boy said when he met the girl?",
        use_audio_in_video=True,
    ),
    Task(
        name="audio-visual-interaction",
        summary="do what is asked for in a recording, or in a video's sound",
        media=("video", "audio"),
        source=_cookbook("audio-visual-interaction"),
        system=interaction_system(),
        system_source=INTERACTION,
        use_audio_in_video=True,
    ),
    Task(
        name="audio-visual-dialogue",
        summary="talk with somebody who is heard, or seen and heard",
        media=("video", "audio"),
        source=_cookbook("audio-visual-dialogue"),
        system=interaction_system(),
        system_source=INTERACTION,
        use_audio_in_video=True,
    ),
    Task(
        name="audio-function-call",
        summary="calls of functions that a recording asks for",
        media=("audio",),
        source=_cookbook("audio-function-call"),
        takes_tools=True,
        answer="calls",
    ),
    Task(
        name="captioner",
        summary="a detailed description of any sound, by a Captioner checkpoint",
        media=("audio",),
        source=_cookbook("omni-captioner"),
        question="refused",
        captions=True,
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def get_task(name: str) -> Task:
    """Underscores count as hyphens. Raises OmniError, with the closest name and all names, for an unknown task."""
    return find_task(name, "--task")


def find_task(name: str, where: str) -> Task:
    """As `get_task`; where: the flag or command, with which the error begins."""
    task = TASKS.get(name.replace("_", "-"))
    if task is None:
        guess = did_you_mean(name, TASKS)
        raise OmniError(f"{where} {name[:40]}: unknown task{guess}; expected one of {', '.join(TASKS)}")
    return task
