"""Runs under msrun as every rank: answers conversations with a model that is spread over the ranks.

rank_answers.py OUT_DIR CHECKPOINT ENGINE MODE CONVERSATIONS.json [operators]

CONVERSATIONS: a list of {"conversation", "sampling", "use_audio_in_video", "return_audio"}. operators: decode as an
NPU does, operator by operator.
"""

import json
import sys
from pathlib import Path

from ranks import parameter_bytes

from ms_omni import OmniEngine, SamplingParams
from ms_omni.kernels import decoder_ops_cpu
from ms_omni.parallel import graph_counts


def main():
    out_dir, checkpoint, engine_name, mode = Path(sys.argv[1]), *sys.argv[2:5]
    decoder_ops_cpu.TOKENS_IN_NUMPY = "operators" not in sys.argv
    engine = OmniEngine.from_pretrained(checkpoint, engine=engine_name, parallel=mode, device="CPU")
    answers = []
    for question in json.loads(Path(sys.argv[5]).read_text()):
        question["sampling"] = SamplingParams(**question["sampling"])
        out = engine.generate(question.pop("conversation"), **question)
        audio = [out.audio.codes.tolist(), out.audio.samples.tolist()] if out.audio else None
        answers.append([list(out.token_ids), audio])
    report = {
        "answers": answers,
        "parameter_bytes": parameter_bytes(engine.runtime),
        "graphs": {
            name: [[c.kind, c.calls, c.bytes] for c in graph_counts.graph_counts([name])]
            for name in graph_counts.compiled_graphs()
        },
    }
    (out_dir / f"rank_{engine.world.rank}.json").write_text(json.dumps(report))


main()
