"""Runs under msrun as every rank: a split vocabulary in graphs, then an answer of mindone's engine under zero3.

rank_sharded.py OUT_DIR CHECKPOINT CONVERSATION
"""

import json
import sys
from pathlib import Path

import mindspore as ms
import numpy as np

from ms_omni import OmniEngine, SamplingParams
from ms_omni.parallel import collectives, vocabulary
from ms_omni.parallel.table import part

ROWS, HIDDEN = 13, 4


class Vocabulary:
    def __init__(self, world):
        self.world, self.vocabulary = world, vocabulary
        self.whole = np.random.default_rng(0).integers(-8, 9, (ROWS, HIDDEN)).astype(np.float32)
        mine = self.whole[part(ROWS, world.group_rank, world.group_size)]
        padded = np.pad(mine, ((0, -(-ROWS // world.group_size) - len(mine)), (0, 0)))
        self.weight = ms.Parameter(ms.Tensor(padded), name="table")

    def lookup(self, ids):
        return self.vocabulary.lookup(self.weight, ids, self.world, ROWS)

    def logits(self, x):
        return self.vocabulary.logits(x, self.weight, self.world, ROWS)

    def check(self):
        ids, x = ms.Tensor(np.arange(ROWS, dtype=np.int32)), ms.Tensor(np.eye(HIDDEN, dtype=np.float32))
        for function, argument, expected in ((self.lookup, ids, self.whole), (self.logits, x, self.whole.T)):
            np.testing.assert_array_equal(function(argument).asnumpy(), expected)
            np.testing.assert_array_equal(ms.jit(function, jit_level="O0")(argument).asnumpy(), expected)


def main():
    out_dir, checkpoint, conversation = Path(sys.argv[1]), sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
    engine = OmniEngine.from_pretrained(checkpoint, engine="mindone", parallel="zero3", device="CPU")
    Vocabulary(engine.world).check()
    collectives.reset_counts()
    greedy = {"thinker_temperature": 0.0, "talker_temperature": 0.0}
    out = engine.generate(
        conversation, sampling=SamplingParams(thinker_max_new_tokens=3, talker_max_new_tokens=3, **greedy)
    )
    report = {
        "token_ids": list(out.token_ids),
        "codes": out.audio.codes.tolist(),
        "samples": out.audio.samples.tolist(),
        "parameter_bytes": sum(parameter.nbytes for parameter in engine.model.get_parameters()),
        "calls": {count.kind: count.calls for count in collectives.counts()},
    }
    (out_dir / f"rank_{engine.world.rank}.json").write_text(json.dumps(report))


main()
