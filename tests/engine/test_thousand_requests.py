"""A thousand requests of all kinds: nothing is compiled after the warm-up, memory stays, every block comes back."""

from __future__ import annotations

import gc
import random
from pathlib import Path
from typing import Any

import pytest

from ms_omni import OmniEngine, OmniError, SamplingParams
from ms_omni.parallel.graph_counts import compiled_graphs
from ms_omni.scheduling.request import RequestCancelled

ASSETS = Path(__file__).parents[2] / "ms_omni" / "assets"
NUM_REQUESTS = 1000
NUM_SETTINGS = 200
NUM_WARM = 100


def _resident_kib() -> int:
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def _settings(chance: random.Random, number: int) -> SamplingParams:
    return SamplingParams(
        thinker_temperature=chance.choice([0.0, 0.5 + number / 500]),
        thinker_top_k=chance.choice([0, 1 + number]),
        thinker_top_p=chance.uniform(0.5, 1.0),
        talker_temperature=chance.choice([0.0, 0.4 + number / 300]),
        talker_top_k=chance.choice([0, 1 + number // 2]),
        talker_repetition_penalty=1.0 + number / 1000,
        thinker_max_new_tokens=chance.randint(1, 8),
        talker_max_new_tokens=chance.randint(2, 6),
        seed=number,
    )


def _conversation(chance: random.Random) -> Any:
    kind = chance.choice(["text", "text", "text", "text", "image", "missing"])
    if kind == "text":
        return "Hello " * chance.randint(1, 40)
    name = "shapes.png" if kind == "image" else "absent.png"
    content = [{"type": "image", "image": str(ASSETS / name)}, {"type": "text", "text": "What is it?"}]
    return [{"role": "user", "content": content}]


@pytest.mark.slow
def test_a_thousand_requests(tiny_dir: Path, cpu: None) -> None:
    chance = random.Random(3)
    settings = [_settings(chance, number) for number in range(NUM_SETTINGS)]
    ended = {"answered": 0, "cancelled": 0, "refused": 0}
    with OmniEngine.from_pretrained(tiny_dir, device="CPU", max_num_seqs=8, warm_up=True) as engine:
        free = engine.free_blocks

        def ask(count: int) -> None:
            handles: list[Any] = []
            for _ in range(count):
                handle = engine.submit(
                    _conversation(chance), return_audio=chance.random() < 0.5, sampling=chance.choice(settings)
                )
                if chance.random() < 0.1:
                    handle.cancel()
                handles.append(handle)
                if len(handles) == 24:
                    end(handles.pop(0))
            for handle in handles:
                end(handle)

        def end(handle: Any) -> None:
            try:
                handle.result(timeout=300)
                ended["answered"] += 1
            except RequestCancelled:
                ended["cancelled"] += 1
            except OmniError:
                ended["refused"] += 1

        graphs = compiled_graphs()
        ask(NUM_WARM)
        resident = _resident_kib()
        ask(NUM_REQUESTS - NUM_WARM)
        assert compiled_graphs() == graphs
        assert _resident_kib() < 1.05 * resident
        assert engine.free_blocks == free
    assert all(count > 50 for count in ended.values()) and sum(ended.values()) == NUM_REQUESTS
