"""Run by test_graph_cache: answers in the order of the arguments, with graphs kept in a directory; JSON of the answers
and of how many graphs came from there."""

import json
import sys

from ms_omni import OmniEngine, SamplingParams
from ms_omni.runtime.graph_cache import GraphCache

model, directory, *kinds = sys.argv[1:]
engine = OmniEngine.from_pretrained(model, engine="fused", device="CPU", compile_cache=directory or None)
answers = {}
for kind in kinds:
    sampling = SamplingParams(thinker_max_new_tokens=6, talker_max_new_tokens=5, seed=4, ignore_eos=True)
    question = "Hello there" * (200 if "long" in kind else 1)
    out = engine.generate(question, sampling=sampling, return_audio="text" not in kind)
    answers[kind] = [list(out.token_ids), out.audio.codes.tolist() if out.audio else None]
cache = GraphCache._of_this_process
print(json.dumps({"answers": answers, "hits": cache.hits if cache else None}))
