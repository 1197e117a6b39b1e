"""Counts, on the emulator, what each piece of work of small checkpoints takes: launches, synchronisations, copies.

    python counting.py OUT_JSON DTYPE RUN_JSON...

Every RUN_JSON, {"mode": how the model is shared, "layers": counts by name, "ways": of picking, "rows": for each decoder
the numbers of rows}, is a checkpoint of its own with small random weights; modes but none want ranks under msrun.
Rank 0 writes OUT_JSON: for each run, by piece of work, the gauges of the last time that it was done, when graphs are
compiled and weights are on the card. Steps for several rows are those of the warm-up: all rows are nobody's.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

PREFILL_CHUNK = 32  # tokens: what a chunk launches does not depend on it
PIECE_FRAMES = 4
SOUND_SECONDS = (1, 10)
PICTURE_PIXELS = 64
NEW_TOKENS = 9  # the first with the prompt, then two calls of four
SEVERAL = 8  # rows of the step that is counted as "of several conversations"
NEW_FRAMES = 9  # pieces of 4, 4 and 1
# The Thinker's with every step of picking; the Talker's as released.
WAYS = {
    "greedy": {"thinker_temperature": 0.0, "talker_temperature": 0.0},
    "sampled": {"thinker_temperature": 0.7, "thinker_top_k": 50, "thinker_top_p": 0.8, "talker_temperature": 0.9},
}


def preset(layers: dict[str, int]) -> Any:
    """Small widths, but the released ones where operators have limits: head sizes and chosen experts."""
    from ms_omni.checkpoint.presets import PRESETS

    return replace(
        PRESETS["tiny"],
        num_layers=layers["thinker"],
        talker_layers=layers["talker"],
        predictor_layers=layers["predictor"],
        code2wav_layers=layers["code2wav"],
        vision_layers=layers["vision"],
        audio_layers=layers["audio"],
        accept_hidden_layer=min(24, layers["thinker"]),
        deepstack_layers=(0, 1, 2),
        num_heads=8,
        num_kv_heads=4,
        head_dim=128,
        mrope_section=(24, 20, 20),
        num_experts=16,
        experts_per_tok=8,
        audio_width=256,
        vision_width=144,
        vision_heads=2,
        talker_hidden=64,
        talker_experts=16,
        talker_experts_per_tok=6,
    )


class Spans:
    """What the emulator counted between begin and end of each piece of work, the last time that it was done."""

    def __init__(self, read: Callable[[], Counter[str]]):
        """read: all gauges now, of the work that is done."""
        self.last: dict[str, Counter[str]] = {}
        self.way = "greedy"
        self._read, self._own = read, Counter()
        with self.span("nothing"):  # what it takes to look
            pass
        self._own = self.last.pop("nothing")

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        before = self._settled()
        yield
        found = self._settled()
        found.subtract(before)
        found.subtract(self._own)
        self.last[name] = Counter({key: count for key, count in found.items() if count})

    def call_name(self, graphs: Any, sequences: Any, rows: Any, *arguments: Any) -> str:
        """Of a call of decoding graphs, `_decoded` of Thinker or Talker."""
        kind = "talker" if "talker" in graphs.cache.name else "thinker"
        if len(sequences) == 0:
            steps = f" x {arguments[0]}" if kind == "thinker" and arguments[0] > 1 else ""
            return f"rows {rows.bucket} {kind} {self.way}{steps}"
        return f"{kind}_{'call' if kind == 'thinker' else 'frame'}_{self.way}"

    def _settled(self) -> Counter[str]:
        import mindspore as ms

        ms.runtime.synchronize()
        return self._read()

    def watch(self, owner: type, method: str, name: Callable[..., str]) -> None:
        """Every call of `owner.method` is a span from now on, with the name that `name` gives to its arguments."""
        plain = getattr(owner, method)

        @functools.wraps(plain)
        def watched(*arguments: Any, **keywords: Any) -> Any:
            with self.span(name(*arguments, **keywords)):
                return plain(*arguments, **keywords)

        setattr(owner, method, watched)

    def watch_decoding(self) -> None:
        from ms_omni.runtime.fused_talker import FusedTalker
        from ms_omni.runtime.fused_thinker import FusedThinker

        self.watch(FusedThinker, "_decoded", self.call_name)
        self.watch(FusedTalker, "_decoded", self.call_name)

    def watch_engine(self) -> None:
        from ms_omni.models.code2wav_rings import WaveDecoder
        from ms_omni.models.thinker import Thinker
        from ms_omni.models.vision_encoder import VisionEncoder
        from ms_omni.runtime.decoder import Decoder

        def chunk(decoder: Any, pieces: Any, cache: Any, *_: Any) -> str:
            kind = "thinker" if "thinker" in cache.name else "talker"
            return f"{kind}_chunk_{'later' if pieces[0].start else 'first'}"

        def piece(decoder: Any, streams: Any, codes: Any) -> str:
            return f"code2wav_piece_{'later' if streams[0].num_frames else 'first'}"

        def sound(thinker: Any, features: Any, *_: Any) -> str:
            return f"audio_encoder_{round(features.shape[-1] / 100)}s"

        self.watch(Decoder, "prefill", chunk)
        self.watch_decoding()
        self.watch(WaveDecoder, "decode", piece)
        self.watch(Thinker, "get_audio_features", sound)
        self.watch(VisionEncoder, "construct", lambda *_, **__: "vision_encoder_picture")


def gauges() -> Counter[str]:
    """The emulator's counters now, and the bytes of each under "bytes NAME"."""
    from ascend_emulator import trace

    return Counter({**trace.counts(), **{f"bytes {name}": size for name, size in trace.num_bytes().items()}})


def conversation(*media: dict[str, Any]) -> list[dict[str, Any]]:
    words = {"type": "text", "text": "hello " * (2 * PREFILL_CHUNK)}
    return [{"role": "user", "content": [*media, words]}]


def count_one(engine: Any, spans: Spans, ways: list[str], rows: dict[str, list[int]]) -> dict[str, dict[str, int]]:
    """The gauges of every piece of work of one checkpoint. ways: of picking tokens. rows: by decoder."""
    from PIL import Image

    from ms_omni.config import SamplingParams

    spans.last.clear()
    lengths = {"thinker_max_new_tokens": NEW_TOKENS, "talker_max_new_tokens": NEW_FRAMES, "ignore_eos": True, "seed": 1}
    pieces = {"first_chunk_frames": PIECE_FRAMES, "chunk_frames": PIECE_FRAMES}
    short = SamplingParams(thinker_max_new_tokens=1, thinker_temperature=0.0)
    media = [{"type": "audio", "audio": np.zeros(16_000 * seconds, np.float32)} for seconds in SOUND_SECONDS]
    media.append({"type": "image", "image": Image.new("RGB", (PICTURE_PIXELS, PICTURE_PIXELS))})
    for _ in range(2):  # constants and new shapes cost copies and waits the first time
        for part in media:
            engine.generate(conversation(part), sampling=short, return_audio=False)
        for spans.way in ways:
            sampling = SamplingParams(**lengths, **WAYS[spans.way])
            engine.generate(conversation(), sampling=sampling, return_audio=True, **pieces)
    count_rows(engine.executor, spans, ways, rows)
    for kind in ("thinker", "talker"):
        for way in ways:
            if several := spans.last.get(f"rows {SEVERAL} {kind} {way}"):
                spans.last[f"{kind}_rows_{way}"] = several
    return {name: dict(sorted(found.items())) for name, found in sorted(spans.last.items())}


def count_rows(executor: Any, spans: Spans, ways: list[str], rows: dict[str, list[int]]) -> None:
    """Steps of nobody's rows."""
    from ms_omni.config import SamplingParams
    from ms_omni.runtime.sampling import Sampling
    from ms_omni.runtime.talker_sampling import TalkerSampling

    for spans.way in ways:
        sampling = SamplingParams(**WAYS[spans.way]).resolved({})
        for count in (count for count in rows["thinker"] for _ in range(2)):
            executor.thinker.warm_up(count, Sampling.of(sampling, "thinker"))
        for count in (count for count in rows["talker"] for _ in range(2)):
            executor.talker.warm_up(count, TalkerSampling.of(sampling))


def write_checkpoint(layers: dict[str, int], dtype: str, directory: Path) -> None:
    from ms_omni.checkpoint.presets import PRESETS
    from ms_omni.checkpoint.tiny import write_tiny

    name = "counted"
    PRESETS[name] = preset(layers)
    write_tiny(directory, preset=name, dtype=dtype)


def main() -> None:
    out, dtype, *runs = sys.argv[1:]
    from ms_omni import OmniEngine, limits
    from ms_omni.kernels import setup_device
    from ms_omni.parallel.start import start_world
    from ms_omni.parallel.world import is_scheduler

    if is_scheduler():
        start_world("Ascend")
    limits.PREFILL_CHUNK = PREFILL_CHUNK
    setup_device("Ascend")
    spans = Spans(gauges)
    spans.watch_engine()
    found, start = [], time.perf_counter()
    for run in map(json.loads, runs):
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(run["layers"], dtype, Path(folder))
            settings = {"engine": "fused", "device": "Ascend", "parallel": run["mode"], "dtype": dtype}
            settings["quantize"] = run["quantize"]
            # Caches are as large as one conversation needs; nobody's rows need none
            with OmniEngine.from_pretrained(folder, max_num_seqs=1, **settings) as engine:
                found.append({**run, "counts": count_one(engine, spans, run["ways"], run["rows"])})
        what = f"{run['mode']}, {run['quantize']}, {run['layers']}"
        print(f"counted {what}: {time.perf_counter() - start:.0f} s", flush=True)
        if engine.world.is_writer:
            Path(out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
