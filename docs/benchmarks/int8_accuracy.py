"""What 8-bit weights change in a checkpoint: hidden states layer by layer, logits, and distributions
of the next token, of random prompts, against float32 weights. On the CPU. Beside them, for a measure, the same weights
rounded to bfloat16, with everything else in float32; and what is left where every token is kept with the experts that
it chose with float32 weights, since one expert for another changes more than rounding does.

    python docs/benchmarks/int8_accuracy.py [--preset bench | --model DIR] [--seeds 3] [--prompts 8] [--tokens 64]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ms_omni.kernels import numpy_blocks

# Weight names of a decoder, of its words' vectors and of its head
DECODERS = {
    "Thinker": ("thinker.model.", "thinker.model.embed_tokens.weight", "thinker.lm_head.weight"),
    "Talker": ("talker.model.", "talker.model.codec_embedding.weight", "talker.codec_head.weight"),
    "code predictor": (
        "talker.code_predictor.model.",
        "talker.code_predictor.model.codec_embedding.0.weight",
        "talker.code_predictor.lm_head.1.weight",
    ),
}
BFLOAT16 = "bfloat16"
WAYS = (BFLOAT16, "int8", "int8-dynamic")


class Bfloat16Reader:
    """As a CheckpointReader; what --quantize would make int8 is rounded to bfloat16."""

    def __init__(self, reader: Any):
        self.reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def read(self, name: str) -> np.ndarray:
        import ml_dtypes

        from ms_omni.checkpoint.int8 import is_quantized

        values = self.reader.read(name)
        return values.astype(ml_dtypes.bfloat16).astype(np.float32) if is_quantized(name) else values


class Choices:
    """Of experts: those of one run, which may be repeated in later ones."""

    def __init__(self) -> None:
        self.made: list[np.ndarray] = []
        self._left: Any = None

    @contextmanager
    def during(self, repeated: bool) -> Iterator[None]:
        """Writes down what is chosen, or repeats it from the beginning."""
        plain, self._left = numpy_blocks.route, iter(self.made) if repeated else None

        def route(logits: np.ndarray, top_k: int, normalize: bool) -> tuple[np.ndarray, np.ndarray]:
            if self._left is None:
                chosen, shares = plain(logits, top_k, normalize)
                self.made.append(chosen)
                return chosen, shares
            chosen = next(self._left)
            chances = np.exp(logits - logits.max(1, keepdims=True))
            chances /= chances.sum(1, keepdims=True)
            shares = np.take_along_axis(chances, chosen, 1)
            return chosen, shares / shares.sum(1, keepdims=True) if normalize else shares

        numpy_blocks.route = route
        try:
            yield
        finally:
            numpy_blocks.route = plain


def states_of(decoder: Any, x: list[np.ndarray]) -> list[np.ndarray]:
    """x: float32 (tokens, hidden) of each prompt. What enters each layer but the first, and the normed states, all
    prompts one behind the other."""
    import mindspore as ms

    from ms_omni.limits import BLOCK_SIZE
    from ms_omni.runtime.prompt_chunk import PromptChunk

    blocks = -(-len(x[0]) // BLOCK_SIZE)
    cache = decoder.new_cache(1 + blocks * len(x), "accuracy")
    pieces = [
        PromptChunk(ms.Tensor(rows), np.arange(len(rows)), list(range(1 + n * blocks, 1 + (n + 1) * blocks)), 0)
        for n, rows in enumerate(x)
    ]
    made = [decoder.prefill(pieces, cache, layer)[1].asnumpy() for layer in range(1, decoder.num_layers)]
    return [*made, decoder.prefill(pieces, cache)[0].asnumpy()]


def relative(made: np.ndarray, right: np.ndarray) -> float:
    """Of all values together: the root of the mean square of what differs over that of what is right."""
    return float(np.linalg.norm(made - right) / np.linalg.norm(right))


def divergence(made: np.ndarray, right: np.ndarray) -> np.ndarray:
    """KL(right || made) of the distributions that logits (rows, words) stand for, in nats: (rows,)."""
    log_made, log_right = (x - np.logaddexp.reduce(x, axis=1, keepdims=True) for x in (made, right))
    return (np.exp(log_right) * (log_right - log_made)).sum(1)


def compare(directory: Path, name: str, prompts: int, tokens: int, seed: int) -> dict[str, dict[str, Any]]:
    """By way: relative errors by layer and of logits, divergence, also with the experts kept, equal first choices."""
    import mindspore as ms

    from ms_omni.checkpoint.config import read_config
    from ms_omni.checkpoint.int8_reader import Int8Reader
    from ms_omni.checkpoint.reader import CheckpointReader
    from ms_omni.kernels.decoder_ops import decoder_ops
    from ms_omni.runtime.decoder import Decoder
    from ms_omni.runtime.decoder_spec import DecoderSpec

    prefix, words, head_name = DECODERS[name]
    config, reader, rng = read_config(directory), CheckpointReader(directory), np.random.default_rng([seed, prompts])
    talker = config.talker_config
    text = dict(
        zip(
            DECODERS, (config.thinker_config.text_config, talker.text_config, talker.code_predictor_config), strict=True
        )
    )
    spec, vectors = DecoderSpec.from_config(text[name]), reader.read(words).astype(np.float32)
    head = reader.read(head_name).astype(np.float64)
    x = [vectors[rng.integers(0, len(vectors), tokens)] for _ in range(prompts)]

    choices = Choices()

    def states(quantize: str, repeated: bool = False) -> list[np.ndarray]:
        source: Any = Int8Reader(reader)
        if quantize in ("none", BFLOAT16):
            source, quantize = reader if quantize == "none" else Bfloat16Reader(reader), "none"
        decoder = Decoder(source, prefix, spec, decoder_ops("CPU"), ms.float32, quantize=quantize)
        with choices.during(repeated):
            return states_of(decoder, x)

    right = states("none")
    logits, float_choices, found = right[-1] @ head.T, choices.made, {}
    for way in WAYS:
        choices.made = float_choices
        kept = divergence(states(way, repeated=True)[-1] @ head.T, logits)
        choices.made = []
        made = states(way)
        scores = made[-1] @ head.T
        found[way] = {
            "layers": [relative(*each) for each in zip(made, right, strict=True)],
            "logits": relative(scores, logits),
            "divergence": divergence(scores, logits),
            "kept": float(kept.mean()),
            "same": float((scores.argmax(1) == logits.argmax(1)).mean()),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="bench")
    parser.add_argument("--model", type=Path, help="a checkpoint directory, whatever the preset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    from ms_omni.checkpoint.tiny import write_tiny
    from ms_omni.kernels import setup_device

    setup_device("CPU")
    titles = ("decoder", "seed", "weights", "after layer 1", "last layer, normed", "logits", "KL, mean (most)")
    print("| " + " | ".join((*titles, "KL, experts kept", "same choice")) + " |\n" + "|---" * 9 + "|")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            directory = options.model or write_tiny(Path(folder) / "checkpoint", options.preset, seed=seed)
            for name in DECODERS:
                for way, each in compare(directory, name, options.prompts, options.tokens, seed).items():
                    layers, kl = each["layers"], each["divergence"]
                    print(
                        f"| {name} | {seed} | {way} | {layers[0]:.2%} | {layers[-1]:.2%} | {each['logits']:.2%} | "
                        f"{kl.mean():.2e} ({kl.max():.2e}) | {each['kept']:.2e} | {each['same']:.1%} |",
                        flush=True,
                    )
                    print(f"  by layer: {' '.join(f'{error:.2%}' for error in layers)}", flush=True)


if __name__ == "__main__":
    main()
