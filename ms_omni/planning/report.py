"""A plan as tables, for a terminal (rich) or in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from ms_omni.config import CAPTURED_WAYS
from ms_omni.planning.counted import launch_counts, talker_frame, thinker_token
from ms_omni.planning.hardware import CPU, GB
from ms_omni.planning.model import released_name
from ms_omni.planning.plan import Plan, Row
from ms_omni.planning.published import (
    MINDONE_TALKER,
    MINDONE_THINKER,
    VIDEO_SECONDS,
    compare_memory,
)
from ms_omni.planning.speed import REAL_TIME_FRAMES, StepTime
from ms_omni.planning.weights import PARTS, SPEECH_PARTS
from ms_omni.tables import Table
from ms_omni.tables.markdown import of_tables
from ms_omni.tables.terminal import draw


def write_report(plan: Plan, markdown: bool, out: TextIO) -> None:
    """All tables, then choices, what is counted and what is assumed."""
    tables = [_memory(plan), _weights(plan), _speed(plan)]
    if any(row.speed.captured_thinker for row in plan.rows):
        tables.append(_captured(plan))
    if any(row.replicas > 1 for row in plan.rows):
        tables.append(_together(plan))
    if any(row.batches for row in plan.rows):
        tables.append(_batches(plan))
    tables.append(_mindone(plan))
    if released_name(plan.model):
        tables.append(_published())
    notes = [*_choices(plan), "", "Counted:", *(f"- {line}" for line in _counted(plan))]
    notes += ["", "Assumed:", *(f"- {line}" for line in _assumptions(plan))]
    if markdown:
        out.write("\n".join([f"# Projected: {_heading(plan)}", "", *of_tables(tables), *notes, ""]))
    else:
        out.write(draw(f"projected: {_heading(plan)}", tables, notes))


def _heading(plan: Plan) -> str:
    work, speech = plan.workload, "with speech" if plan.planned.speak else "text only"
    media = [f"{width}x{height} picture" for width, height in work.images]
    media += [f"{work.audio_seconds:g} s of sound"] if work.audio_seconds else []
    if work.video_seconds:
        sound = " with sound" if work.use_audio_in_video else ""
        media.append(f"{work.video_seconds:g} s of video at {work.fps:g} frames/s{sound}")
    prompt = " + ".join([f"{work.prompt_tokens} tokens of text", *media])
    total = plan.rows[0].memory.prompt_tokens if plan.rows else work.prompt_tokens
    precision = plan.planned.precision.words()
    where = f"{plan.model} on {plan.planned.hardware.title}, {precision}, {speech}"
    return f"{where}; prompt of {total} tokens ({prompt}), answer of {work.max_new_tokens}"


def _memory(plan: Plan) -> Table:
    is_checked = plan.planned.hardware.device == CPU and not plan.planned.precision.is_int8
    kind = "projected; on a CPU within 15 % of measured runs" if is_checked else "projected"
    return Table(
        title=f"Memory of a card, GB ({kind})",
        columns=(
            "cards", "groups", "parallel", "weights", "KV cache", "activations", "buffers, process", "total", "usable",
            "fits", "most prompt tokens", "most at once",
        ),
        rows=tuple(_memory_row(row) for row in plan.rows),
    )  # fmt: skip


def _memory_row(row: Row) -> tuple[str, ...]:
    memory = row.memory
    values = (memory.weight_bytes, memory.kv_cache, memory.activations, memory.buffers + memory.reserved)
    most = str(row.most_prompt_tokens) if row.most_prompt_tokens else "-"
    fits = "yes" if memory.fits else "no"
    amounts = (*values, memory.total, memory.available)
    return (*_groups(row), *(_gb(value) for value in amounts), fits, most, str(row.most_at_once or "-"))


def _weights(plan: Plan) -> Table:
    """Parts as rows, ways as columns."""
    ways = {f"{row.memory.mode} {row.memory.cards}": row.memory for row in plan.rows}
    parts = [part for part in PARTS if plan.planned.speak or part not in SPEECH_PARTS]
    rows = [(part, *(_gb(memory.weights[part]) for memory in ways.values())) for part in parts]
    rows.append(("together", *(_gb(memory.weight_bytes) for memory in ways.values())))
    scales = "; 8 bits and their scales" if plan.planned.precision.is_int8 else ""
    return Table(f"Weights of a card by part, GB (by the shard table{scales})", ("part", *ways), tuple(rows))


def _speed(plan: Plan) -> Table:
    rows = []
    for row in plan.rows:
        step, talker = row.speed.thinker, row.speed.talker
        rows.append((*_groups(row), *_step(step), f"{row.speed.limit:.0f}", *_talker(talker)))
    columns = (
        "cards", "groups", "parallel", "Thinker tokens/s", "ms: weights", "launches", "(number)", "collectives",
        "(number)", "limit tokens/s", "Talker frames/s", "of real time",
    )  # fmt: skip
    title = "Decoding of one group, projected, not measured (limit: weights at the full bandwidth, and nothing else)"
    return Table(title, columns, tuple(rows))


def _captured(plan: Plan) -> Table:
    """Speeds without and with captured launches; "-" where launches cannot be captured."""
    rows = []
    for row in plan.rows:
        for size, speed in ((1, row.speed), *((batch.size, batch.speed) for batch in row.batches)):
            thinker = _beside(speed.thinker, speed.captured_thinker)
            rows.append((*_groups(row), str(size), *thinker, *_beside(speed.talker, speed.captured_talker)))
    columns = (
        "cards", "groups", "parallel", "conversations", "Thinker tokens/s", "captured", "(launches and replays)",
        "Talker frames/s", "captured", "(launches and replays)",
    )  # fmt: skip
    title = "--launch-capture thinker, or talker: one decoder of a process, projected, not measured"
    return Table(title, columns, tuple(rows))


def _beside(step: StepTime | None, captured: StepTime | None) -> tuple[str, str, str]:
    rate = "-" if step is None else _rate(step.per_second)
    if captured is None:
        return rate, "-", "-"
    return rate, _rate(captured.per_second), f"{captured.launches:.0f} + {captured.replays:.0f}"


def _groups(row: Row) -> tuple[str, str, str]:
    return str(row.cards), f"{row.replicas} of {row.memory.cards}", row.memory.mode


def _together(plan: Plan) -> Table:
    rows = []
    for row in plan.rows:
        talker, fits = row.speed.talker, "yes" if row.memory.fits else "no"
        frames = "-" if talker is None else _rate(row.replicas * talker.per_second)
        tokens = _rate(row.replicas * row.speed.thinker.per_second)
        rows.append((*_groups(row), fits, str(row.replicas), tokens, frames))
    columns = ("cards", "groups", "parallel", "fits", "conversations at once", "Thinker tokens/s", "Talker frames/s")
    return Table("All groups together, each with a conversation of its own, projected", columns, tuple(rows))


def _batches(plan: Plan) -> Table:
    rows = []
    for row in plan.rows:
        for size, memory, speed in ((1, row.memory, row.speed), *((b.size, b.memory, b.speed) for b in row.batches)):
            tokens, gain = speed.thinker.per_second, speed.thinker.per_second / row.speed.thinker.per_second
            frames = ("-", "-") if speed.talker is None else (_rate(speed.talker.per_second), _real_time(speed.talker))
            fits = "yes" if memory.fits else "no"
            each = _rate(tokens / size)
            rows.append(
                (*_groups(row), str(size), _gb(memory.kv_cache), fits, _rate(tokens), each, f"{gain:.1f}x", *frames)
            )
    columns = (
        "cards", "groups", "parallel", "conversations", "KV cache, GB", "fits", "Thinker tokens/s", "each",
        "of one alone", "Talker frames/s", "each, of real time",
    )  # fmt: skip
    title = "Conversations at once in one group, all of them together, projected, not measured"
    return Table(title, columns, tuple(rows))


def _step(step: StepTime) -> tuple[str, ...]:
    read, launch, collective = (f"{1e3 * seconds:.1f}" for seconds in (step.read_s, step.launch_s, step.collective_s))
    return (_rate(step.per_second), read, launch, f"{step.launches:.0f}", collective, f"{step.collectives:.0f}")


def _talker(step: StepTime | None) -> tuple[str, str]:
    return ("-", "-") if step is None else (_rate(step.per_second), _real_time(step))


def _real_time(step: StepTime) -> str:
    """How much faster than real time each conversation's speech is made."""
    return f"{step.per_second / step.batch / REAL_TIME_FRAMES:.1f}x"


def _mindone(plan: Plan) -> Table:
    thinker, talker = plan.mindone
    is_released = released_name(plan.model) == "instruct"
    rows = [("Thinker tokens/s", *_step(thinker), f"{MINDONE_THINKER}" if is_released else "-")]
    if talker is not None:
        rows.append(("Talker frames/s", *_step(talker), f"{MINDONE_TALKER}" if is_released else "-"))
    columns = ("mindone 0.5.0", "projected", "ms: weights", "launches", "(number)", "gathers", "(number)", "published")
    return Table("For comparison: mindone's generate with ZeRO-3 on 2 cards, projected", columns, tuple(rows))


def _published() -> Table:
    rows = []
    for found in compare_memory():
        rows.append((f"{found.model}: transformers, published", *(_gb(value) for value in found.published)))
        rows.append((f"{found.model}: this engine, projected", *(_gb(value) for value in found.planned)))
        rows.append((f"{found.model}: of these, weights", *[_gb(found.weights)] * len(VIDEO_SECONDS)))
    columns = ("GB, bfloat16, all on one card", *(f"{seconds} s video" for seconds in VIDEO_SECONDS))
    title = "Memory by video length: the README of Qwen3-Omni (its GB read as GiB) and this engine, projected"
    return Table(title, columns, tuple(rows))


def _choices(plan: Plan) -> Iterator[str]:
    for choice in plan.choices:
        groups = "" if choice.group_size == choice.cards else f" in groups of {choice.group_size}"
        yield f"{choice.cards} card{'' if choice.cards == 1 else 's'}{groups}: {choice.text}"
    for most, fastest in plan.best:
        yield (
            f"{most.cards} cards, best group size for many conversations: {most.group_size} ({most.flags}): projected "
            f"{most.replicas} x {_rate(most.per_second)} = {_rate(most.together)} Thinker tokens/s together; for one "
            f"conversation: {fastest.group_size} ({fastest.flags}), projected {_rate(fastest.per_second)}"
        )
    yield from plan.refused


def _counted(plan: Plan) -> Iterator[str]:
    """Which parts of the projected speed were counted, not assumed."""
    counts = launch_counts()
    yield f"launches, synchronisations and collectives of the fused engine: {counts.source}, two ranks where they share"
    for mode in dict.fromkeys("none" if row.memory.cards == 1 else row.memory.mode for row in plan.rows):
        text, talker = plan.planned.text_config, plan.planned.config.talker_config
        quantize = plan.planned.quantize
        works = [("a greedy Thinker token", thinker_token(text, mode, quantize=quantize))]
        if plan.planned.speak:
            works.append(("a sampled Talker frame", talker_frame(talker, mode, quantize=quantize)))
        if plan.planned.hardware.device != CPU and mode in CAPTURED_WAYS:
            works.append(("a captured Thinker token", thinker_token(text, mode, 1, True, quantize)))
            if plan.planned.speak:
                works.append(("a captured Talker frame", talker_frame(talker, mode, True, quantize)))
        for what, work in works:
            replays = f"{work.replays:.0f} replays of {work.replayed:.0f}, " if work.replays else ""
            yield (
                f"{mode}, {what}: {work.launches:.0f} launches ({work.legacy:.0f} of them legacy operators), {replays}"
                f"{work.synchronisations:g} synchronisations, {work.copies:g} copies from or to the host, "
                f"{work.collectives:g} collectives"
            )
    yield "those of mindone's generate: counted in its source"


def _assumptions(plan: Plan) -> Iterator[str]:
    yield from plan.planned.hardware.sources
    if plan.planned.hardware.device == CPU:
        yield "as many launches on a CPU as on a card"
    else:
        yield "a legacy operator costs no more than others; more than two ranks launch as much as two"
    if plan.planned.precision.is_int8:
        yield "8-bit weights are read at the same share of the bandwidth; mindone's own generate has none"
    yield "GB are 1e9 bytes; a card is the one of the group that stores most; its group answers the same conversations"
    if any(row.batches for row in plan.rows):
        yield (
            "several conversations: as many launches as one (counted for rows of a step); tokens choose experts "
            "independently, each expert alike; ep: the card with most of one token's experts has most of every token's"
        )
    if plan.planned.hardware.device == CPU:
        yield "groups on a CPU share its memory and bandwidth"
    else:
        yield "groups do not slow each other down"


def _gb(value: float) -> str:
    return f"{value / GB:.2f}" if value < 10 * GB else f"{value / GB:.1f}"


def _rate(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
