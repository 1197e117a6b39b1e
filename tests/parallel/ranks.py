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
