"""Measures many conversations at once against the same ones one after the other, and against transformers' own batch.

    python docs/benchmarks/many_conversations.py [--model DIR | --preset tiny|bench] [--conversations 8] [--rounds N]
        [--tokens N] [--frames N] [--quick]

float32, greedy, on a CPU, after a warm-up. In every round all ways answer the same conversations in turns, so that
whatever else the machine does falls on all of them; ratios are taken within a round, and what they shall reach stands
beside them. Tokens and frames a second are of the stages that make them, answers a second of everything. transformers
answers in text alone, as one batch that is padded on the left, in a second process with the Python that the environment
variable MS_OMNI_REFERENCE_PYTHON names; without it, it is left out. Last line: one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from decode import PROMPT, TransformersSide, about, checkpoint, print_about, spread

from ms_omni import SamplingParams
from ms_omni.config import EngineConfig
from ms_omni.profiling.figures import figures
from ms_omni.profiling.measured import SAMPLES, Measured, one_after_the_other
from ms_omni.profiling.sides import EngineSide
from ms_omni.profiling.task import Task

TOGETHER, ALONE, TRANSFORMERS = "together", "one after the other", "transformers"
WHOLE_ANSWER = (17, 8)  # tokens and frames


@dataclass(frozen=True)
class Bar:
    """A ratio of `figure` between two ways of doing a task, and what it shall be."""

    task: str
    figure: str
    baseline: str
    least: float | None = None
    most: float | None = None

    @property
    def name(self) -> str:
        return f"{self.task}: {self.figure}, {TOGETHER} / {self.baseline}"


BARS = (
    Bar("text", "thinker_decode_tokens_per_s", ALONE, least=2.5),
    Bar("text", "answers_per_s", ALONE),
    Bar("text", "thinker_decode_tokens_per_s", TRANSFORMERS, least=2.0),
    Bar("speech", "talker_frames_per_s", ALONE, least=3.0),
    Bar("whole", "answers_per_s", ALONE, least=2.0),
    Bar("whole", "first_audio_s", ALONE, most=2.0),
)


def task_of(name: str, conversations: int, tokens: int, frames: int) -> Task:
    """As many conversations, whose words differ; to the maximum. frames: 0 for text alone."""
    sampling = SamplingParams(
        thinker_max_new_tokens=tokens, talker_max_new_tokens=max(2, frames + 1), thinker_temperature=0.0,
        talker_temperature=0.0, ignore_eos=True,
    )  # fmt: skip
    words = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    return Task(name, words, sampling, speech=frames > 0, batch_size=conversations)


def together(side: EngineSide, task: Task) -> tuple[dict[str, float], str]:
    """Figures, and the answers' digest."""
    measured = side.answer(task)
    return figures(measured), measured.digest


def one_by_one(side: EngineSide, task: Task) -> tuple[dict[str, float], str]:
    """The same questions, each asked when the one before is answered. Its times to something are those of a question
    that is asked alone."""
    answers = [side.answer(question) for question in task.questions]
    joined = one_after_the_other(answers)
    found = figures(joined)
    if firsts := [first for answer in answers if (first := _first_audio(answer)) is not None]:
        found["first_audio_s"] = statistics.median(firsts)
    return found, joined.digest


def _first_audio(answer: Measured) -> float | None:
    events = answer.marks.get(SAMPLES)
    return events[0][0] if events else None


class TransformersBatch:
    """transformers' `generate` of a batch, text alone."""

    def __init__(self, python: str, directory: Path, side: EngineSide, task: Task):
        processor = side.engine.processor
        self.prompts = [
            processor.prepare(question.conversation).arrays["input_ids"][0].tolist() for question in task.questions
        ]
        self._count = task.sampling.thinker_max_new_tokens
        self._side = TransformersSide(python, directory, self.prompts[0])
        self.about = self._side.about

    def answer(self) -> tuple[dict[str, float], list[list[int]]]:
        """Figures of the stages that our engine's are of, and the ids of each answer."""
        events, ids = self._side.batch(self.prompts, self._count)
        seconds = events[-1] - events[0]  # between the first and the last token of every answer
        return {"thinker_decode_tokens_per_s": (len(events) - 1) * len(self.prompts) / seconds}, ids


def measure(
    side: EngineSide, tasks: dict[str, Task], batch: TransformersBatch | None, rounds: int
) -> tuple[dict[str, dict[str, list[dict[str, float]]]], bool]:
    """By task and way, the figures of every round but the first; and whether all were answered alike both ways."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {} for name in tasks}
    same = True
    for number in range(rounds + 1):
        for name, task in tasks.items():
            made = {TOGETHER: together(side, task), ALONE: one_by_one(side, task)}
            same &= made[TOGETHER][1] == made[ALONE][1]
            told = {way: each for way, (each, _) in made.items()}
            if batch is not None and name == "text":
                told[TRANSFORMERS], _ = batch.answer()
            for way, each in told.items() if number else ():
                found[name].setdefault(way, []).append(each)
            done = f"round {number} of {rounds}" if number else "warm-up"
            print(f"{done}: {name}, {_in_words(told)}", file=sys.stderr, flush=True)
    return found, same


def _in_words(told: dict[str, dict[str, float]]) -> str:
    """Answers a second of each way that tells them."""
    return ", ".join(f"{each['answers_per_s']:.3f} answers/s {way}" for way, each in told.items() if "wall_s" in each)


def ratios(found: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, dict[str, Any]]:
    """Within each round, of what is measured."""
    result = {}
    for bar in BARS:
        ours, theirs = found[bar.task][TOGETHER], found[bar.task].get(bar.baseline)
        if theirs is None:
            continue
        values = [a[bar.figure] / b[bar.figure] for a, b in zip(ours, theirs, strict=True)]
        middle = statistics.median(values)
        reached = None
        if bar.least is not None or bar.most is not None:
            reached = (bar.least is None or middle >= bar.least) and (bar.most is None or middle <= bar.most)
        result[bar.name] = {**spread(values), "at_least": bar.least, "at_most": bar.most, "reached": reached}
    return result


def medians(found: dict[str, dict[str, list[dict[str, float]]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Of every figure that a way has in all rounds."""
    return {
        name: {
            way: {
                figure: statistics.median(each[figure] for each in rounds)
                for figure in rounds[0]
                if all(figure in each for each in rounds)
            }
            for way, rounds in ways.items()
        }
        for name, ways in found.items()
    }


def report(result: dict[str, Any]) -> None:
    """For people."""
    print_about(result)
    print(f"the same answers both ways: {result['same_answers']}")
    for name, ways in result["medians"].items():
        for way, each in ways.items():
            shown = (
                "thinker_decode_tokens_per_s",
                "talker_frames_per_s",
                "answers_per_s",
                "thinker_rows",
                "talker_rows",
            )
            words = ", ".join(f"{figure} {each[figure]:.2f}" for figure in shown if figure in each)
            print(f"{name:7} {way:20} {words}")
    for name, ratio in result["ratios"].items():
        wanted = f"at least {ratio['at_least']}" if ratio["at_least"] else ""
        wanted = f"at most {ratio['at_most']}" if ratio["at_most"] else wanted
        print(f"{name:75} {ratio['median']:6.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) {wanted}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint directory instead of a random one")
    parser.add_argument("--preset", default="bench", choices=("tiny", "bench"))
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=65, help="of an answer in text")
    parser.add_argument("--frames", type=int, default=25, help="of an answer whose speech is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="preset tiny, few of everything: only to try it")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.preset, arguments.conversations, arguments.rounds = "tiny", 3, 1
        arguments.tokens, arguments.frames = 9, 4
    return arguments


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    directory, load_before = checkpoint(arguments), os.getloadavg()
    count = arguments.conversations
    config = EngineConfig(model=str(directory), engine="fused", device="CPU", dtype="float32", max_num_seqs=count)
    side = EngineSide("fused", config)
    tasks = {
        "text": task_of("text", count, arguments.tokens, 0),
        "speech": task_of("speech", count, 8, arguments.frames),
        "whole": task_of("whole", count, *WHOLE_ANSWER),
    }
    result = about(directory)
    python, batch = os.environ.get("MS_OMNI_REFERENCE_PYTHON"), None
    if python:
        batch = TransformersBatch(python, directory, side, tasks["text"])
        result["versions"] |= batch.about
    found, same = measure(side, tasks, batch, arguments.rounds)
    result |= {"same_answers": same, "medians": medians(found), "ratios": ratios(found)}
    result["run"] = {
        "command": "python docs/benchmarks/many_conversations.py " + " ".join(sys.argv[1:] if argv is None else argv),
        "preset": None if arguments.model else arguments.preset,
        "conversations": count,
        "rounds": arguments.rounds,
        "tokens": arguments.tokens,
        "frames": arguments.frames,
        "whole_answer": WHOLE_ANSWER,
    }
    result["load_average"] = [round(x, 2) for x in (*load_before, *os.getloadavg())]
    report(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
