"""A thousand mixed requests leave nothing behind: no graph, no block, no memory."""

import gc
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ms_omni import OmniEngine, OmniError, RequestCancelled, SamplingParams

NUM_REQUESTS, NUM_SETTINGS, AT_ONCE = 1000, 200, 4
GONE = [{"role": "user", "content": [{"type": "image", "image": "gone.png"}]}]


def resident_bytes():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def num_graphs():
    """Of this process, and of those that ours were compiled to."""
    from ms_omni.parallel.graph_counts import compiled_graphs
    from ms_omni.runtime.graph_cache import CompiledGraph

    gc.collect()  # what tests before this one left
    return len(compiled_graphs()), sum(len(graph.names) for graph in CompiledGraph.alive)


class Asker:
    """Questions of all kinds, by numbers drawn from a seed."""

    def __init__(self, engine, picture):
        self.engine, self.picture, self.random = engine, picture, np.random.default_rng(0)
        hot = self.random.uniform
        self.settings = [
            SamplingParams(
                thinker_max_new_tokens=int(self.random.integers(1, 7)),
                talker_max_new_tokens=int(self.random.integers(2, 6)),
                thinker_temperature=0.0 if i % 4 == 0 else hot(0.1, 2),
                thinker_top_k=int(self.random.integers(0, 60)),
                thinker_top_p=hot(0.3, 1),
                talker_temperature=0.0 if i % 5 == 0 else hot(0.1, 2),
                talker_top_k=int(self.random.integers(0, 60)),
                talker_top_p=hot(0.3, 1),
                talker_repetition_penalty=hot(1, 1.5),
                seed=i,
            )
            for i in range(NUM_SETTINGS)
        ]

    def ask(self, i):
        """The handle, and what it must end with."""
        sampling, speak = self.settings[i % NUM_SETTINGS], bool(self.random.random() < 0.4)
        kind = self.random.random()
        if kind < 0.05:
            return self.engine.submit(GONE), OmniError
        question = "word " * int(self.random.integers(1, 200))
        if kind < 0.15:
            parts = [{"type": "image", "image": self.picture}, {"type": "text", "text": question}]
            question = [{"role": "user", "content": parts}]
        handle = self.engine.submit(question, sampling=sampling, return_audio=speak)
        if kind > 0.9:
            time.sleep(self.random.uniform(0, 0.03))
            handle.cancel()
            return handle, (RequestCancelled, None)
        return handle, None

    def run(self, numbers):
        """Asks, with more under way than run at a time. Returns how many were answered, refused, cancelled."""
        under_way, ends = [], []
        for i in numbers:
            under_way.append(self.ask(i))
            if len(under_way) == 2 * AT_ONCE:
                ends.append(self.end(*under_way.pop(0)))
        return ends + [self.end(*each) for each in under_way]

    def end(self, handle, expected):
        try:
            output = handle.result(120)
        except (OmniError, RequestCancelled) as error:
            assert expected is not None and isinstance(error, expected if expected is OmniError else expected[0])
            return type(error).__name__
        assert expected is not OmniError and output.usage.completion_tokens == len(output.token_ids)
        return "answered"


@pytest.mark.slow
def test_a_thousand_requests_leave_nothing_behind(tiny_dir, cpu, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    with OmniEngine.from_pretrained(tiny_dir, device="CPU", max_num_seqs=AT_ONCE, warm_up=True) as engine:
        asker = Asker(engine, str(tmp_path / "red.png"))
        graphs, resident = num_graphs(), []
        asker.run(range(NUM_SETTINGS))
        ends = []
        for start in range(0, NUM_REQUESTS, 200):
            # The same 200 again: MindSpore keeps something for each new shape of an operator's inputs (with new lengths
            # of prompts 620 MB became 675 within 2,000 requests, ever more slowly)
            asker.random = np.random.default_rng(0)
            ends += asker.run(range(start, start + 200))
            gc.collect()
            resident.append(resident_bytes())
        assert len(ends) == NUM_REQUESTS and ends.count("answered") > 800
        assert ends.count("OmniError") > 20 and ends.count("RequestCancelled") > 50
        assert num_graphs() == graphs
        assert max(resident) < 1.05 * resident[0], resident
        scheduler = engine._loop._scheduler
        deadline = time.monotonic() + 60
        while scheduler.states:  # a cancelled one may still be at its last step
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for stage, pool in engine.executor.limits.pools.items():
            assert engine.free_blocks[stage] == pool.num_blocks - 1
        assert not list(engine._loop._handles)
