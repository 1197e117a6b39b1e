"""Loads a checkpoint in a process of its own, answers once, and prints what it holds: Parameters, the blocks of the
caches that the answer was given, anonymous memory at its peak, of all and of loading alone (mapped files are no need of
it). `measured_script.py MODEL WORKLOAD_JSON QUANTIZE`"""

import json
import sys
import threading
import time

import numpy as np
from PIL import Image

from ms_omni import OmniEngine, SamplingParams
from ms_omni.kernels import setup_device
from ms_omni.scheduling.blocks import BlockAllocator


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


def watch_blocks(allocator) -> list[int]:
    """Most blocks in use at a time, by allocator in the order in which they were made (a decoder's each)."""
    most: list[int] = []
    plain_init, plain_allocate = allocator.__init__, allocator.allocate

    def __init__(self, *arguments, **keywords):
        plain_init(self, *arguments, **keywords)
        self.place, self.all_free = len(most), self.num_free
        most.append(0)

    def allocate(self, num_tokens):
        blocks = plain_allocate(self, num_tokens)
        most[self.place] = max(most[self.place], self.all_free - self.num_free)
        return blocks

    allocator.__init__, allocator.allocate = __init__, allocate
    return most


def main() -> None:
    model, work, quantize = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    setup_device("CPU")
    before = anonymous_bytes()
    peak = [0]
    threading.Thread(target=watch, args=(peak,), daemon=True).start()
    speak = work["talker_max_new_tokens"] > 0
    blocks = watch_blocks(BlockAllocator)
    engine = OmniEngine.from_pretrained(model, engine="fused", device="CPU", with_talker=speak, quantize=quantize)
    loading = peak[0] - before
    sampling = SamplingParams(
        thinker_max_new_tokens=work["max_new_tokens"],
        talker_max_new_tokens=max(2, work["talker_max_new_tokens"]),
        thinker_temperature=0,
        talker_temperature=0,
        ignore_eos=True,
    )
    output = engine.generate(conversation(work), return_audio=speak, sampling=sampling)
    executor = engine.executor
    decoders = [executor._thinker.decoder]
    if speak:
        decoders += [executor.talker.decoder, executor.talker.predictor]
    # With block 0 of each cache, which takes what rows of nobody write
    pools = executor.limits.pools.values()
    cache_bytes = sum((count + 1) * pool.block_bytes for count, pool in zip(blocks, pools, strict=True))
    if speak:  # of the code predictor's cache, which has a block a row
        frames = executor.talker.frames.cache
        of_all = sum(p.size * p.itemsize for p in (*frames.keys, *frames.values))
        cache_bytes += 2 * of_all // frames.num_blocks
    found = {
        "prompt_tokens": output.usage.prompt_tokens,
        "weight_bytes": parameter_bytes(executor.model, decoders),
        "kv_cache_bytes": cache_bytes,
        "peak_bytes": peak[0],
        "loading_bytes": loading,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
