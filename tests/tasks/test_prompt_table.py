"""Every prompt of the table is the document's, letter by letter. The texts here are copies of the documents' own: the
model's README (https://github.com/QwenLM/Qwen3-Omni, also the released checkpoints' card) and the notebooks in its
directory cookbooks, cells counted from 0."""

import pytest

from ms_omni.tasks.languages import LANGUAGES, SPOKEN
from ms_omni.tasks.table import OURS, TASKS, get_task, interaction_system

DEFAULT_PROMPTS = 'README.md, "Setting for Evaluation", "Default Prompts"'

# (task, what is asked for, the document's text, document and heading or cell)
DOCUMENTED = [
    ("speech-recognition", {"language": "zh"}, "请将这段中文语音转换为纯文本。", DEFAULT_PROMPTS),
    # "Transcribe the <language> audio into text."
    ("speech-recognition", {"language": "en"}, "Transcribe the English audio into text.", DEFAULT_PROMPTS),
    ("speech-recognition", {"language": "Cantonese"}, "Transcribe the Cantonese audio into text.", DEFAULT_PROMPTS),
    # "Listen to the provided <source_language> speech and produce a translation in <target_language> text."
    (
        "speech-translation",
        {"language": "zh"},
        "Listen to the provided Chinese speech and produce a translation in English text.",
        DEFAULT_PROMPTS,
    ),
    (
        "speech-translation",
        {"language": "en", "target_language": "Chinese"},
        "Listen to the provided English speech and produce a translation in Chinese text.",
        DEFAULT_PROMPTS,
    ),
    (
        "song-lyrics",
        {},
        "Transcribe the song lyrics into text without any punctuation, separate lines with line breaks, and output "
        "only the lyrics without additional explanations.",
        DEFAULT_PROMPTS,
    ),
    (
        "music-analysis",
        {},
        "Describe the style, rhythm, dynamics, and expressed emotions of this piece of music. Identify the instruments "
        "used and suggest possible scenarios from which this music might originate.",
        "cookbooks/music_analysis.ipynb, cell 4",
    ),
    (
        "music-analysis",
        1,
        "Write an appreciative description for this piece of music. Identifying its style and genre. Analyze the "
        "collaborative patterns of different instruments in audio and explain their impact on the overall atmosphere.",
        "cookbooks/music_analysis.ipynb, cell 5",
    ),
    ("music-analysis", {"language": "zh"}, "请分析这是什么风格的音乐？", "cookbooks/music_analysis.ipynb, cell 3"),
    ("sound-analysis", {}, "What happened in the audio?", "cookbooks/sound_analysis.ipynb, cell 3"),
    (
        "sound-analysis",
        1,
        "What is this sound? In what kind of situation might it occur?",
        "cookbooks/sound_analysis.ipynb, cell 4",
    ),
    ("sound-analysis", 2, "Guess where I am?", "cookbooks/sound_analysis.ipynb, cell 5"),
    ("audio-caption", {}, "Give the detailed description of the audio.", "cookbooks/audio_caption.ipynb, cell 3"),
    (
        "audio-caption",
        1,
        "Please provide a detailed description of the audio.",
        "cookbooks/audio_caption.ipynb, cell 4",
    ),
    ("audio-caption", 2, "Give a thorough description of the audio.", "cookbooks/audio_caption.ipynb, cell 5"),
    (
        "mixed-audio-analysis",
        {},
        "Determine which sound effects and musical instruments are present in the audio.",
        "cookbooks/mixed_audio_analysis.ipynb, cell 4",
    ),
    (
        "mixed-audio-analysis",
        {"language": "zh"},
        "判断说话人的国籍和性别，并告诉我音频里出现的音效是什么？",
        "cookbooks/mixed_audio_analysis.ipynb, cell 3",
    ),
    ("ocr", {}, "Extract the text from the image.", "cookbooks/ocr.ipynb, cell 4"),
    ("ocr", {"language": "zh"}, "请提取图片中的文字。", "cookbooks/ocr.ipynb, cell 3"),
    ("object-grounding", {"text": "bird"}, "Locate the object: bird.", "cookbooks/object_grounding.ipynb, cell 4"),
    # cell 5 has the same words around another object
    (
        "object-grounding",
        {"text": "A person riding a motorcycle while wearing a helmet."},
        "Locate the object: A person riding a motorcycle while wearing a helmet.",
        "cookbooks/object_grounding.ipynb, cell 4",
    ),
    ("video-description", {}, "Describe the video.", "cookbooks/video_description.ipynb, cell 3"),
    (
        "video-scene-transition",
        {},
        "How the scenes in the video change?",
        "cookbooks/video_scene_transition.ipynb, cell 3",
    ),
]
# Where the documents ask questions of their own: one of them
EXAMPLES = {
    "object-grounding": ("bird", "cookbooks/object_grounding.ipynb, cell 4"),
    "image-question": ("What style does this image depict?", "cookbooks/image_question.ipynb, cell 3"),
    "image-math": (
        "Please select the correct answer from the options above.",
        "cookbooks/image_math.ipynb, cell 4, the last words",
    ),
    "video-navigation": (
        "If I want to stop at the window. Which direction should I take?",
        "cookbooks/video_navigation.ipynb, cell 3",
    ),
    "audio-visual-question": (
        "What was the first sentence the boy said when he met the girl?",
        "cookbooks/audio_visual_question.ipynb, cell 3",
    ),
}
# No text beside the medium: cookbooks/audio_visual_interaction.ipynb, cells 3 and 4; audio_visual_dialogue.ipynb, cells
# 3 and 4; audio_function_call.ipynb, cell 3; omni_captioner.ipynb, cells 5 to 7
WITHOUT_PROMPT = ("audio-visual-interaction", "audio-visual-dialogue", "audio-function-call", "captioner")
# README.md, "Prompt for Audio-Visual Interaction": user_system_prompt, and the f-string behind it
CHARACTER = "You are Qwen-Omni, a smart voice assistant created by Alibaba Qwen."
MANNERS = " You are a virtual voice assistant with no gender or age.\nYou are communicating with the user.\nIn user messages, “I/me/my/we/our” refer to the user and “you/your” refer to the assistant. In your replies, address the user as “you/your” and yourself as “I/me/my”; never mirror the user’s pronouns—always shift perspective. Keep original pronouns only in direct quotes; if a reference is unclear, ask a brief clarifying question.\nInteract with users using short(no more than 50 words), brief, straightforward language, maintaining a natural tone.\nNever use formal phrasing, mechanical expressions, bullet points, overly structured language. \nYour output must consist only of the spoken content you want the user to hear. \nDo not include any descriptions of actions, emotions, sounds, or voice changes. \nDo not use asterisks, brackets, parentheses, or any other symbols to indicate tone or actions. \nYou must answer users' audio or text questions, do not directly describe the video content. \nYou should communicate in the same language strictly as the user unless they request otherwise.\nWhen you are uncertain (e.g., you can't see/hear clearly, don't understand, or the user makes a comment rather than asking a question), use appropriate questions to guide the user to continue the conversation.\nKeep replies concise and conversational, as if talking face-to-face."  # noqa: E501


@pytest.mark.parametrize(("name", "asked", "text", "source"), DOCUMENTED)
def test_a_prompt_is_the_documents(name, asked, text, source):
    task = get_task(name)
    if isinstance(asked, int):  # one of the further prompts, which `ms-omni tasks` shows
        assert (task.prompts[asked].text, task.prompts[asked].source) == (text, source)
        return
    assert task.prompt(**asked) == text
    assert source in {prompt.source for prompt in task.prompts if prompt.text == text or "{" in prompt.text}


def test_no_other_prompt_is_said_to_be_a_documents():
    known = {text for _, _, text, _ in DOCUMENTED}
    for task in TASKS.values():
        for prompt in task.prompts:
            words = {"language": "English", "target_language": "Chinese", "text": "bird"}
            filled = prompt.text.format(**{key: value for key, value in words.items() if prompt.takes(key)})
            assert (filled in known) == (prompt.source != OURS), prompt


def test_our_own_prompts_are_those_for_an_unknown_language():
    ours = {task.name: prompt.text for task in TASKS.values() for prompt in task.prompts if prompt.source == OURS}
    assert set(ours) == {"speech-recognition", "speech-translation"}
    assert get_task("speech-recognition").prompt() == "Transcribe the audio."
    expected = "Listen to the provided speech and produce a translation in French text."
    assert get_task("speech-translation").prompt(target_language="fr") == expected


def test_tasks_without_prompt_ask_nothing_beside_the_medium():
    silent = [task.name for task in TASKS.values() if not task.prompts and task.question != "required"]
    assert tuple(silent) == WITHOUT_PROMPT and all(get_task(name).prompt() == "" for name in silent)


def test_questions_of_the_documents_are_asked_as_they_are():
    assert {task.name: task.example for task in TASKS.values() if task.question == "required"} == {
        name: text for name, (text, _) in EXAMPLES.items()
    }
    for name in EXAMPLES.keys() - {"object-grounding"}:
        assert get_task(name).prompt(text="Why? Why not.") == "Why? Why not."


def test_the_recommended_system_prompt():
    assert interaction_system() == CHARACTER + MANNERS
    assert interaction_system("Be a pirate.") == "Be a pirate." + MANNERS
    with_system = {task.name: task.system for task in TASKS.values() if task.system is not None}
    both = ("audio-visual-interaction", "audio-visual-dialogue")
    assert with_system == dict.fromkeys(both, CHARACTER + MANNERS)
    assert all(get_task(name).system_source == 'README.md, "Prompt for Audio-Visual Interaction"' for name in both)


def test_every_notebook_of_the_documents_has_its_task():
    # README.md, "Cookbooks for Usage Cases"
    notebooks = [
        "speech_recognition", "speech_translation", "music_analysis", "sound_analysis", "audio_caption",
        "mixed_audio_analysis", "ocr", "object_grounding", "image_question", "image_math", "video_description",
        "video_navigation", "video_scene_transition", "audio_visual_question", "audio_visual_interaction",
        "audio_visual_dialogue", "audio_function_call", "omni_captioner",
    ]  # fmt: skip
    sources = {task.source for task in TASKS.values()} - {'README.md, "Setting for Evaluation"'}
    assert sources == {f"cookbooks/{name}.ipynb" for name in notebooks} and len(notebooks) == 18


def test_the_languages_are_the_documents():
    # README.md, "Introduction", "Multilingual"
    heard = (
        "English, Chinese, Korean, Japanese, German, Russian, Italian, French, Spanish, Portuguese, Malay, Dutch, "
        "Indonesian, Turkish, Vietnamese, Cantonese, Arabic, Urdu"
    )
    spoken = "English, Chinese, French, German, Russian, Italian, Spanish, Portuguese, Japanese, Korean"
    assert ", ".join(LANGUAGES.values()) == heard and ", ".join(SPOKEN) == spoken


def test_sound_of_videos_is_heard_where_the_notebooks_hear_it():
    # USE_AUDIO_IN_VIDEO of each notebook with videos
    hears = {task.name: task.use_audio_in_video for task in TASKS.values() if "video" in task.media}
    assert hears == {
        "video-description": False,
        "video-navigation": False,
        "video-scene-transition": False,
        "audio-visual-question": True,
        "audio-visual-interaction": True,
        "audio-visual-dialogue": True,
    }
