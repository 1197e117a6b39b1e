"""transformers on torch as a side of a comparison: a second process answers prompts that this one has prepared."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.errors import OmniError
from ms_omni.inputs.processor import PreparedInputs
from ms_omni.profiling.clock import WALL, StageClock
from ms_omni.profiling.document import Span
from ms_omni.profiling.measured import Measured, answer_digest, one_after_the_other
from ms_omni.profiling.rank_group import RankGroup
from ms_omni.profiling.sides import About
from ms_omni.profiling.task import Task
from ms_omni.stages import stage

PROGRAM = Path(__file__).with_name("transformers_reference") / "process.py"
_NOTES = (
    "media and processor: this package's own, before transformers is asked",
    "peak_host_bytes: of the process since it began, loading included",
    "patched where transformers is wrong or random (transformers_reference/torch_patches.py)",
)


class TransformersSide:
    """A sides.Side. Use `close()` at the end."""

    def __init__(self, name: str, python: str, directory: Path, limits: Mapping[str, Any] | None = None):
        """python: a Python with torch and transformers. limits: min_pixels, max_pixels of the processor. Raises
        OmniError if the process does not start."""
        from ms_omni.inputs.processor import InputProcessor
        from ms_omni.kernels import setup_device

        setup_device("CPU")
        self.name, self.rank_group = name, RankGroup()
        self._processor = InputProcessor.from_pretrained(directory, **(limits or {}))
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by close()
        self._process = subprocess.Popen(
            [python, str(PROGRAM), str(directory)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
            start_new_session=True,  # Ctrl-C is this process's to answer; the other one ends with its stdin
        )  # fmt: skip
        first = self._receive()
        load_s, versions = first["load_s"], first["versions"]
        self.about = About("transformers", "none", 1, 1, "sdpa", "float32", load_s, _NOTES, versions=versions)

    def answer(self, task: Task) -> Measured:
        """As sides.Side, one conversation after the other. Reading media and preparing inputs, which this process does,
        count as they do for the other sides."""
        return one_after_the_other([self._answer(question) for question in task.questions])

    def _answer(self, task: Task) -> Measured:
        clock = StageClock(time.perf_counter, lambda: None)
        prepared = clock.watch(lambda: self._prepare(task))
        prepare_s = clock.stop()
        reply = self._ask(task, prepared.arrays)
        spans = [Span(stage=name, start_s=a, end_s=b, depth=depth) for name, a, b, depth in reply["spans"]]
        stages_s = {stage: seconds for stage, seconds in clock.own_s.items() if stage != WALL} | own_seconds(spans)
        return Measured(
            wall_s=prepare_s + reply["wall_s"],
            stages_s=stages_s,
            marks={name: [(at + prepare_s, count) for at, count in marks] for name, marks in reply["marks"].items()},
            prompt=prepared.usage_counts,
            spans=[*clock.spans, *(span.later(prepare_s) for span in spans)],
            num_code_groups=len(reply["codes"] or ()),
            digest=answer_digest(reply["ids"], reply["codes"]),
            peak_host_bytes=reply["peak_host_bytes"],
        )

    def predictor_share(self, task: Task, measured: Measured) -> float | None:
        """As sides.Side: None, since the code predictor is a stage here."""
        return None

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _prepare(self, task: Task) -> PreparedInputs:
        """In the stages of an engine."""
        with stage("processor"):
            return self._processor.prepare(task.conversation, use_audio_in_video=task.use_audio_in_video, fps=task.fps)

    def _ask(self, task: Task, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        sampling = task.sampling
        options: dict[str, Any] = {
            "use_audio_in_video": task.use_audio_in_video,
            "thinker_max_new_tokens": sampling.thinker_max_new_tokens,
        }
        if sampling.thinker_repetition_penalty not in (None, 1.0):
            options["thinker_repetition_penalty"] = sampling.thinker_repetition_penalty
        if task.speech:
            options |= {"talker_max_new_tokens": sampling.talker_max_new_tokens, "speaker": task.speaker or "Ethan"}
            options["talker_repetition_penalty"] = sampling.talker_repetition_penalty
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            assert self._process.stdin
            question = {"arrays": file.name, "options": options, "speech": task.speech}
            try:
                self._process.stdin.write(json.dumps(question) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                pass  # _receive names the reason
            return self._receive()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if line:
            return dict(json.loads(line))
        code = self._process.wait()
        self._errors.seek(0)
        last = ([line for line in self._errors.read().splitlines() if line.strip()] or ["no message"])[-1]
        raise OmniError(f"--compare transformers: its process ended with exit code {code} ({last.strip()})")


def own_seconds(spans: Sequence[Span]) -> dict[str, float]:
    """The seconds of each stage without its directly nested spans."""
    own: dict[str, float] = {}
    for span in spans:
        inner = sum(
            other.end_s - other.start_s
            for other in spans
            if other.depth == span.depth + 1 and span.start_s <= other.start_s and other.end_s <= span.end_s
        )
        own[span.stage] = own.get(span.stage, 0.0) + span.end_s - span.start_s - inner
    return own
