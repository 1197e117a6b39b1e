"""Writes held-out conversations with their media as files: pictures and videos drawn with Pillow, voices and unrelated
questions that training never had.

    python docs/tiny/held_out.py DIR --bank HELD_OUT_BANK [--each 40] [--seed 77]
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from dialogue import AudioVideo, Dialogue
from dialogues import SKILLS, Dialogues
from draw import write_picture, write_sound, write_video
from scenes import Scene
from sounds import Bank, Clip


def is_mixed(dialogue: Dialogue) -> bool:
    """Whether it holds videos with and without sound: one switch (use_audio_in_video) serves the whole conversation."""
    media = [medium for turn in dialogue.turns for medium in turn.media]
    silent = any(isinstance(medium, Scene) and medium.seconds for medium in media)
    return silent and any(isinstance(medium, AudioVideo) for medium in media)


def write_dialogue(folder: Path, name: str, dialogue: Dialogue) -> dict[str, Any]:
    """The media of one dialogue, and what the manifest says of it. Paths are relative to the folder."""
    conversation: list[dict[str, Any]] = []
    if dialogue.system:
        conversation.append({"role": "system", "content": [{"type": "text", "text": dialogue.system}]})
    number, with_sound = 0, False
    for turn in dialogue.turns:
        parts: list[dict[str, str]] = []
        for medium in turn.media:
            number += 1
            stem = f"{name}_{number}"
            if isinstance(medium, AudioVideo):
                write_video(folder / f"{stem}.mp4", medium.scene, medium.clip, fps=8)
                parts.append({"type": "video", "video": f"{stem}.mp4"})
                with_sound = True
            elif isinstance(medium, Clip):
                write_sound(folder / f"{stem}.wav", medium)
                parts.append({"type": "audio", "audio": f"{stem}.wav"})
            elif medium.seconds:
                write_video(folder / f"{stem}.mp4", medium, fps=8)
                parts.append({"type": "video", "video": f"{stem}.mp4"})
            else:
                write_picture(folder / f"{stem}.png", medium)
                parts.append({"type": "image", "image": f"{stem}.png"})
        if turn.question:
            parts.append({"type": "text", "text": turn.question})
        conversation.append({"role": "user", "content": parts})
        conversation.append({"role": "assistant", "content": [{"type": "text", "text": turn.answer}]})
    conversation.pop()
    answer = dialogue.turns[-1].answer
    return {"skill": dialogue.skill, "conversation": conversation, "answer": answer, "use_audio_in_video": with_sound}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bank", type=Path, required=True)
    parser.add_argument("--own-voice", type=Path)
    parser.add_argument("--each", type=int, default=40, help="conversations of each skill")
    parser.add_argument("--skills", nargs="*", default=list(SKILLS))
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    manifest = []
    for skill in options.skills:
        rng = random.Random(f"{options.seed}-{skill}")
        dialogues = Dialogues(Bank(options.bank, options.own_voice), rng, held_out=True)
        while sum(item["skill"] == skill for item in manifest) < options.each:
            dialogue = dialogues.draw(skill)
            if not is_mixed(dialogue):
                name = f"{skill}_{sum(item['skill'] == skill for item in manifest)}"
                manifest.append(write_dialogue(options.folder, name, dialogue))
    (options.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
