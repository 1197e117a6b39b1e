"""`ms-omni batch`: answer a manifest of conversations with one loaded model, or one on every group of cards."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import TYPE_CHECKING

from ms_omni.cli import flags
from ms_omni.cli.parser import choice, whole_number
from ms_omni.cli.progress import load_engine
from ms_omni.cli.resuming import goes_on
from ms_omni.cli.settings import merge_settings
from ms_omni.cli.terminal import print_note

if TYPE_CHECKING:  # these import numpy, which --help need not wait for
    from ms_omni.cli.batch.item import Answer, Item
    from ms_omni.cli.batch.job import BatchJob
    from ms_omni.cli.batch.store import AnswerCollector
    from ms_omni.engine import OmniEngine
    from ms_omni.parallel.world import World

USAGE = "ms-omni batch [--model DIR] --manifest FILE.jsonl --out DIR [flags]"
HELP = "answer a file of conversations, or of requests of OpenAI's API, with one loaded model"
EXIT_SOME_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The manifest, what its lines leave open, and the engine."""
    flags.absent_flags_are_unset(parser)
    manifest = parser.add_argument_group("what to answer")
    add = manifest.add_argument
    lines = "a conversation, or a request of OpenAI's API, a line (required)"
    add("--manifest", metavar="FILE.jsonl", help=lines)
    add("--out", metavar="DIR", help="for results.jsonl and the waves (required)")
    restart = "answer everything again, not only what an earlier run has left"
    add("--restart", action="store_true", default=False, help=restart)
    flags.add_task(parser.add_argument_group("tasks, for lines that say nothing else"))
    flags.add_media(manifest)
    flags.add_media_access(manifest)
    speech = parser.add_argument_group("speech")
    speech.add_argument("--speak", action=flags.ON_OR_OFF, help="write a wave for lines without speak")
    flags.add_speaker(speech)
    requests = parser.add_argument_group("requests of OpenAI's API")
    wave = "speech in results.jsonl: the path of its file (default), or base64"
    requests.add_argument("--audio-as", **choice("file", "inline"), help=wave)
    flags.add_served_model_name(requests)
    flags.add_decoding(parser)
    other = parser.add_argument_group("several cards and settings")
    flags.add_sizes(other)
    time_out = "with several groups of cards: seconds without a new answer before the job is given up (default 3600)"
    other.add_argument("--time-out", metavar="S", type=whole_number(1), help=time_out)
    flags.add_config(other)


def run(args: argparse.Namespace) -> int:
    """Check everything cheap, then load, answer what is not answered yet, and write all results in one file. Exit
    code 1 when a conversation failed."""
    from ms_omni.cli.batch.job import check_batch
    from ms_omni.cli.batch.progress import BatchProgress
    from ms_omni.cli.batch.store import AnswerCollector
    from ms_omni.cli.quiet import results_only_on_stdout
    from ms_omni.parallel.world import writes_before_start

    with results_only_on_stdout(args.debug):
        job = check_batch(merge_settings(args, "batch"), args.restart)
        if job.will_fail and writes_before_start():
            print_note(what_will_fail(job))
        total = len(job.answered) + len(job.todo)
        if not job.todo:
            return finish(job, {}, writes_before_start(), f"all {total} are answered already")
        progress = BatchProgress(total, len(job.answered))
        collector = AnswerCollector(job.store, job.todo, progress.add)
        engine = load_engine(job.engine)
        progress.start(shows=engine.world.is_writer)
        if engine.world.is_writer and job.engine.max_num_seqs is None:
            print_note(f"--max-num-seqs {engine.max_num_seqs}: as many conversations are answered at a time")
        try:
            with closing(engine):
                if engine.world.is_leader:
                    _answer_share(job, engine, collector, args.debug)
                    # All groups stay until the last answer: one that leaves early may end the job
                    collector.wait(job.time_out_s)
                engine.follow()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(goes_on(args.restart)) from None
        finally:
            progress.close()
        return finish(job, collector.answers, engine.world.is_writer, progress.summary())


def what_will_fail(job: BatchJob) -> str:
    """A line with the first fault and the number of the others; for a job that has some."""
    count = len(job.will_fail)
    what = "this line" if count == 1 else f"this and {count - 1} more such {'line' if count == 2 else 'lines'}"
    return f"{job.will_fail[0]}; {what} will fail, the others are answered"


def own_items(items: list[Item], world: World) -> list[Item]:
    """The items of this process's group."""
    return items[world.replica :: world.num_replicas]


def _answer_share(job: BatchJob, engine: OmniEngine, collector: AnswerCollector, debug: bool) -> None:
    """Answers this group's share of the items, and writes each answer as soon as it is there."""
    from ms_omni.cli.batch.in_flight import InFlight

    world, mine = engine.world, own_items(job.todo, engine.world)
    if world.is_writer:
        job.store.discard_results()
    job.store.discard(mine)
    in_flight = InFlight(job, engine, debug)
    try:
        for item, answer in in_flight.answer(mine):
            job.store.write(item, answer)
            if world.is_writer:
                collector.look()
    finally:
        in_flight.cancel()


def finish(job: BatchJob, new: dict[str, Answer], is_writer: bool, summary: str) -> int:
    """Writes results.jsonl, in the process that writes, and returns the exit code. new: the answers of this run."""
    from ms_omni.cli.batch.store import RESULTS

    if not is_writer:
        return 0  # another code would end the job before the writer has finished
    answers = {**job.refused, **job.answered, **new}
    job.store.merge(job.items, answers)
    print_note(summary)
    failed = sum(answer.failure is not None for answer in answers.values())
    if not failed:
        return 0
    where = job.store.directory / RESULTS
    print_note(f"{failed} of {len(answers)} conversations failed; {where} says why; the same command tries them again")
    return EXIT_SOME_FAILED
