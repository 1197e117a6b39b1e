"""The phrasebook as the ears hear it: 16 kHz, as recorded and as Code2Wav says it.

python docs/tiny/own_voice.py FILE.npz --phrases FILE.npz --files DIR --code2wav FILE.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from speech import FRAME, Phrasebook, parts

FRAME_16K = FRAME * 2 // 3


class OwnVoice:
    """Answers in the model's own two voices."""

    def __init__(self, path: Path):
        data = np.load(path)
        self.starts, self.versions = data["starts"], data["samples"]
        self.keys = {tuple(key.split("|")): index for index, key in enumerate(data["keys"])}

    def say(self, answer: str, speaker: str, version: int) -> tuple[tuple[str, ...], np.ndarray]:
        """(words, float32 samples at 16 kHz). version: 0 as recorded, 1 through Code2Wav."""
        said = parts(answer)
        entries = [self.keys[(speaker, word, "final" if final else "inner")] for word, final in said]
        pieces = [self.versions[version, FRAME_16K * self.starts[e] : FRAME_16K * self.starts[e + 1]] for e in entries]
        return tuple(word for word, _ in said if word[0] != "<"), np.concatenate(pieces).astype(np.float32) / 32768


def main() -> None:
    import torch
    from code2wav import Code2Wav
    from config_file import read_config
    from safetensors.torch import load_file
    from scipy.signal import resample_poly

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("phrases", "files", "code2wav"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    data = np.load(options.phrases)
    book = Phrasebook(options.phrases)
    model = Code2Wav(read_config(options.files).code2wav_config).eval()
    weights = load_file(options.code2wav)
    model.load_state_dict({key.removeprefix("code2wav."): value for key, value in weights.items()})
    silent = book.codes[book.keys[("ethan", "<silence>", "inner")] :][:1]
    made = []
    for a, b in zip(book.starts, book.starts[1:], strict=False):
        codes = np.concatenate([np.repeat(silent, 3, 0), book.codes[a:b], np.repeat(silent, 2, 0)]).astype(np.int64)
        with torch.no_grad():
            wave = model(torch.from_numpy(codes)[None])[0].clamp(-1, 1).numpy()
        made.append(wave[3 * FRAME : (3 + b - a) * FRAME])
    both = np.stack([book.samples.astype(np.float32) / 32768, np.concatenate(made)])
    low = np.clip(resample_poly(both, 2, 3, axis=1), -1, 1)
    np.savez_compressed(options.out, keys=data["keys"], starts=book.starts, samples=(low * 32767).astype(np.int16))
    error = np.abs(both[0] - both[1]).mean() / np.abs(both[0]).mean()
    print(f"relative error of the wave {error:.3f}")


if __name__ == "__main__":
    main()
