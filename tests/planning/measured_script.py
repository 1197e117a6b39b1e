"""Loads a checkpoint in a process of its own, answers once, and prints what it holds: Parameters, caches, anonymous
memory at its peak (mapped files are no need of it). `measured_script.py MODEL WORKLOAD_JSON`"""

import json
import sys
import threading
import time

import numpy as np
from PIL import Image

from ms_omni import OmniEngine, SamplingParams


def anonymous_bytes() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon:"))


def watch(peak: list[int]) -> None:
    while True:
        peak[0] = max(peak[0], anonymous_bytes())
        time.sleep(0.005)


def conversation(work: dict) -> list[dict]:
    width, height = work["video_size"]
    frames = int(work["video_seconds"] * 2)
    parts = [{"type": "image", "image": Image.new("RGB", tuple(size))} for size in work["images"]]
    if work["audio_seconds"]:
        parts.append({"type": "audio", "audio": np.zeros(int(16_000 * work["audio_seconds"]), np.float32)})
    if frames:
        parts.append({"type": "video", "video": np.zeros((frames, 3, height, width), np.uint8)})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "hello " * work["words"]}]}]


def parameter_bytes(model, decoders) -> int:
    """Each weight once: the final norm of a decoder, some KB, is in mindone's shell as well."""
    ends = tuple(f"{part}.model.norm" for part in ("thinker", "talker", "talker.code_predictor"))
    shell = [p for name, p in model.parameters_and_names() if not name.removesuffix(".weight").endswith(ends)]
    found = {id(p): p for p in (*shell, *(p for decoder in decoders for p in decoder.get_parameters()))}
    return sum(p.size * p.itemsize for p in found.values())


def main() -> None:
    model, work = sys.argv[1], json.loads(sys.argv[2])
    peak = [0]
    threading.Thread(target=watch, args=(peak,), daemon=True).start()
    speak = work["talker_max_new_tokens"] > 0
    engine = OmniEngine.from_pretrained(model, engine="fused", device="CPU", with_talker=speak)
    sampling = SamplingParams(
        thinker_max_new_tokens=work["max_new_tokens"],
        talker_max_new_tokens=max(2, work["talker_max_new_tokens"]),
        thinker_temperature=0,
        talker_temperature=0,
        ignore_eos=True,
    )
    output = engine.generate(conversation(work), return_audio=speak, sampling=sampling)
    runtime = engine.runtime
    decoders = [runtime._thinker.decoder]
    pools = [runtime._thinker._pool]
    caches = []
    if speak:
        decoders += [runtime._talker.decoder, runtime._talker.predictor]
        pools.append(runtime._talker._pool)
        caches.append(runtime._talker.frame_cache)
    caches += [cache for pool in pools for cache in pool._caches.values()]
    found = {
        "prompt_tokens": output.usage.prompt_tokens,
        "weight_bytes": parameter_bytes(runtime.model, decoders),
        "kv_cache_bytes": sum(p.size * p.itemsize for c in caches for p in (*c.keys, *c.values)),
        "peak_bytes": peak[0],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
