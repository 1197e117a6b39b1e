"""`ms-omni batch` over the machines of a Ray cluster: Ray Data deals the manifest out to actors, each of which holds an
OmniEngine and answers many conversations at once.

    python examples/ray_batch.py --manifest questions.jsonl --out answers --actors 2

The flags are those of `ms-omni batch`, and so are manifest, answers, results.jsonl and exit code; the same command goes
on where an earlier one, of either kind, was stopped. Manifest, media and `--out` must have the same paths on all
machines. An actor that dies is started again, and what it had not written yet is answered again. An actor is one
process: its model is not shared with others, so `--npus-per-actor 1` serves models that fit on one card. Needs
ray[data] in the environment of ms_omni: examples/ray_requirements.txt.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray

from ms_omni.cli.batch import EXIT_SOME_FAILED, add_arguments, finish, what_will_fail
from ms_omni.cli.batch.item import Answer, Item
from ms_omni.cli.batch.job import BatchJob, check_batch
from ms_omni.cli.batch.progress import BatchProgress
from ms_omni.cli.interrupt import interrupts_raise
from ms_omni.cli.parser import LineParser, whole_number
from ms_omni.cli.settings import merge_settings
from ms_omni.cli.terminal import print_note
from ms_omni.errors import OmniError, OmniErrors

if TYPE_CHECKING:
    import numpy as np

# MindSpore 2.7.1 sets it too, but an actor has loaded protobuf before, and MindSpore's generated code would not load.
ACTOR_ENVIRONMENT = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
# The flags that `batch` has not
RAY_FLAGS = ("actors", "rows", "cpus_per_actor", "npus_per_actor", "ray_address")


class Answerer:
    """An actor. `job`: what to do, without its conversations; `directory`: from which its relative paths count."""

    def __init__(self, job: BatchJob, directory: str) -> None:
        from ms_omni.engine import OmniEngine

        os.chdir(directory)
        self._job = job
        self._engine = OmniEngine(job.engine)

    def __call__(self, rows: dict[str, np.ndarray]) -> Iterator[dict[str, list[bytes]]]:
        """rows: "item", pickled items of the manifest. Yields "pair", the pickled id and answer of each, when both it
        and its wave are written."""
        from ms_omni.cli.batch.in_flight import InFlight
        from ms_omni.scheduling.request import EngineStopped

        items: list[Item] = [pickle.loads(data) for data in rows["item"]]
        store = self._job.store
        answered = store.answered(items)  # by an actor that died with the rest of these rows
        in_flight = InFlight(self._job, self._engine, debug=False)
        try:
            for item in (item for item in items if item.id in answered):
                yield _row(item.id, answered[item.id])
            for item, answer in in_flight.answer([item for item in items if item.id not in answered]):
                store.write(item, answer)
                yield _row(item.id, answer)
        except EngineStopped as error:
            # Ray would ask this actor again, whose engine answers nothing any more: end it, and get a new one
            print_note(f"an actor ends: {error}")
            os._exit(1)


def _row(name: str, answer: Answer) -> dict[str, list[bytes]]:
    return {"pair": [pickle.dumps((name, answer))]}


def answers_of(job: BatchJob, settings: dict[str, Any]) -> Iterator[tuple[str, Answer]]:
    """Ids and answers of `job.todo`, as actors give them."""
    ray.init(address=settings["ray_address"], log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = ray.data.from_items(
        [{"item": pickle.dumps(item)} for item in job.todo],
        override_num_blocks=-(-len(job.todo) // settings["rows"]),
    )
    npus = settings["npus_per_actor"]
    answered = rows.map_batches(
        Answerer,
        fn_constructor_kwargs={
            "job": replace(job, items=(), answered={}, refused={}, todo=[], will_fail=[]),
            "directory": os.getcwd(),
        },
        compute=ray.data.ActorPoolStrategy(size=settings["actors"], max_tasks_in_flight_per_actor=1),
        batch_size=settings["rows"],
        batch_format="numpy",
        num_cpus=settings["cpus_per_actor"],
        resources={"NPU": npus} if npus else None,
        runtime_env={"env_vars": ACTOR_ENVIRONMENT},
    )
    for row in answered.iter_rows():
        yield pickle.loads(row["pair"])


def run(words: list[str]) -> int:
    """Exit code 1 when a conversation failed."""
    args = _parser().parse_args(words)
    settings = merge_settings(args, "batch")
    of_ray = {key: settings.pop(key) for key in RAY_FLAGS}
    job = check_batch(settings, args.restart)
    job.store.discard_results()
    job.store.discard(job.todo)
    if job.will_fail:
        print_note(what_will_fail(job))
    progress = BatchProgress(len(job.answered) + len(job.todo), len(job.answered))
    progress.start(shows=True)
    new: dict[str, Answer] = {}
    try:
        for name, answer in answers_of(job, of_ray) if job.todo else ():
            new[name] = answer
            progress.add(name, answer)
    finally:
        progress.close()
    return finish(job, new, True, progress.summary())


def _parser() -> LineParser:
    parser = LineParser(prog="ray_batch.py", description=__doc__)
    add_arguments(parser)
    cluster = parser.add_argument_group("Ray")
    number = whole_number(1)
    cluster.add_argument("--actors", type=number, default=2, metavar="N", help="engines (2)")
    cluster.add_argument("--rows", type=number, default=32, metavar="N", help="lines an actor is given at a time (32)")
    cluster.add_argument("--cpus-per-actor", type=number, default=1, metavar="N", help="cores of each (1)")
    cluster.add_argument("--npus-per-actor", type=whole_number(0), default=0, metavar="N", help="cards of each (0)")
    cluster.add_argument(
        "--ray-address", metavar="ADDRESS", default=None, help="a cluster, or auto; default: one on this machine"
    )
    return parser


def main() -> int:
    try:
        with interrupts_raise(debug=False):
            return run(sys.argv[1:])
    except OmniErrors as errors:
        print(*(f"ray_batch: {line}" for line in errors.lines), sep="\n", file=sys.stderr)
    except OmniError as error:
        print(f"ray_batch: {error}", file=sys.stderr)
    except ray.exceptions.RayError as error:
        print(f"ray_batch: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_SOME_FAILED
    except KeyboardInterrupt:
        print("ray_batch: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
