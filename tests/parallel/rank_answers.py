"""Runs under msrun as every rank: answers conversations with a model that is spread over the ranks.

rank_answers.py OUT_DIR CHECKPOINT ENGINE MODE CONVERSATIONS.json OPTIONS

CONVERSATIONS: a list of {"conversation", "sampling", "use_audio_in_video", "return_audio"}, asked one
after the other, then all of them twice and together. OPTIONS: of the engine, further ones, in JSON.
"""

import json
import sys
from pathlib import Path

from ranks import parameter_bytes, plain_answer

from ms_omni import OmniEngine, SamplingParams
from ms_omni.parallel import graph_counts
from ms_omni.runtime.graph_cache import GraphCache


def main():
    out_dir, checkpoint, engine_name, mode = Path(sys.argv[1]), *sys.argv[2:5]
    options = {"engine": engine_name, "parallel": mode, "device": "CPU"} | json.loads(sys.argv[6])
    engine = OmniEngine.from_pretrained(checkpoint, **options)
    questions = json.loads(Path(sys.argv[5]).read_text())
    for question in questions:
        question["sampling"] = SamplingParams(**question["sampling"])
    answers = [plain_answer(engine.generate(**question)) for question in questions]
    handles = [engine.submit(**question) for question in 2 * questions]
    report = {
        "answers": answers,
        "together": [plain_answer(handle.result()) for handle in handles],
        "graph_cache_hits": GraphCache._of_this_process.hits if GraphCache._of_this_process else None,
        "parameter_bytes": parameter_bytes(engine.executor),
        "graphs": {
            name: [[c.kind, c.calls, c.bytes] for c in graph_counts.graph_counts([name])]
            for name in graph_counts.compiled_graphs()
        },
    }
    (out_dir / f"rank_{engine.world.rank}.json").write_text(json.dumps(report))


main()
