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
    temperature = 0.0 if kind.startswith("greedy") else 0.8
    sampling = SamplingParams(
        thinker_max_new_tokens=6, talker_max_new_tokens=5, thinker_temperature=temperature,
        talker_temperature=temperature, seed=4, ignore_eos=True,
    )  # fmt: skip
    out = engine.generate(
        [{"role": "user", "content": "Hello there"}], sampling=sampling, return_audio="text" not in kind
    )
    answers[kind] = [list(out.token_ids), out.audio.codes.tolist() if out.audio else None]
cache = GraphCache._of_this_process
print(json.dumps({"answers": answers, "hits": cache.hits if cache else None}))
