"""Profile documents made by hand, with every figure known."""

from statistics import median

from ms_omni.profiling.document import (
    Case,
    Machine,
    Model,
    Profile,
    Rank,
    Ratio,
    Repeat,
    Run,
    Skipped,
    Span,
    Spread,
    Workload,
)

SHARES = {  # of the wall time; the rest is other
    "media": 0.02,
    "processor": 0.04,
    "encoders": 0.08,
    "thinker_prefill": 0.12,
    "thinker_decode": 0.3,
    "talker_prefill": 0.03,
    "talker_decode": 0.12,
    "code_predictor": 0.2,
    "code2wav": 0.08,
}
SPOKEN = ("talker_prefill", "talker_decode", "code_predictor", "code2wav")
NO_SPEECH = ("talker", "audio", "speech", "real_time")


def spread_of(*values):
    return Spread(median=median(values), min=min(values), max=max(values), count=len(values))


def repeat_of(number, wall_s, speech=True, tokens=16, frames=12):
    shares = {name: share for name, share in SHARES.items() if speech or name not in SPOKEN}
    stages_s = {name: share * wall_s for name, share in shares.items()}
    spans, now = [], 0.0
    for name, seconds in stages_s.items():
        if name == "code_predictor":  # within the Talker's decode
            spans.append(Span(stage=name, start_s=now - seconds / 2, end_s=now, depth=1))
            continue
        length = seconds * 1.02
        spans.append(Span(stage=name, start_s=now, end_s=now + length))
        now += length
    ends = {span.stage: span for span in spans}
    marks = {"thinker_tokens": _even(ends["thinker_decode"], tokens)}
    if speech:
        marks["talker_frames"] = _even(ends["talker_decode"], frames)
        marks["audio_samples"] = [(ends["code2wav"].end_s, 1920 * frames - 555)]
    other_s = wall_s - sum(stages_s.values())
    return Repeat(round=number, wall_s=wall_s, stages_s=stages_s, other_s=other_s, marks=marks, spans=spans)


def _even(span, count):
    step = (span.end_s - span.start_s) / count
    return [(span.start_s + step * (place + 1), 1) for place in range(count)]


def figures_of(walls, speech=True, prompt_tokens=53, device_bytes=None):
    """Every figure from the wall times of the repeats."""
    per_wall = {
        "wall_s": 1.0,
        "ttft_s": 0.26,
        "tpot_median_ms": 20.0,
        "tpot_p90_ms": 24.0,
        "first_audio_s": 0.6,
        "speech_compute_s": 0.43,
        "real_time_factor": 0.45,
    }
    per_second = {
        "thinker_prefill_tokens_per_s": prompt_tokens * 8.0,
        "thinker_decode_tokens_per_s": 50.0,
        "thinker_tokens_per_s": 38.0,
        "talker_frames_per_s": 37.5,
        "talker_tokens_per_s": 600.0,
    }
    fixed = {
        "audio_s": 0.96,
        "peak_host_bytes": 2.5e9,
        "host_syncs_per_thinker_token": 0.25,
        "host_syncs_per_talker_frame": 1.0,
        "operators_per_thinker_token": 41.0,
        "bandwidth_share": 0.42,
    }
    if device_bytes is not None:
        fixed["peak_device_bytes"] = device_bytes
    found = {name: spread_of(*(factor * wall for wall in walls)) for name, factor in per_wall.items()}
    found |= {name: spread_of(*(factor / wall for wall in walls)) for name, factor in per_second.items()}
    found |= {name: spread_of(*[value] * len(walls)) for name, value in fixed.items()}
    return {name: value for name, value in found.items() if speech or not any(word in name for word in NO_SPEECH)}


def run_of(side="fused", walls=(1.0, 1.1, 0.98), speech=True, **fields):
    repeats = [repeat_of(number, wall, speech) for number, wall in enumerate(walls)]
    prompt_tokens = fields.pop("prompt_tokens", 53)
    device_bytes = fields.pop("device_bytes", None)
    names = repeats[0].stages_s if repeats else {}
    defaults = {
        "engine": side,
        "parallel": "none",
        "cards": 1,
        "group_size": 1,
        "attn_implementation": "eager",
        "dtype": "float32",
        "load_s": 3.2,
        "first_s": 4.5,
        "compile_s": 2.1,
        "figures": figures_of(walls, speech, prompt_tokens, device_bytes) if walls else {},
        "stages_s": {name: spread_of(*(repeat.stages_s[name] for repeat in repeats)) for name in names},
    }
    return Run(side=side, repeats=repeats, **(defaults | fields))


def case_of(name="text", runs=None, speech=True, prompt_tokens=53, **fields):
    defaults = {
        "name": name,
        "digest": f"digest of {name}",
        "prompt_tokens": prompt_tokens,
        "text_tokens": prompt_tokens,
        "image_tokens": 0,
        "audio_tokens": 0,
        "video_tokens": 0,
        "thinker_max_new_tokens": 16,
        "talker_max_new_tokens": 12,
        "speech": speech,
    }
    runs = [run_of(speech=speech, prompt_tokens=prompt_tokens)] if runs is None else runs
    return Case(workload=Workload(**(defaults | fields)), runs=runs, ratios=ratios_of(runs))


def ratios_of(runs):
    found = []
    for run in runs[1:]:
        for name, higher in (("thinker_decode_tokens_per_s", True), ("wall_s", False)):
            if name in run.figures and name in runs[0].figures:
                old, new = runs[0].figures[name], run.figures[name]
                ratio = new.median / old.median if higher else old.median / new.median
                values = spread_of(ratio * 0.95, ratio, ratio * 1.04)
                found.append(Ratio(figure=name, side=run.side, baseline=runs[0].side, ratio=values))
    return found


def profile_of(cases=None, **fields):
    defaults = {
        "made_at": "2026-11-21T14:00:00+00:00",
        "command": ["ms-omni", "profile", "--model", "./tiny", "--workload", "text"],
        "commit": "0123abc",
        "versions": {"python": "3.11.7", "mindspore": "2.7.1", "mindone": "0.5.0"},
        "machine": Machine(
            device="CPU",
            cards=1,
            cpu="x86-64",
            cores=2,
            memory_bytes=24 * 10**9,
            load_average=[0.1, 0.2, 0.3],
            system="Linux",
        ),
        "model": Model(name="tiny", weights="random", parameters=3_000_000, config={"hidden_size": 64}),
        "sampling": {"thinker_temperature": 0.0},
        "repeats": 3,
        "warm_up": 1,
        "complete": True,
        "caveats": ["CPU", "random weights"],
        "cases": [case_of()] if cases is None else cases,
    }
    return Profile(**(defaults | fields))


def batches_profile(sizes=(1, 4, 8)):
    """One workload with so many conversations at once; the more, the more of everything a second."""
    cases = []
    for size in sizes:
        run = run_of(walls=(2.0, 2.2, 1.9))
        found = {name: spread_of(*(factor * size / wall for wall in (2.0, 2.2, 1.9))) for name, factor in (
            ("thinker_tokens_per_s", 40.0), ("talker_frames_per_s", 30.0), ("answers_per_s", 1.0),
        )}  # fmt: skip
        if size > 1:
            waits = {"queue_s": 0.5, "queue_worst_s": 0.9, "ttft_worst_s": 1.5, "first_audio_worst_s": 1.8}
            waits |= {"thinker_rows": 0.75 * size, "talker_rows": 0.5 * size}
            found |= {name: spread_of(value) for name, value in waits.items()}
        figures = {name: value for name, value in (run.figures | found).items() if size == 1 or "tpot" not in name}
        cases.append(case_of(f"text, batch {size}", [run.model_copy(update={"figures": figures})], batch_size=size))
    return profile_of(cases)


def npu_profile():
    """A long one: two cards, three cases of growing prompts, two sides, long names, one case skipped. Invented
    figures: its only use is to look at reports."""
    cases = []
    for name, prompt, wall in (("video 15 s with sound", 2100, 4.0), ("video 60 s with sound", 8300, 9.0),
                               ("a conversation with a very long name, " * 3 + "the end", 33000, 31.0)):  # fmt: skip
        runs = []
        for side, parallel, slower in (("mindone", "zero3", 30.0), ("fused", "ep", 1.0)):
            walls = tuple(wall * slower * factor for factor in (1.0, 1.03, 0.98))
            ranks = [
                Rank(rank=0, wall_s=walls[0], skew_s=0.0, peak_host_bytes=8 * 10**9, peak_device_bytes=44 * 10**9),
                Rank(rank=1, wall_s=walls[0] * 0.97, skew_s=walls[0] * 0.03, peak_host_bytes=7 * 10**9),
            ]
            runs.append(
                run_of(side, walls, prompt_tokens=prompt, device_bytes=44e9, parallel=parallel, cards=2, group_size=2,
                       attn_implementation="flash_attention_2", dtype="bfloat16", ranks=ranks,
                       notes=["code predictor: probed"])
            )  # fmt: skip
        cases.append(case_of(name, runs, prompt_tokens=prompt, text_tokens=100, video_tokens=prompt - 100))
    machine = Machine(device="Ascend 910B2", cards=2, cpu="Kunpeng 920", cores=192, memory_bytes=1024 * 10**9,
                      load_average=[1.0, 1.0, 1.0], system="openEuler")  # fmt: skip
    model = Model(name="Qwen3-Omni-30B-A3B-Instruct", weights="checkpoint", parameters=35_300_000_000, config={})
    skipped = [Skipped(workload="audio 30 min", side="mindone", reason="needs 70.1 GB of a card's 57.6 GB")]
    return profile_of(cases, machine=machine, model=model, caveats=["invented"], skipped=skipped)
