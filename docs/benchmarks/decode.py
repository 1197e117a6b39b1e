"""Measures decoding side by side: the fused engine, mindone's generate, and transformers on torch, on one machine.

    python docs/benchmarks/decode.py [--model DIR | --preset tiny|bench] [--tokens N] [--frames N] [--rounds N]
        [--quick]
    python docs/benchmarks/decode.py --bars [--model DIR] [--rounds N]

float32, batch 1, greedy, after a warm-up of the same lengths. In every round the engines take turns, so that whatever
else the machine does falls on all of them; ratios are taken within a round. Prefill is left out: the clock runs from
one new token (or frame) to the next, each on the host before its clock stops. Both MindSpore engines share this
process. transformers runs in a second one, with the Python that the environment variable MS_OMNI_REFERENCE_PYTHON names
(tests/live/requirements.txt); without it, it is left out. Every side may use all cores. Last line: one JSON document.

--bars measures whole answers instead, of the fused engine and transformers as `ms-omni profile` does: how many times as
fast each stage is as transformers', beside what it shall be at least.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from ms_omni.profiling import environment
from ms_omni.profiling.environment import versions

PROMPT = "Please tell me, slowly and in many words, what there is to see and to hear on a walk through an old harbour."
ANSWER_TOKENS = 100
STAGES = {"thinker": "tokens", "talker": "frames"}
# What --bars asks, of media as a user has them: all but the first for their encoders and prompts.
ASKED: dict[str, dict[str, Any]] = {
    "spoken answer": {"text": PROMPT, "thinker_max_new_tokens": 17, "talker_max_new_tokens": 9},
    "picture, 1 megapixel": {"image_pixels": (1152, 864)},
    "sound, 30 s": {"audio_seconds": 30.0},
    "film, 10 s with sound": {"video_seconds": 10.0, "use_audio_in_video": True},
}
# Of which: a figure of ms-omni profile or a stage, and how many times as fast as transformers it shall be
BARS = {
    "spoken answer": {
        "thinker_prefill": 1.0, "talker_prefill": 1.0, "code2wav": 0.7, "wall_s": 1.5, "ttft_s": 1.0,
        "first_audio_s": 2.0,
    },
    **{case: {"encoders": 1.0, "thinker_prefill": 1.0} for case in list(ASKED)[1:]},
}  # fmt: skip
Event = tuple[str, int, float]  # stage, how many it has made, seconds


def intervals(events: list[Event], stage: str) -> list[tuple[int, float]]:
    """(made, seconds) between events of `stage` that no other stage's event separates."""
    return [(b[1] - a[1], b[2] - a[2]) for a, b in pairwise(events) if a[0] == b[0] == stage and b[1] > a[1]]


def seconds_each(events: list[Event], stage: str) -> float:
    """Seconds for one token or frame, over all of a run but the first, which is the prefill's."""
    made = intervals(events, stage)
    return sum(seconds for _, seconds in made) / sum(count for count, _ in made)


def longest(events: list[Event], stage: str) -> float:
    """Seconds of the longest wait for an event of `stage`, whatever came before: in a first run, the compilation."""
    return max(b[2] - a[2] for a, b in pairwise(events) if b[0] == stage)


def spread(values: list[float]) -> dict[str, Any]:
    """Least, middle and largest of some measurements, and all of them."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "values": values}


class MindSporeSide:
    """One of our engines. `run` returns the events of one answer, its ids or its codes."""

    def __init__(self, directory: Path, engine: str):
        from ms_omni import OmniEngine

        self.engine = OmniEngine.from_pretrained(directory, engine=engine, device="CPU", dtype="float32")

    def run(self, stage: str, count: int) -> tuple[list[Event], list[Any]]:
        """Makes `count` tokens, or frames."""
        from ms_omni import SamplingParams

        events: list[Event] = []
        speak = stage == "talker"
        sampling = SamplingParams(
            thinker_max_new_tokens=8 if speak else count, talker_max_new_tokens=count + 1, thinker_temperature=0.0,
            talker_temperature=0.0, ignore_eos=True,
        )  # fmt: skip
        out = self.engine.generate(
            [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}],
            return_audio=speak,
            sampling=sampling,
            progress=lambda name, done, _: events.append((name, done, time.perf_counter())),
        )
        self.prompt_tokens = out.usage.prompt_tokens
        return events, out.audio.codes.T.tolist() if speak else list(out.token_ids)

    def first_audio(self) -> dict[str, float]:
        """Seconds from the question to the first text, the first audio and the last text of an answer of
        ANSWER_TOKENS tokens that is spoken as it comes."""
        from ms_omni import AudioChunk, SamplingParams, TextDelta

        sampling = SamplingParams(
            thinker_max_new_tokens=ANSWER_TOKENS, talker_max_new_tokens=ANSWER_TOKENS, thinker_temperature=0.0,
            talker_temperature=0.0, ignore_eos=True,
        )  # fmt: skip
        seconds: dict[str, float] = {}
        start = time.perf_counter()
        conversation = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
        for chunk in self.engine.stream(conversation, return_audio=True, sampling=sampling):
            now = time.perf_counter() - start
            if isinstance(chunk, TextDelta):
                seconds.setdefault("first_text_s", now)
                seconds["last_text_s"] = now
            elif isinstance(chunk, AudioChunk):
                seconds.setdefault("first_audio_s", now)
        return seconds

    def prompt_ids(self) -> list[int]:
        """What both sides are asked."""
        conversation = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
        return self.engine.processor.prepare(conversation).arrays["input_ids"][0].tolist()


class TransformersSide:
    """transformers in a second process, which answers one JSON line with another."""

    def __init__(self, python: str, directory: Path, prompt_ids: list[int]):
        script = Path(__file__).with_name("transformers_side.py")
        self._process = subprocess.Popen(
            [python, str(script), str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = self._ask({"prompt_ids": prompt_ids})

    def run(self, stage: str, count: int) -> tuple[list[Event], list[Any]]:
        """As MindSporeSide."""
        answer = self._ask({"stage": stage, "count": count})
        return [tuple(event) for event in answer["events"]], answer["made"]

    def batch(self, prompts: list[list[int]], count: int) -> tuple[list[float], list[list[int]]]:
        """Answers of `count` tokens to all prompts in one batch: when each step had its tokens, and the ids."""
        answer = self._ask({"prompts": prompts, "count": count})
        return answer["seconds"], answer["made"]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the transformers process ended with code {self._process.wait()}")
        return json.loads(line)


def measure(sides: dict[str, Any], counts: dict[str, int], rounds: int) -> tuple[dict[str, Any], dict[str, bool]]:
    """Per side and stage the first run's longest interval, and the seconds a token or frame of every round; and
    whether a stage made the same on all sides."""
    results: dict[str, Any] = {name: {stage: {} for stage in STAGES} for name in sides}
    same = {}
    for stage, count in counts.items():
        made = {}
        for name, side in sides.items():
            events, made[name] = side.run(stage, count)
            results[name][stage] = {"first_call_s": longest(events, stage), "each_s": []}
        same[stage] = all(one == made["fused"] for one in made.values())
        for _ in range(rounds):
            for name, side in sides.items():
                events, _made = side.run(stage, count)
                steady = statistics.median(seconds for _, seconds in intervals(events, stage))
                results[name][stage]["each_s"].append(seconds_each(events, stage))
                results[name][stage]["steady_call_s"] = steady
    return results, same


def document(results: dict[str, Any], same: dict[str, bool]) -> dict[str, Any]:
    """What the JSON line says of the measurements."""
    engines: dict[str, Any] = {}
    for name, stages in results.items():
        thinker, talker = stages["thinker"]["each_s"], stages["talker"]["each_s"]
        engines[name] = {
            "thinker_ms_per_token": spread([1e3 * s for s in thinker]),
            "thinker_tokens_per_s": spread([1 / s for s in thinker]),
            "talker_ms_per_frame": spread([1e3 * s for s in talker]),
            "talker_frames_per_s": spread([1 / s for s in talker]),
        }
    fused = results["fused"]
    compile_s = {stage: max(0.0, fused[stage]["first_call_s"] - fused[stage]["steady_call_s"]) for stage in STAGES}
    ratios = {
        f"fused/{name}": {
            stage: spread([a / b for a, b in zip(results[name][stage]["each_s"], fused[stage]["each_s"], strict=True)])
            for stage in STAGES
        }
        for name in results
        if name != "fused"
    }
    return {"engines": engines, "compile_s": compile_s, "ratios": ratios, "same_on_all_sides": same}


def measure_bars(directory: Path, python: str, rounds: int) -> dict[str, Any]:
    """Of every one of BARS the spread of the ratio within each round, the seconds of both, and whether it is reached;
    and whether the answers were the same."""
    from ms_omni import SamplingParams
    from ms_omni.config import EngineConfig
    from ms_omni.profiling.measure import Measurement
    from ms_omni.profiling.sides import EngineSide
    from ms_omni.profiling.synthetic_media import MediaMaker
    from ms_omni.profiling.task import TaskSettings, fixed_sampling, make_task
    from ms_omni.profiling.transformers_side import TransformersSide as Answering
    from ms_omni.profiling.workload import Recipe

    greedy = SamplingParams(thinker_temperature=0.0, talker_temperature=0.0, ignore_eos=True)
    found, same = dict[str, Any](), {}
    ours = EngineSide("fused", EngineConfig(str(directory), engine="fused", device="CPU", dtype="float32"))
    sides = [ours, Answering("transformers", python, directory)]
    settings = TaskSettings(fixed_sampling(greedy, ours.engine.generation_config))
    with tempfile.TemporaryDirectory() as media:
        for case, asked in ASKED.items():
            listening = {"speech": case == "spoken answer", "thinker_max_new_tokens": 1}
            task = make_task(Recipe(case, case, **listening | asked), settings, MediaMaker(media), len)
            both = Measurement(sides, task, rounds).run().runs
            same[case] = len({run.answer_digest for run in both}) == 1
            for name, bar in BARS[case].items():
                mine, other = ([_seconds(repeat, name) for repeat in run.repeats] for run in both)
                ratio = spread([b / a for a, b in zip(mine, other, strict=True)])
                found[f"{case}: {name}"] = {
                    "bar": bar, "reached": ratio["median"] >= bar, "ratio": ratio, "fused_s": spread(mine),
                    "transformers_s": spread(other),
                }  # fmt: skip
    return {"versions": versions() | sides[1].about.versions, "bars": found, "same_on_all_sides": same}


def _seconds(repeat: Any, name: str) -> float:
    return repeat.figures[name] if name in repeat.figures else repeat.stages_s[name]


def report_bars(result: dict[str, Any]) -> None:
    """For people."""
    print_about(result)
    print(f"same on all sides: {result['same_on_all_sides']}")
    print("| | fused, s | transformers, s | times as fast | bar |\n|---|---|---|---|---|")
    for name, each in result["bars"].items():
        ours, theirs, ratio = each["fused_s"], each["transformers_s"], each["ratio"]
        reached = "reached" if each["reached"] else "not reached"
        print(
            f"| {name} | {ours['median']:.3f} | {theirs['median']:.3f} | {ratio['median']:.2f} ({ratio['min']:.2f} to "
            f"{ratio['max']:.2f}) | {each['bar']:.1f}, {reached} |"
        )


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load average, threads."""
    return environment.machine("CPU", 1).model_dump() | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}


def about(directory: Path) -> dict[str, Any]:
    """What the figures of a checkpoint depend on."""
    return {"versions": versions(), "machine": machine(), "config": environment.model(directory).config}


def print_about(result: dict[str, Any]) -> None:
    """For people."""
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, load {result['load_average']}")
    print(f"{result['versions']}\n{result['run']}")


def report(result: dict[str, Any]) -> None:
    """For people."""
    print_about(result)
    print(f"same on all sides: {result['same_on_all_sides']}")
    for name, values in result["engines"].items():
        for key, value in values.items():
            print(f"{name:13} {key:22} {value['median']:9.2f}  ({value['min']:.2f} to {value['max']:.2f})")
    for stage, seconds in result["compile_s"].items():
        print(f"fused         {stage} graph compiles in {seconds:.1f} s")
    for name, value in result["streaming"].items():
        print(f"fused         {name:22} {value['median']:9.2f}  ({value['min']:.2f} to {value['max']:.2f})")
    for name, stages in result["ratios"].items():
        for stage, value in stages.items():
            print(f"{name:20} {stage:8} {value['median']:6.2f} times  ({value['min']:.2f} to {value['max']:.2f})")


def checkpoint(arguments: argparse.Namespace) -> Path:
    """--model, or a checkpoint of the preset, kept between runs."""
    if arguments.model:
        return Path(arguments.model)
    directory = Path(tempfile.gettempdir()) / f"ms-omni-{arguments.preset}"
    if not (directory / "config.json").exists():
        from ms_omni.checkpoint.tiny import write_tiny

        write_tiny(directory, preset=arguments.preset)
    return directory


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a checkpoint directory instead of a random one")
    parser.add_argument("--preset", default="bench", choices=("tiny", "bench"))
    parser.add_argument("--tokens", type=int, default=65)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bars", action="store_true", help="the stages of whole answers, beside transformers")
    parser.add_argument("--quick", action="store_true", help="preset tiny, few tokens, one round: only to try it")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.preset, arguments.tokens, arguments.frames, arguments.rounds = "tiny", 9, 3, 1
    return arguments


def bars(arguments: argparse.Namespace, directory: Path, load_before: tuple[float, ...]) -> None:
    python = os.environ.get("MS_OMNI_REFERENCE_PYTHON")
    if not python:
        raise SystemExit("--bars: MS_OMNI_REFERENCE_PYTHON names no Python with torch and transformers")
    result = {**about(directory), "run": {"rounds": arguments.rounds}}
    result |= measure_bars(directory, python, arguments.rounds)
    result["load_average"] = [round(x, 2) for x in (*load_before, *os.getloadavg())]
    report_bars(result)
    print(json.dumps(result))


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    directory = checkpoint(arguments)
    load_before = os.getloadavg()
    if arguments.bars:
        bars(arguments, directory, load_before)
        return
    sides: dict[str, Any] = {name: MindSporeSide(directory, name) for name in ("mindone", "fused")}
    result = about(directory)
    python = os.environ.get("MS_OMNI_REFERENCE_PYTHON")
    if python:
        sides["transformers"] = TransformersSide(python, directory, sides["fused"].prompt_ids())
        result["versions"] |= sides["transformers"].about
    counts = {"thinker": arguments.tokens, "talker": arguments.frames}
    results, same = measure(sides, counts, arguments.rounds)
    result |= document(results, same)
    sides["fused"].first_audio()  # the streamed pieces have shapes of their own
    streamed = [sides["fused"].first_audio() for _ in range(arguments.rounds)]
    result["streaming"] = {name: spread([times[name] for times in streamed]) for name in streamed[0]}
    result["run"] = {
        "command": "python docs/benchmarks/decode.py " + " ".join(sys.argv[1:] if argv is None else argv),
        "preset": None if arguments.model else arguments.preset,
        "prompt_tokens": sides["fused"].prompt_tokens,
        "rounds": arguments.rounds,
        "dtype": "float32",
        "batch": 1,
        **counts,
    }
    result["load_average"] = [round(x, 2) for x in (*load_before, *os.getloadavg())]
    report(result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
