"""Arithmetic: an answer's figures from its measurements, spreads and ratios from the figures of several answers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from ms_omni.outputs import SAMPLE_RATE
from ms_omni.profiling.counters import COLLECTIVE_BYTES, COLLECTIVES, HOST_SYNCS, OPERATORS
from ms_omni.profiling.document import FIGURES, Ratio, Repeat, Spread
from ms_omni.profiling.measured import FRAMES, SAMPLES, TOKENS, Measured, made

_THINKING = ("thinker_prefill", "thinker_decode")
_SPEAKING = ("talker_decode", "code_predictor")
_SPEECH = ("talker_prefill", *_SPEAKING, "code2wav")


def as_repeat(measured: Measured, number: int) -> Repeat:
    """The document's form of a measurement. number: of the round."""
    return Repeat(
        round=number,
        answers=measured.answers,
        wall_s=measured.wall_s,
        stages_s=dict(measured.stages_s),
        other_s=measured.wall_s - sum(measured.stages_s.values()),
        marks={name: list(events) for name, events in measured.marks.items()},
        figures=figures(measured),
        counts={stage: dict(counts) for stage, counts in measured.counts.items()},
        spans=list(measured.spans),
    )


def figures(measured: Measured) -> dict[str, float]:
    """The values of FIGURES. What was not measured, or would be divided by zero, is absent."""
    tokens, frames = made(measured, TOKENS), made(measured, FRAMES)
    audio_s, answers = made(measured, SAMPLES) / SAMPLE_RATE, measured.answers
    each = seconds_a_token(measured) if answers == 1 else []
    decode_s, speaking_s = measured.seconds("thinker_decode"), measured.seconds(*_SPEAKING)
    speech_s = measured.seconds(*_SPEECH) or None
    found: dict[str, float | None] = {
        "wall_s": measured.wall_s,
        "answers_per_s": _per(answers, measured.wall_s),
        **_waiting(measured),
        "tpot_median_ms": 1e3 * percentile(each, 50) if each else None,
        "tpot_p90_ms": 1e3 * percentile(each, 90) if each else None,
        "thinker_prefill_tokens_per_s": _per(_prompt_tokens(measured), measured.seconds("thinker_prefill")),
        "thinker_decode_tokens_per_s": _per(tokens - answers, decode_s),
        "thinker_tokens_per_s": _per(tokens, measured.seconds(*_THINKING)),
        "talker_frames_per_s": _per(frames, speaking_s),
        "talker_tokens_per_s": _per(frames * measured.num_code_groups, speaking_s),
        "audio_s": audio_s or None,
        "speech_compute_s": speech_s,
        "real_time_factor": _per(speech_s, audio_s),
        "peak_host_bytes": measured.peak_host_bytes,
        "peak_device_bytes": measured.peak_device_bytes,
        "energy_j": measured.energy_j,
        "bandwidth_share": _bandwidth_share(measured, tokens - answers, decode_s),
    }
    for unit, counted in (("thinker_token", per_token(measured)), ("talker_frame", per_frame(measured))):
        if counted:
            found[f"host_syncs_per_{unit}"] = counted[HOST_SYNCS]
            found[f"collectives_per_{unit}"] = counted[COLLECTIVES]
            found[f"collective_bytes_per_{unit}"] = counted[COLLECTIVE_BYTES]
            found[f"operators_per_{unit}"] = counted.get(OPERATORS)
    return {name: float(value) for name in FIGURES if (value := found.get(name)) is not None}


def per_token(answer: Measured | Repeat) -> dict[str, float]:
    """Counts while the Thinker decoded, per new token after the first. Operators are counted in graphs only."""
    return _counted(answer, ("thinker_decode",), made(answer, TOKENS) - answer.answers)


def per_frame(answer: Measured | Repeat) -> dict[str, float]:
    """Counts while Talker and code predictor decoded, per frame."""
    return _counted(answer, _SPEAKING, made(answer, FRAMES))


def _counted(answer: Measured | Repeat, stages: Iterable[str], number: int) -> dict[str, float]:
    if number < 1 or not answer.counts:
        return {}
    found = dict.fromkeys((HOST_SYNCS, COLLECTIVES, COLLECTIVE_BYTES), 0)
    for stage in stages:
        for name, count in answer.counts.get(stage, {}).items():
            found[name] = found.get(name, 0) + count
    return {name: count / number for name, count in found.items()}


def seconds_a_token(measured: Measured) -> list[float]:
    """For each new token after the first, the time since the previous one, without the speech made in between. Tokens
    that come together share their time."""
    each: list[float] = []
    events = measured.marks.get(TOKENS, ())
    for (before, _), (now, count) in pairwise(events):
        speech = sum(
            max(0.0, min(now, span.end_s) - max(before, span.start_s))
            for span in measured.spans
            if span.depth == 0 and span.stage in _SPEECH
        )
        each += [(now - before - speech) / count] * count
    return each


def percentile(values: Sequence[float], percent: float) -> float:
    """Interpolated linearly between the two nearest values."""
    ordered, place = sorted(values), (len(values) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spreads(tables: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The spread of each name that all tables have."""
    common = [name for name in tables[0] if all(name in table for table in tables)] if tables else []
    return {name: Spread.of([table[name] for table in tables]) for name in common}


def ratios(side: str, ours: Sequence[Repeat], baseline: str, theirs: Sequence[Repeat]) -> list[Ratio]:
    """Ratios within each round that both sides have finished, of the figures that both have and that can be better or
    worse. Without the process's memory: sides may share the process."""
    other = {repeat.round: repeat.figures for repeat in theirs}
    pairs = [(repeat.figures, other[repeat.round]) for repeat in ours if repeat.round in other]
    found = []
    for name, (_, _, is_more_better) in FIGURES.items():
        if (
            is_more_better is None
            or name == "peak_host_bytes"
            or not pairs
            or not all(a.get(name) and b.get(name) for a, b in pairs)
        ):
            continue
        better = [(mine, base) if is_more_better else (base, mine) for mine, base in pairs]
        values = [above[name] / below[name] for above, below in better]
        found.append(Ratio(figure=name, side=side, baseline=baseline, ratio=Spread.of(values)))
    return found


def _waiting(measured: Measured) -> dict[str, float | None]:
    """Seconds until the first token and audio; for several conversations their median and longest, and the mean number
    of conversations in a step."""
    if not measured.waits:
        firsts = {name: measured.marks.get(mark) for name, mark in (("ttft_s", TOKENS), ("first_audio_s", SAMPLES))}
        return {name: events[0][0] if events else None for name, events in firsts.items()}
    found: dict[str, float | None] = {
        "thinker_rows": measured.rows(TOKENS, "thinker_decode"),
        "talker_rows": measured.rows(FRAMES, "talker_decode") if made(measured, FRAMES) else None,
    }
    for name, several in (
        ("queue", [waits.queue_s for waits in measured.waits]),
        ("ttft", [waits.first_token_s for waits in measured.waits]),
        ("first_audio", [waits.first_audio_s for waits in measured.waits if waits.first_audio_s is not None]),
    ):
        if several:
            found |= {f"{name}_s": statistics.median(several), f"{name}_worst_s": max(several)}
    return found


def _prompt_tokens(measured: Measured) -> int:
    """Of all prompts together."""
    return measured.prompt["prompt_tokens"] if measured.prompt_tokens is None else measured.prompt_tokens


def _per(amount: float | None, divisor: float) -> float | None:
    return amount / divisor if amount and amount > 0 and divisor > 0 else None


def _bandwidth_share(measured: Measured, tokens: int, decode_s: float) -> float | None:
    if measured.reads_bytes is None or measured.bandwidth is None:
        return None
    rows = measured.rows(TOKENS, "thinker_decode") if measured.waits else 1.0
    return _per(tokens / rows * measured.reads_bytes / measured.bandwidth, decode_s) if rows else None
