"""The profile document, JSON of schema 1: what one `ms-omni profile` measured. Every report is a view of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SCHEMA = "ms_omni.profile"
SCHEMA_VERSION = 1

# In the order of an answer. A stage's seconds are its own, without stages nested in it (compile, code_predictor).
# "compile" is the first call of each graph.
STAGES = (
    "media",
    "processor",
    "encoders",
    "thinker_prefill",
    "thinker_decode",
    "talker_prefill",
    "talker_decode",
    "code_predictor",
    "code2wav",
    "compile",
)
OTHER = "other"
MARKS = ("thinker_tokens", "talker_frames", "audio_samples")

# Figures of several conversations asked at once only, and of a single one only
OF_SEVERAL = ("queue_s", "queue_worst_s", "ttft_worst_s", "thinker_rows", "talker_rows", "first_audio_worst_s")
OF_ONE = ("tpot_median_ms", "tpot_p90_ms")

# name -> (description, unit, whether more is better; None: neither). Of one repeat; a run has the medians. With several
# conversations at once, tokens, frames and answers are those of all together, and times are medians over them, except
# wall_s, which ends with the last answer.
FIGURES: dict[str, tuple[str, str, bool | None]] = {
    "wall_s": ("whole answer", "s", False),
    "answers_per_s": ("answers of all conversations", "1/s", True),
    "queue_s": ("waiting for its turn", "s", False),
    "queue_worst_s": ("waiting for its turn, the longest", "s", False),
    "ttft_s": ("time to first token, from the question", "s", False),
    "ttft_worst_s": ("time to first token, the longest", "s", False),
    "tpot_median_ms": ("time per output token, median", "ms", False),
    "tpot_p90_ms": ("time per output token, 90th percentile", "ms", False),
    "thinker_prefill_tokens_per_s": ("Thinker prefill: prompt tokens", "tokens/s", True),
    "thinker_decode_tokens_per_s": ("Thinker decode: new tokens after the first", "tokens/s", True),
    "thinker_tokens_per_s": ("Thinker: new tokens over prefill and decode", "tokens/s", True),
    "talker_frames_per_s": ("Talker decode with code predictor", "frames/s", True),
    "talker_tokens_per_s": ("Talker decode, all codes of a frame", "tokens/s", True),
    "thinker_rows": ("conversations of a Thinker step, mean", "rows", None),
    "talker_rows": ("conversations of a frame's step, mean", "rows", None),
    "first_audio_s": ("time to first audio, from the question", "s", False),
    "first_audio_worst_s": ("time to first audio, the longest", "s", False),
    "audio_s": ("speech made", "s", None),
    "speech_compute_s": ("Talker and Code2Wav together", "s", False),
    "real_time_factor": ("seconds of computing a second of speech, Talker and Code2Wav", "s/s", False),
    "peak_host_bytes": ("peak resident memory of the process", "bytes", False),
    "peak_device_bytes": ("peak memory of the device", "bytes", False),
    "host_syncs_per_thinker_token": ("host synchronisations a new token", "1/token", False),
    "host_syncs_per_talker_frame": ("host synchronisations a frame", "1/frame", False),
    "collectives_per_thinker_token": ("collectives a new token", "1/token", False),
    "collective_bytes_per_thinker_token": ("bytes of collectives' results a new token", "bytes/token", False),
    "collectives_per_talker_frame": ("collectives a frame", "1/frame", False),
    "collective_bytes_per_talker_frame": ("bytes of collectives' results a frame", "bytes/frame", False),
    "operators_per_thinker_token": ("operators launched a new token", "1/token", False),
    "operators_per_talker_frame": ("operators launched a frame", "1/frame", False),
    "bandwidth_share": ("share of the memory bandwidth that Thinker decode's weights and caches take", "1", True),
    "energy_j": ("energy of the cards", "J", False),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Span(_Part):
    """One interval of a stage, in seconds from the question. depth: how many spans of its thread enclose it."""

    stage: str
    start_s: float
    end_s: float
    depth: int = 0
    thread: int = 0

    def later(self, seconds: float) -> Span:
        """The same span, so many seconds later."""
        return self.model_copy(update={"start_s": self.start_s + seconds, "end_s": self.end_s + seconds})


class Repeat(_Part):
    """One measured answer, or `answers` to conversations asked at once. stages_s: own seconds of each stage that
    occurred; media and processor count only while nothing else runs. other_s: wall_s less all of them. marks: for each
    of MARKS that occurred, (seconds from the question, how many more). figures: of FIGURES. counts: by stage, from
    profiling.counters: host_syncs, operators, collectives by kind and their bytes."""

    round: int
    answers: int = 1
    wall_s: float
    stages_s: dict[str, float]
    other_s: float
    marks: dict[str, list[tuple[float, int]]] = {}
    figures: dict[str, float] = {}
    counts: dict[str, dict[str, int]] = {}
    spans: list[Span] = []


class Spread(_Part):
    """The spread of a run's repeats, or of the ratios within rounds."""

    median: float
    min: float
    max: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(median=statistics.median(values), min=min(values), max=max(values), count=len(values))

    @property
    def noise(self) -> float:
        """(max - min) / median; 0 for a median of 0. Not half the width: other processes differ by more than repeats of
        one process do."""
        return (self.max - self.min) / abs(self.median) if self.median else 0.0


class Rank(_Part):
    """One process of a job. wall_s, skew_s: medians over the repeats; skew_s: how long before the slowest rank it
    ended."""

    rank: int
    wall_s: float
    skew_s: float
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None


class Run(_Part):
    """One side of a comparison: an engine and how it was shared. load_s: loading, once. first_s: the first answer,
    compilation included; compile_s: the compilation in it. figures, stages_s: over the repeats; what could not be
    measured is absent, never 0. repeats: of the slowest rank, if there are several. answer_digest: of ids and codes,
    equal for equal answers. quantize: as resolved. dtype: of hidden states and of weights that are not quantized.
    per_token, per_frame: medians of the counts for each Thinker token and Talker frame while decoding, named as in
    Repeat.counts."""

    side: str
    engine: str
    parallel: str
    cards: int
    group_size: int
    attn_implementation: str
    dtype: str
    quantize: str = "none"
    load_s: float
    first_s: float
    compile_s: float
    repeats: list[Repeat]
    figures: dict[str, Spread]
    stages_s: dict[str, Spread]
    ranks: list[Rank] = []
    per_token: dict[str, float] = {}
    per_frame: dict[str, float] = {}
    answer_digest: str = ""
    notes: list[str] = []

    @property
    def precision(self) -> str:
        """dtype; with quantized weights the bits of the decoder layers' weights and hidden states: w8a16 (w8a32 with
        float32), w8a8."""
        if self.quantize == "none":
            return self.dtype
        if self.quantize == "int8":
            return "w8a32" if self.dtype == "float32" else "w8a16"
        return "w8a8"


class Ratio(_Part):
    """`side` compared with `baseline` within each round; above 1, `side` is better."""

    figure: str
    side: str
    baseline: str
    ratio: Spread


class Workload(_Part):
    """What was asked. digest: of everything that decides the work; only cases with equal digests are compared. Tokens:
    of one conversation's prompt. batch_size: how many conversations are asked at once."""

    name: str
    digest: str
    prompt_tokens: int
    text_tokens: int
    image_tokens: int
    audio_tokens: int
    video_tokens: int
    thinker_max_new_tokens: int
    talker_max_new_tokens: int
    speech: bool
    batch_size: int = 1
    media: list[str] = []


class Case(_Part):
    """shown: the figures that reports shall have; empty for all."""

    workload: Workload
    runs: list[Run]
    ratios: list[Ratio] = []
    shown: list[str] = []


class Skipped(_Part):
    """A case that `side` could not measure (None: no side could). reason: one line."""

    workload: str
    side: str | None
    reason: str


class Machine(_Part):
    """device: "CPU", or the card's name."""

    device: str
    cards: int
    cpu: str
    cores: int
    memory_bytes: int
    load_average: list[float]
    system: str


class Model(_Part):
    """config: the sizes that decide how much there is to compute."""

    name: str
    weights: Literal["checkpoint", "random", "built in"]
    parameters: int
    config: dict[str, Any]


class Profile(_Part):
    """complete: False for an interrupted run, of which the finished repeats are here. caveats: what titles must name
    ("CPU", "random weights", "interrupted")."""

    schema_name: Literal["ms_omni.profile"] = "ms_omni.profile"
    schema_version: Literal[1] = 1
    made_at: str
    command: list[str]
    commit: str | None
    versions: dict[str, str]
    machine: Machine
    model: Model
    sampling: dict[str, Any]
    repeats: int
    warm_up: int
    complete: bool
    caveats: list[str]
    cases: list[Case]
    skipped: list[Skipped] = []

    @property
    def runs(self) -> list[tuple[Case, Run]]:
        """All runs, each with its case."""
        return [(case, run) for case in self.cases for run in case.runs]
