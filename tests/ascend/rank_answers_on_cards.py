"""Runs under msrun on emulated cards as every rank: answers questions in one way of sharing the model after the other,
and writes the answers to a file.

    rank_answers_on_cards.py OUT_DIR MODEL QUESTIONS.json WAYS.json

QUESTIONS: a list of {"conversation", "sampling", "return_audio"}, which are asked together. WAYS: a list of [mode,
group size, --quantize].
"""

import json
import sys
from pathlib import Path

from ms_omni import OmniEngine, SamplingParams, distributed
from ms_omni.kernels import setup_device
from ms_omni.parallel import collectives
from ms_omni.parallel.start import start_world
from ms_omni.parallel.world import World

DTYPE = "float16"


def answers_to(engine, questions):
    """[ids, codes or None] of each"""
    asked = [{**question, "sampling": SamplingParams(**question["sampling"])} for question in questions]
    outputs = [handle.result() for handle in [engine.submit(**each) for each in asked]]
    return [[list(output.token_ids), output.audio and output.audio.codes.tolist()] for output in outputs]


def main():
    out_dir, model = Path(sys.argv[1]), sys.argv[2]
    questions, ways = (json.loads(Path(name).read_text()) for name in sys.argv[3:5])
    device = setup_device("Ascend")
    job = start_world(device, None)
    worlds = {job.group_size: job}
    for size in {size for _, size, _ in ways} - set(worlds):
        worlds[size] = collectives.connect(World(job.rank, job.world_size, size, device))
    answers = {}
    for mode, size, quantize in ways:
        distributed.start_world = lambda device, group_size, world=worlds[size]: world  # the job has been joined
        settings = {"device": "Ascend", "dtype": DTYPE, "parallel": mode, "quantize": quantize}
        with OmniEngine.from_pretrained(model, **settings) as engine:
            answers[f"{mode} {size} {quantize}"] = answers_to(engine, questions)
        (out_dir / f"rank_{job.rank}.json").write_text(json.dumps(answers))


main()
