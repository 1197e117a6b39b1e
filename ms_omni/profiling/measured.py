"""The raw measurements of one answer, or of the answers to several conversations asked at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ms_omni.profiling.document import MARKS, Repeat, Span

TOKENS, FRAMES, SAMPLES = MARKS


@dataclass(frozen=True)
class Waits:
    """One of several conversations: seconds from when all were asked until its work began, its first token came and,
    if it is spoken, its first audio."""

    queue_s: float
    first_token_s: float
    first_audio_s: float | None = None


@dataclass(frozen=True)
class Measured:
    """One answer of one side, or several that were asked at once. stages_s, counts: as in Repeat. prompt: tokens of one
    prompt, by the names of outputs.Usage. prompt_tokens: of all prompts; None for one. waits: of each conversation, if
    there are several. at_a_time: how many conversations the side answers together. num_code_groups: codes of a frame.
    digest: of token ids and codes. reads_bytes: read in one decoding step of the Thinker; bandwidth: bytes a second
    that can be read; None: not known."""

    wall_s: float
    stages_s: Mapping[str, float]
    marks: Mapping[str, Sequence[tuple[float, int]]]
    prompt: Mapping[str, int]
    spans: Sequence[Span] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    waits: Sequence[Waits] = ()
    prompt_tokens: int | None = None
    at_a_time: int = 1
    num_code_groups: int = 16
    digest: str = ""
    peak_host_bytes: int | None = None
    peak_device_bytes: int | None = None
    energy_j: float | None = None
    reads_bytes: float | None = None
    bandwidth: float | None = None

    @property
    def answers(self) -> int:
        """As Repeat."""
        return max(1, len(self.waits))

    def seconds(self, *stages: str) -> float:
        """Own seconds of these stages, summed."""
        return sum(self.stages_s.get(stage, 0.0) for stage in stages)

    def rows(self, mark: str, stage: str) -> float | None:
        """Mean number of conversations in a step of `stage`, a decoder's, which makes `mark`; None without a step. An
        answer's first token comes with its prompt, and a step marks each conversation once."""
        if self.at_a_time == 1:
            return 1.0
        steps = sum(span.stage == stage for span in self.spans)
        events = len(self.marks.get(mark, ())) - (self.answers if mark == TOKENS else 0)
        return events / steps if steps else None


def made(answer: Measured | Repeat, mark: str) -> int:
    """The number of `mark`s, summed over the events."""
    return sum(count for _, count in answer.marks.get(mark, ()))


def split_predictor(measured: Measured, share: float) -> Measured:
    """Moves `share` of the Talker's decoding to the code predictor: one graph computes both."""
    stages, whole = dict(measured.stages_s), measured.seconds("talker_decode")
    if whole:
        stages |= {"talker_decode": whole * (1 - share), "code_predictor": whole * share}
    return replace(measured, stages_s=stages)


def one_after_the_other(answers: Sequence[Measured]) -> Measured:
    """Joins the answers to conversations that were asked at once, of a side that answers one at a time."""
    if len(answers) == 1:
        return answers[0]
    stages: dict[str, float] = {}
    marks: dict[str, list[tuple[float, int]]] = {}
    spans: list[Span] = []
    waits: list[Waits] = []
    start = 0.0
    for answer in answers:
        for stage, seconds in answer.stages_s.items():
            stages[stage] = stages.get(stage, 0.0) + seconds
        for name, events in answer.marks.items():
            marks.setdefault(name, []).extend((at + start, count) for at, count in events)
        spans += [span.later(start) for span in answer.spans]
        audio = answer.marks.get(SAMPLES)
        waits.append(Waits(start, start + answer.marks[TOKENS][0][0], start + audio[0][0] if audio else None))
        start += answer.wall_s
    return replace(
        answers[0],
        wall_s=start,
        stages_s=stages,
        marks=marks,
        spans=spans,
        waits=waits,
        prompt_tokens=sum(answer.prompt["prompt_tokens"] for answer in answers),
        digest=joined_digest([answer.digest for answer in answers]),
        peak_host_bytes=max((answer.peak_host_bytes or 0 for answer in answers), default=0) or None,
    )


def answer_digest(token_ids: Sequence[int], codes: Any | None) -> str:
    """Equal for equal answers. codes: integers (num_code_groups, frames), None without speech."""
    found = hashlib.sha256(np.array(token_ids, np.int64).tobytes())
    if codes is not None:
        found.update(np.ascontiguousarray(codes, np.int32).tobytes())
    return found.hexdigest()[:16]


def joined_digest(digests: Sequence[str]) -> str:
    """One digest for the answers to several conversations; of one, its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
