"""Run over emulated operators: answers of the fused engine in half precision.

    python half_answers.py DTYPE OUT.json references NAME...  of the random checkpoints: "checkpoint-case"
    python half_answers.py DTYPE OUT.json held_out NUMBER...  of tests/tiny/held_out.json, text
    python half_answers.py DTYPE OUT.json speech NUMBER...    of the same, spoken, and what the model hears of it

references: whenever a choice differs from the recorded one, the conversation is answered again with all choices up to
it forced (`forced.py`). So every choice is made with the CPU's past, and all that differ are found. OUT gets, by name,
"different": [stage, place, recorded id, id] and "finish" reasons.
OUT is written after every conversation: what was interrupted goes on where it stopped. DTYPE float32 runs on the CPU.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "reference"), str(HERE.parents[1] / "docs" / "tiny")]
import forced  # noqa: E402
from half_cases import decisions, held_out_cases, name_of  # noqa: E402
from reference_cases import CASES, FOLDERS, Case, located  # noqa: E402
from reference_checkpoints import build_checkpoint  # noqa: E402

from ms_omni import OmniEngine, SamplingParams  # noqa: E402

MOST_ANSWERS = 200  # of one conversation: each finds one more choice that differs
Document = dict[str, Any]


def engine_of(directory: Path, dtype: str, **pixels: int) -> OmniEngine:
    device = "CPU" if dtype == "float32" else "Ascend"
    return OmniEngine.from_pretrained(directory, engine="fused", device=device, dtype=dtype, **pixels)


def recorded_choices(name: str, num_groups: int) -> tuple[list[int], dict[int, int]]:
    """The Thinker's ids, and the Talker's and code predictor's by their place in `forced.say`."""
    stages = decisions()[name]
    talker: dict[int, int] = {}
    if "talker" in stages:
        first, frames = stages["talker"][0]["ids"], stages["predictor"]
        talker = {forced.talker_place(frame, 0, num_groups): token for frame, token in enumerate(first)}
        for frame, call in enumerate(frames):
            talker |= {forced.talker_place(frame, i, num_groups): code for i, code in enumerate(call["ids"], start=1)}
    return stages["thinker"][0]["ids"], talker


def made_choices(out: Any, eos: int | None) -> tuple[list[int], dict[int, int]]:
    """As `recorded_choices`, of an answer. The Talker's last token makes no frame: it is known only if it is `eos`."""
    talker: dict[int, int] = {}
    if out.audio is not None:
        num_groups, num_frames = out.audio.codes.shape
        for frame in range(num_frames):
            for code, value in enumerate(out.audio.codes[:, frame].tolist()):
                talker[forced.talker_place(frame, code, num_groups)] = value
        if out.audio.finish_reason == "stop":
            talker[forced.talker_place(num_frames, 0, num_groups)] = eos or 0
    return list(out.token_ids), talker


def answer_reference(engine: OmniEngine, case: Case) -> Document:
    num_groups = engine.config.talker_config.num_code_groups
    thinker, talker = recorded_choices(name_of(case), num_groups)
    sampling = SamplingParams(
        thinker_temperature=0.0, talker_temperature=0.0,
        thinker_max_new_tokens=case.thinker_max_new_tokens, talker_max_new_tokens=case.talker_max_new_tokens,
    )  # fmt: skip
    different: list[list[Any]] = []
    turns = {"thinker": lambda place: place, "talker": lambda place: forced.talker_turn(place, num_groups)}
    say: dict[str, dict[int, int]] = {"thinker": {}, "talker": {}}
    for _ in range(MOST_ANSWERS):
        forced.say(say["thinker"], say["talker"])
        out = engine.generate(
            located(case.conversation), return_audio=case.speak, speaker=case.speaker if case.speak else None,
            use_audio_in_video=case.use_audio_in_video, fps=case.fps, sampling=sampling,
        )  # fmt: skip
        ids, codes = made_choices(out, engine.config.talker_config.codec_eos_token_id)
        found = first_difference("thinker", dict(enumerate(thinker)), dict(enumerate(ids)), turns["thinker"])
        known = {place: talker[place] for place in codes if place in talker}
        found = found or first_difference("talker", known, codes, turns["talker"])
        if found is None:
            break
        different.append(found)
        stage, place = found[0], found[1]
        recorded = dict(enumerate(thinker)) if stage == "thinker" else talker
        # A choice that was the same stays so only while nothing before it changes: all up to here are forced
        turn = turns[stage]
        say[stage] |= {i: token for i, token in recorded.items() if turn(i) <= turn(place)}
    reasons = [out.finish_reason, *([out.audio.finish_reason] if out.audio else [])]
    frames = 0 if out.audio is None else int(out.audio.codes.shape[1])
    return {
        "different": different,
        "answers": len(different) + 1,
        "finish": reasons,
        "tokens": len(ids),
        "frames": frames,
    }


def first_difference(
    stage: str, recorded: dict[int, int], made: dict[int, int], turn: Callable[[int], Any]
) -> list[Any] | None:
    """The first in time, by `turn` of a place: what is chosen later has it behind it."""
    for place in sorted(recorded, key=turn):
        if made.get(place) != recorded[place]:
            return [stage, place, recorded[place], made.get(place)]
    return None


def greedy() -> SamplingParams:
    return SamplingParams(
        thinker_temperature=0.0, thinker_max_new_tokens=96, talker_temperature=0.0, talker_repetition_penalty=1.0,
        talker_max_new_tokens=300,
    )  # fmt: skip


def answer_held_out(engine: OmniEngine, case: Document) -> Document:
    out = engine.generate(
        case["conversation"], return_audio=False, use_audio_in_video=case["use_audio_in_video"], sampling=greedy()
    )
    return {"text": out.text, "tokens": len(out.token_ids), "prompt": out.usage.prompt_tokens}


def speak(engine: OmniEngine, case: Document, speaker: str, scratch: Path) -> Document:
    """Says the answer, and asks the model what was said."""
    import soundfile
    from bank import spoken_form
    from own_ears import PREFIX, word_errors

    said = engine.generate(
        case["conversation"], return_audio=True, speaker=speaker, use_audio_in_video=case["use_audio_in_video"],
        sampling=greedy(),
    )  # fmt: skip
    path = scratch / "said.wav"
    soundfile.write(path, said.audio.samples, 24_000)
    parts = [{"type": "audio", "audio": str(path)}, {"type": "text", "text": "What is said?"}]
    heard = engine.generate([{"role": "user", "content": parts}], return_audio=False, sampling=greedy())
    words = spoken_form(said.text).split()
    errors = word_errors(words, spoken_form(heard.text).removeprefix(PREFIX).split())
    return {
        "said": said.text,
        "heard": heard.text,
        "words": len(words),
        "errors": errors,
        "frames": int(said.audio.codes.shape[1]),
        "rms": float(np.sqrt(np.mean(np.square(said.audio.samples)))),
    }


def main(dtype: str, out: str, what: str, names: list[str]) -> None:
    path = Path(out)
    document: Document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def note(name: str, work: Callable[[], Document]) -> None:
        start = time.perf_counter()
        document[name] = work()
        document[name]["seconds"] = round(time.perf_counter() - start, 1)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(what, name, document[name], flush=True)

    left = [name for name in names if name not in document]
    with tempfile.TemporaryDirectory() as scratch:
        if what == "references":
            forced.install()
            wanted = sorted(
                (case for case in CASES if name_of(case) in left), key=lambda c: (c.checkpoint, sorted(c.pixels))
            )
            current: dict[Any, OmniEngine] = {}
            for case in wanted:
                key = (case.checkpoint, *sorted(case.pixels))
                if key not in current:
                    current.clear()
                    directory = Path(scratch) / case.checkpoint
                    if not directory.exists():
                        build_checkpoint(case.checkpoint, directory)
                    current[key] = engine_of(directory, dtype, **case.pixels)
                note(name_of(case), partial(answer_reference, current[key], case))
            return
        engine, cases = engine_of(FOLDERS["assets"] / "tiny", dtype), held_out_cases()
        for name in left:
            case = cases[int(name)]
            if what == "held_out":
                note(name, partial(answer_held_out, engine, case))
            else:
                speaker = ("ethan", "chelsie")[int(name) % 2]
                note(name, partial(speak, engine, case, speaker, Path(scratch)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
