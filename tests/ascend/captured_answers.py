"""Answers of an engine whose launches are captured beside those of one without, alone and together; then what the host
does for a step. Under msrun, what every rank saw. Writes OUT_DIR/rank_N.json.

captured_answers.py OUT_DIR thinker|talker none|ep|tp|zero3 ROWS,ROWS,..."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from count_launches import FEW
from counting import Spans, count_rows, gauges, write_checkpoint

from ms_omni import OmniEngine, SamplingParams
from ms_omni.kernels import setup_device
from ms_omni.parallel.world import is_scheduler, start_world

LAYERS = {**FEW, "thinker": 3}
SAMPLED = {"thinker_temperature": 0.7, "thinker_top_k": 50, "thinker_top_p": 0.8, "talker_temperature": 0.9}
GREEDY = {"thinker_temperature": 0.0, "talker_temperature": 0.0}
QUESTIONS = ("Hello, who are you?", "The river and the sea.", "What do you know?", "Hello seven")


def asked(count):
    """So many conversations, greedy ones and sampled ones. Some outlive others: steps go on with fewer rows."""
    for number in range(count):
        lengths = {"thinker_max_new_tokens": 5 + number % 3, "talker_max_new_tokens": 4 + 2 * (number % 2)}
        way = GREEDY if number % 4 == 3 else SAMPLED
        yield QUESTIONS[number % len(QUESTIONS)], SamplingParams(seed=number, ignore_eos=True, **lengths, **way)


def answers(engine, conversations):
    """Token ids and codes of conversations that run together."""
    handles = [engine.submit(question, sampling=sampling) for question, sampling in conversations]
    found = [handle.result() for handle in handles]
    return [{"ids": list(map(int, each.token_ids)), "codes": each.audio.codes.tolist()} for each in found]


def main(out_dir, decoder, mode, rows):
    if is_scheduler():
        start_world("Ascend")
    made = {"layers": LAYERS}
    settings = {"device": "Ascend", "dtype": "bfloat16", "parallel": mode, "max_num_seqs": max(rows)}
    groups = [list(asked(count)) for count in rows]
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(LAYERS, "bfloat16", Path(folder))
        with OmniEngine.from_pretrained(folder, launch_capture=decoder, **settings) as engine:
            made["captured"] = [answers(engine, group) for group in groups]
            spans = Spans(gauges)
            spans.watch_decoding()
            count_rows(engine.executor, spans, ["sampled"], {"thinker": (), "talker": (), decoder: rows})
            made["steps"] = {count: spans.last[f"rows {count} {decoder} sampled"] for count in rows}
            rank = engine.world.rank
        with OmniEngine.from_pretrained(folder, **settings) as engine:
            made["plain"] = [answers(engine, group) for group in groups]
    Path(out_dir, f"rank_{rank}.json").write_text(json.dumps(made))


main(*sys.argv[1:4], [int(count) for count in sys.argv[4].split(",")])
