"""Runs under msrun as every rank: answers conversations of its own with a model that is spread over the ranks.

rank_data_parallel.py OUT_DIR CHECKPOINT CONVERSATIONS.json

CONVERSATIONS: for each rank a list as rank_answers.py has it. An answer is [ids, audio], or an error's words.
"""

import json
import sys
from pathlib import Path

from ranks import parameter_bytes, plain_answer

from ms_omni import OmniEngine, OmniError, SamplingParams
from ms_omni.parallel import graph_counts


def answer(engine, question):
    sampling = SamplingParams(**question.pop("sampling"))
    try:
        return plain_answer(engine.generate(question.pop("conversation"), sampling=sampling, **question))
    except OmniError as error:
        return str(error)


def is_one_chain(name):
    """Whether every collective of a compiled graph waits for the one before: then all graphs keep one order."""
    behind, count = {}, 0
    for node in graph_counts.graph_nodes(name):
        is_collective = graph_counts._kind(node) is not None
        behind[node.name] = max((behind.get(value.name, 0) for value in node.input), default=0) + is_collective
        count += is_collective
    return max(behind.values(), default=0) == count


def main():
    out_dir, checkpoint = Path(sys.argv[1]), sys.argv[2]
    engine = OmniEngine.from_pretrained(checkpoint, engine="fused", parallel="zero3", data_parallel=True, device="CPU")
    mine = json.loads(Path(sys.argv[3]).read_text())[engine.world.rank]
    report = {
        "answers": [answer(engine, question) for question in mine],
        "parameter_bytes": parameter_bytes(engine.runtime),
    }
    engine.take_part()
    report["graphs"] = {
        name: [[c.kind, c.calls, c.bytes] for c in graph_counts.graph_counts([name])]
        for name in graph_counts.compiled_graphs()
    }
    report["are_chains"] = [is_one_chain(name) for name in graph_counts.compiled_graphs()]
    (out_dir / f"rank_{engine.world.rank}.json").write_text(json.dumps(report))


main()
