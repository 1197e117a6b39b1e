"""Runs a program of the tests under msrun and collects what its ranks report."""

import io
import json
import os
from pathlib import Path

from ms_omni.parallel.job import Job
from ms_omni.parallel.msrun import JobSpec, find_msrun, free_port, job_environment, job_settings, msrun_line


def run_ranks(program, out_dir, *arguments, cards=2):
    """The reports rank_N.json that `program` OUT_DIR ARGUMENTS... left, by rank."""
    words = (str(Path(__file__).parent / program), str(out_dir), *map(str, arguments))
    spec = JobSpec(cards, words, out_dir / "logs", master_port=free_port())
    spec.log_dir.mkdir(parents=True)
    environment = job_environment(job_settings(spec, os.environ, "CPU", os.cpu_count() or 1), os.environ)
    messages = io.StringIO()
    code = Job(spec, msrun_line(spec, find_msrun()), environment, messages, messages).run()
    assert code == 0, messages.getvalue()
    return [json.loads((out_dir / f"rank_{rank}.json").read_text()) for rank in range(cards)]


def plain_answer(output):
    """Of an OmniOutput, for JSON: ids, and codes and samples if it speaks."""
    audio = output.audio and [output.audio.codes.tolist(), output.audio.samples.tolist()]
    return [list(output.token_ids), audio]


def parameter_bytes(executor):
    """Of every Parameter that an engine's executor holds, caches left out."""
    found = {id(p): p for p in executor.model.get_parameters()}
    for part in (getattr(executor, "_thinker", None), getattr(executor, "_talker", None)):
        for decoder in (getattr(part, "decoder", None), getattr(part, "predictor", None)):
            found |= {id(p): p for p in decoder.get_parameters()} if decoder is not None else {}
    return sum(parameter.nbytes for parameter in found.values())
