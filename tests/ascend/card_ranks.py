"""Runs a program of these tests under msrun on emulated cards and collects what its ranks report."""

import io
import json
import os
from pathlib import Path

from ms_omni.parallel.job import Job
from ms_omni.parallel.msrun import JobSpec, find_msrun, free_port, job_environment, job_settings, msrun_line


def run_card_ranks(program, out_dir, *arguments, cards):
    """The reports rank_N.json that `program` OUT_DIR ARGUMENTS... left, by rank. It runs in `out_dir`, where MindSpore
    leaves files of its own."""
    here = Path(__file__).parent
    words = (str(here / program), str(out_dir), *map(str, arguments))
    spec = JobSpec(cards, words, out_dir / "logs", master_port=free_port())
    spec.log_dir.mkdir(parents=True)
    # what a launch on cards sets, with as many cards as ranks
    environment = job_environment(job_settings(spec, os.environ, "Ascend", 1), os.environ)
    paths = [str(here), str(here.parents[1]), environment.get("PYTHONPATH", "")]
    environment.setdefault("HCCL_EXEC_TIMEOUT", "900")  # ranks compile unevenly on a busy machine
    environment |= {"EMULATED_CARDS": str(cards), "PYTHONPATH": os.pathsep.join(paths)}
    messages = io.StringIO()
    before = os.getcwd()
    os.chdir(out_dir)
    try:
        code = Job(spec, msrun_line(spec, find_msrun()), environment, messages, messages).run()
    finally:
        os.chdir(before)
    assert code == 0, messages.getvalue()
    return [json.loads((out_dir / f"rank_{rank}.json").read_text()) for rank in range(cards)]
