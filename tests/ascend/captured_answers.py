"""Answers of an engine whose launches are captured beside those of one without, of as many conversations together; then
what the host does for a step. Under msrun every rank does so. Writes OUT_DIR/rank_N.json.

captured_answers.py OUT_DIR thinker|talker none|ep|tp none|int8|int8-dynamic ROWS,ROWS,..."""

import json
import sys
import tempfile
import time
from pathlib import Path

from count_launches import FEW
from counting import WAYS, Spans, count_rows, gauges, write_checkpoint

from ms_omni import OmniEngine, SamplingParams
from ms_omni.parallel.start import start_world
from ms_omni.parallel.world import is_scheduler

LAYERS = {**FEW, "thinker": 3}
QUESTIONS = ("Hello, who are you?", "The river and the sea.", "What do you know?", "Hello seven")


def asked(decoder, count):
    """So many conversations, in some of which `decoder` picks greedily, in others it samples; the other one is greedy.
    Some outlive others: steps go on with fewer rows."""
    for number in range(count):
        lengths = {"thinker_max_new_tokens": 4 + number % 3, "talker_max_new_tokens": 4 + 2 * (number % 2)}
        way = WAYS["greedy" if number % 3 == 1 else "sampled"]
        temperatures = WAYS["greedy"] | {name: value for name, value in way.items() if name.startswith(decoder)}
        sampling = SamplingParams(seed=number, ignore_eos=True, **lengths, **temperatures)
        yield {"conversation": QUESTIONS[number % 4], "sampling": sampling, "return_audio": decoder == "talker"}


class AllTogether(list):
    """What the loop takes prepared conversations from: none of them before all are there."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def __bool__(self):
        return len(self) == self.count


def answers(engine, conversations):
    """Token ids and codes of conversations that run together. They begin together, so that the steps have the same rows
    in every run: bfloat16 is rounded otherwise beside other rows."""
    loop = engine._loop
    if hasattr(loop, "_prepared"):  # the process that schedules
        while loop._scheduler.states:
            time.sleep(0.01)
        loop._prepared = AllTogether(len(conversations))
    found = [handle.result() for handle in [engine.submit(**each) for each in conversations]]
    return [[list(map(int, each.token_ids)), each.audio and each.audio.codes.tolist()] for each in found]


def main(out_dir, decoder, mode, quantize, rows):
    if is_scheduler():
        start_world("Ascend")
    made, conversations = {"layers": LAYERS}, list(asked(decoder, max(rows)))
    settings = {"device": "Ascend", "dtype": "bfloat16", "parallel": mode, "quantize": quantize}
    settings["with_talker"] = decoder == "talker"
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(LAYERS, "bfloat16", Path(folder))
        with OmniEngine.from_pretrained(folder, launch_capture=decoder, max_num_seqs=max(rows), **settings) as engine:
            made["captured"] = {count: answers(engine, conversations[:count]) for count in rows}
            spans = Spans(gauges)
            spans.watch_decoding()
            count_rows(engine.executor, spans, ["sampled"], {"thinker": (), "talker": (), decoder: rows})
            made["steps"] = {count: spans.last[f"rows {count} {decoder} sampled"] for count in rows}
            rank = engine.world.rank
        with OmniEngine.from_pretrained(folder, max_num_seqs=max(rows), **settings) as engine:
            made["plain"] = {count: answers(engine, conversations[:count]) for count in rows}
    Path(out_dir, f"rank_{rank}.json").write_text(json.dumps(made))


main(*sys.argv[1:5], [int(count) for count in sys.argv[5].split(",")])
