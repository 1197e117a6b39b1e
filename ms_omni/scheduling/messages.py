"""Messages between the leader of a group and its followers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ms_omni.errors import OmniError
from ms_omni.scheduling.request import EngineStopped, Prepared, Request, RequestCancelled, StepFailed
from ms_omni.scheduling.sequence import Stage
from ms_omni.scheduling.state import RequestState
from ms_omni.scheduling.steps import Step


@dataclass(frozen=True)
class NewRequest:
    """All that a follower needs to compute a request as its leader does. request: with its seed, without the functions
    that only the leader can call. owner: of `RequestState`. blocks: of its sequences. waited: seconds of its
    preparation and in the queue, by their names in the answer's stats."""

    request: Request
    prepared: Prepared
    owner: int
    blocks: Mapping[Stage, Sequence[int]]
    waited: Mapping[str, float]

    @classmethod
    def of(cls, state: RequestState) -> NewRequest:
        """The message for this request of the leader's."""
        sampling = replace(state.request.sampling, seed=state.seed)
        request = replace(state.request, prepare=_prepare_elsewhere, progress=None, sampling=sampling)
        blocks = {sequence.stage: list(sequence.blocks) for sequence in state.sequences}
        return cls(request, state.prepared, state.owner, blocks, state.waited)


@dataclass(frozen=True)
class StepCall:
    """A step to be run. count: its number among all calls. kind: the step's class. numbers: of its requests, counted in
    the order of their submission. arguments: the step's fields after its states. new_request: with a request's first
    step."""

    count: int
    kind: type[Any]
    numbers: tuple[int, ...]
    arguments: tuple[Any, ...]
    new_request: NewRequest | None = None

    @classmethod
    def of(cls, step: Step, count: int, new_request: NewRequest | None) -> StepCall:
        """A step of the leader's, with the numbers of its requests in the place of their states."""
        _, *arguments = (getattr(step, field.name) for field in fields(step))
        numbers = tuple(state.arrival for state in step.states)
        return cls(count, type(step), numbers, tuple(arguments), new_request)


@dataclass(frozen=True)
class Released:
    """A request is released, whether it has started or not."""

    number: int


@dataclass(frozen=True)
class Failed:
    """A request has failed."""

    number: int
    error: Exception


@dataclass(frozen=True)
class Check:
    """The leader's last step has failed; followers answer with a Report on theirs."""


@dataclass(frozen=True)
class Report:
    """How a follower's step number `count` ended. error: its type and message, or None."""

    count: int
    error: str | None


@dataclass(frozen=True)
class Closed:
    """From the leader: the last message. From a follower: it has closed its engine. reason: set after a failure."""

    reason: str = ""


def sendable(error: BaseException) -> Exception:
    """The error without causes and traceback, so that it can be pickled."""
    for kind in (EngineStopped, OmniError, RequestCancelled, StepFailed):
        if isinstance(error, kind):
            return kind(str(error))
    return StepFailed(f"{type(error).__name__}: {error}")


def _prepare_elsewhere() -> Prepared:
    raise AssertionError("requests are prepared by the leader of a group")
