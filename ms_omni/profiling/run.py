"""The one loop of a profile, for Python and for the command: every workload in turn, answered by every side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from ms_omni.errors import OmniError
from ms_omni.profiling import environment
from ms_omni.profiling.document import Case, Profile, Skipped, Workload
from ms_omni.profiling.energy import EnergyMeter
from ms_omni.profiling.measure import Measurement
from ms_omni.profiling.sides import Side
from ms_omni.profiling.synthetic_media import MediaMaker
from ms_omni.profiling.task import Task, TaskSettings, make_task
from ms_omni.profiling.workload import Recipe
from ms_omni.scheduling.request import Progress

INTERRUPTED = "interrupted"


@dataclass
class ProfileRun:
    """What to measure, and with what. directory: the checkpoint.

    command: what the user typed. versions: further ones for the document. meter: of energy. progress: called with (case
    and side, answers done, answers in all). on_repeat: called with the profile so far, which is not complete, after
    every repeat. on_case: called with each task when all its answers are measured, and the sides that refused it."""

    sides: Sequence[Side]
    directory: Path
    recipes: Sequence[Recipe]
    settings: TaskSettings
    repeats: int
    warm_up: int
    command: list[str]
    versions: dict[str, str]
    meter: EnergyMeter | None = None
    progress: Progress | None = None
    on_repeat: Callable[[Profile], object] | None = None
    on_case: Callable[[Task, dict[str, str]], object] = lambda task, skipped: None

    def measure(self) -> tuple[Profile, KeyboardInterrupt | None]:
        """The profile, and what interrupted it. Raises OmniError when nothing could be measured, KeyboardInterrupt
        when nothing was finished."""
        self._header, self._cases, self._skipped = self._make_header(), dict[str, Case](), list[Skipped]()
        interrupt = None
        try:
            with tempfile.TemporaryDirectory(prefix="ms-omni-") as directory:
                media, count = MediaMaker(directory), _token_counter(self.directory)
                for recipe in self.recipes:
                    self._measure_task(make_task(recipe, self.settings, media, count))
        except KeyboardInterrupt as error:
            interrupt = error
        if not self._cases:
            raise interrupt or OmniError(self._skipped[0].reason)
        return self._profile(complete=interrupt is None), interrupt

    def _measure_task(self, task: Task) -> None:
        def repeat_done() -> None:
            self._cases[task.name] = _case(task, measurement)
            if self.on_repeat is not None:
                self.on_repeat(self._profile(complete=False))

        def progress(side: str, done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(f"{task.name}: {side}", done, total)

        measurement = Measurement(
            self.sides, task, self.repeats, self.warm_up, on_repeat=repeat_done, progress=progress, meter=self.meter
        )
        try:
            measurement.run()
        finally:
            refused = measurement.skipped
            sides = [None] if len(refused) == len(self.sides) else [*refused]
            self._skipped += [
                Skipped(workload=task.name, side=side, reason=refused[name])
                for side, name in zip(sides, refused, strict=False)
            ]
        self.on_case(task, refused)

    def _profile(self, complete: bool) -> Profile:
        caveats = self._header.caveats + ([] if complete else [INTERRUPTED])
        found = {"cases": list(self._cases.values()), "skipped": self._skipped[:]}
        return self._header.model_copy(update={**found, "complete": complete, "caveats": caveats})

    def _make_header(self) -> Profile:
        """All that does not depend on the measurements. Lengths of answers are each workload's own."""
        sampling = asdict(self.settings.sampling)
        devices = {side.about.device for side in self.sides}
        device = environment.device_name(next(iter(devices - {"CPU"}), "CPU"))
        model = environment.model(self.directory)
        versions = environment.versions()
        for side in self.sides:
            versions |= side.about.versions
        return Profile(
            made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            command=self.command,
            commit=environment.commit(),
            versions=versions | self.versions,
            machine=environment.machine(device, max(side.about.cards for side in self.sides)),
            model=model,
            sampling={name: value for name, value in sampling.items() if "max_new_tokens" not in name},
            repeats=self.repeats,
            warm_up=self.warm_up,
            complete=False,
            caveats=environment.caveats(device, model),
            cases=[],
        )


def _case(task: Task, measurement: Measurement) -> Case:
    """What is measured so far, at least one repeat."""
    prompt, sampling = measurement.prompt, task.sampling
    media = {f"{name}_tokens": prompt.get(f"{name}_tokens", 0) for name in ("image", "audio", "video")}
    workload = Workload(
        name=task.name,
        digest=task.digest,
        prompt_tokens=prompt["prompt_tokens"],
        text_tokens=prompt["prompt_tokens"] - sum(media.values()),
        **media,
        thinker_max_new_tokens=sampling.thinker_max_new_tokens or 0,
        talker_max_new_tokens=(sampling.talker_max_new_tokens or 0) if task.speech else 0,
        speech=task.speech,
        batch_size=task.batch_size,
        media=list(task.media),
    )
    return Case(workload=workload, runs=measurement.runs, ratios=measurement.ratios)


def _token_counter(directory: Path) -> Callable[[str], int]:
    from transformers import Qwen2TokenizerFast

    tokenizer = Qwen2TokenizerFast.from_pretrained(str(directory), local_files_only=True)
    return lambda text: len(tokenizer.encode(text))
