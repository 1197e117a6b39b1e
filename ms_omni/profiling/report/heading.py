"""What every report has beside the figures: the title with its caveats, and where the figures come from."""

from __future__ import annotations

import json
import shlex

from ms_omni.profiling.document import Case, Profile, Run
from ms_omni.profiling.report.values import number

_SHORT_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
BUSY = "others kept the machine's cores busy, so times may be too long"


def is_busy(profile: Profile) -> bool:
    """Whether the load average of the minute before was at least the number of cores."""
    load = profile.machine.load_average
    return bool(load) and load[0] >= profile.machine.cores


def caveats(profile: Profile) -> list[str]:
    """What the title must name: the document's caveats, and those that its content implies."""
    implied = (
        ("CPU", profile.machine.device == "CPU"),
        ("random weights", profile.model.weights == "random"),
        ("interrupted", not profile.complete),
    )
    found = [*profile.caveats, *(name for name, holds in implied if holds)]
    first = {text.casefold(): text for text in reversed(found)}
    return sorted(first.values(), key=lambda text: found.index(text))


def title(profile: Profile) -> str:
    """One line: the model, the device and the caveats."""
    warnings = caveats(profile)
    return f"{profile.model.name} on {where(profile)}" + (f" [{', '.join(warnings)}]" if warnings else "")


def where(profile: Profile) -> str:
    """The device and its number: 2 x Ascend 910B2; for a CPU, the number of processes."""
    machine = profile.machine
    if machine.device == "CPU":
        return "a CPU" if machine.cards <= 1 else f"a CPU, {machine.cards} processes"
    return machine.device if machine.cards <= 1 else f"{machine.cards} x {machine.device}"


def run_label(run: Run) -> str:
    """fused; with several ranks: fused, ep x 2; with 8-bit weights: fused, w8a16."""
    precision = "" if run.quantize == "none" else f", {run.precision}"
    if run.cards <= 1:
        return f"{run.side}{precision}"
    groups = "" if run.group_size in (0, run.cards) else f" in groups of {run.group_size}"
    return f"{run.side}, {run.parallel} x {run.cards}{groups}{precision}"


def precision_of(run: Run, short: bool = False) -> str:
    """bfloat16; w8a16 bfloat16. short: bf16."""
    dtype = _SHORT_DTYPES.get(run.dtype, run.dtype) if short else run.dtype
    return dtype if run.quantize == "none" else f"{run.precision} {dtype}"


def prompt_of(case: Case) -> str:
    """1284 tokens (64 text, 1220 video)"""
    work = case.workload
    kinds = {"text": work.text_tokens, "image": work.image_tokens, "audio": work.audio_tokens}
    kinds["video"] = work.video_tokens
    parts = [f"{count} {kind}" for kind, count in kinds.items() if count]
    return f"{work.prompt_tokens} tokens" + (f" ({', '.join(parts)})" if parts else "")


def answer_of(case: Case) -> str:
    """64 tokens, 50 frames of speech"""
    work = case.workload
    # A frame is complete when the token after it is asked for
    speech = f", {work.talker_max_new_tokens - 1} frames of speech" if work.speech else ", no speech"
    several = f", {work.batch_size} conversations at once" if work.batch_size > 1 else ""
    return f"{work.thinker_max_new_tokens} tokens{speech}{several}"


def provenance(profile: Profile) -> list[tuple[str, str]]:
    """(name, value) of all that a figure depends on, except the prompts."""
    machine, model = profile.machine, profile.model
    load = ", ".join(number(value) for value in machine.load_average) or "unknown"
    return [
        ("command", shlex.join(profile.command)),
        ("measured at", profile.made_at),
        ("commit", profile.commit or "unknown"),
        ("versions", ", ".join(f"{name} {version}" for name, version in profile.versions.items())),
        ("device", where(profile)),
        ("machine", f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 1e9:.1f} GB, {machine.system}"),
        ("load average before", f"{load}: {BUSY}" if is_busy(profile) else load),
        ("model", f"{model.name}, {model.weights} weights, {model.parameters / 1e9:.3g} billion parameters"),
        ("sampling", json.dumps(profile.sampling, ensure_ascii=False)),
        ("answers", f"{repeats_of(profile)} of each side after {profile.warm_up} not counted, taking turns"),
        ("configuration", json.dumps(model.config, ensure_ascii=False)),
    ]


def repeats_of(profile: Profile) -> str:
    """3 repeats"""
    return f"{profile.repeats} repeat{'' if profile.repeats == 1 else 's'}"
