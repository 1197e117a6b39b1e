"""Runs under msrun on emulated cards as every rank: answers questions in one way of sharing the model after the other,
and writes the answers to a file.

    rank_answers_on_cards.py OUT_DIR MODEL QUESTIONS.json WAYS.json

QUESTIONS: a list of {"conversation", "sampling", "return_audio"}. WAYS: a list of [mode, group size]. Every rank asks
all questions.
"""

import json
import sys
from pathlib import Path

from ms_omni import OmniEngine, SamplingParams, sharing
from ms_omni.kernels import setup_device
from ms_omni.parallel import collectives
from ms_omni.parallel.world import World, start_world

DTYPE = "float16"


def answer(engine, question):
    """[ids, codes or None]"""
    options = {**question, "sampling": SamplingParams(**question["sampling"])}
    output = engine.generate(options.pop("conversation"), **options)
    return [list(output.token_ids), output.audio and output.audio.codes.tolist()]


def main():
    out_dir, model = Path(sys.argv[1]), sys.argv[2]
    questions, ways = (json.loads(Path(name).read_text()) for name in sys.argv[3:5])
    device = setup_device("Ascend")
    job = start_world(device, None)
    worlds = {job.group_size: job}
    for size in {size for _, size in ways} - set(worlds):
        worlds[size] = collectives.connect(World(job.rank, job.world_size, size, device))
    answers = {}
    for mode, size in ways:
        sharing.start_world = lambda device, group_size, world=worlds[size]: world  # the job has been joined
        with OmniEngine.from_pretrained(model, device="Ascend", dtype=DTYPE, parallel=mode) as engine:
            answers[f"{mode} {size}"] = [answer(engine, question) for question in questions]
        (out_dir / f"rank_{job.rank}.json").write_text(json.dumps(answers))


main()
