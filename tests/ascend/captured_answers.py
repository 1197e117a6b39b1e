"""Answers of an engine whose launches are captured beside those of one without, alone and together; then what the host
does for a step. Prints one JSON document.

captured_answers.py thinker|talker"""

import json
import sys
import tempfile
from pathlib import Path

from count_launches import FEW
from counting import Spans, count_rows, gauges, write_checkpoint

from ms_omni import OmniEngine, SamplingParams

LAYERS = {**FEW, "thinker": 3}
ROWS = (1, 2)
SAMPLED = {"thinker_temperature": 0.7, "thinker_top_k": 50, "thinker_top_p": 0.8, "talker_temperature": 0.9}
# One outlives the other: steps of one row, of two, and of one that has gone on
LENGTHS = {"thinker_max_new_tokens": 7, "talker_max_new_tokens": 4, "ignore_eos": True}
ASKED = (
    ("Hello, who are you?", SamplingParams(seed=1, **LENGTHS, **SAMPLED)),
    ("The river and the sea.", SamplingParams(seed=2, **{**LENGTHS, "talker_max_new_tokens": 7}, **SAMPLED)),
)


def answers(engine, conversations):
    """Token ids and codes of conversations that run together."""
    handles = [engine.submit(question, sampling=sampling) for question, sampling in conversations]
    found = [handle.result() for handle in handles]
    return [{"ids": list(map(int, each.token_ids)), "codes": each.audio.codes.tolist()} for each in found]


def main(decoder):
    made = {"layers": LAYERS}
    settings = {"device": "Ascend", "dtype": "bfloat16", "max_num_seqs": max(ROWS)}
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(LAYERS, "bfloat16", Path(folder))
        with OmniEngine.from_pretrained(folder, launch_capture=decoder, **settings) as engine:
            made["alone"] = [answers(engine, [each])[0] for each in ASKED]
            made["captured"] = answers(engine, ASKED)
            spans = Spans(gauges)
            spans.watch_decoding()
            count_rows(engine.executor, spans, ["sampled"], {"thinker": (), "talker": (), decoder: ROWS})
            made["steps"] = {rows: spans.last[f"rows {rows} {decoder} sampled"] for rows in ROWS}
        with OmniEngine.from_pretrained(folder, **settings) as engine:
            made["plain"] = answers(engine, ASKED)
    print(json.dumps(made))


main(sys.argv[1])
