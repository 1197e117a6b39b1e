"""Records the values that `accept` compares the tiny model's encoders and Code2Wav with: a CPU's in float32.

python -m ms_omni.acceptance.record
"""

from __future__ import annotations

import numpy as np

from ms_omni.acceptance.answer_checks import PICTURE, ask, load_engine
from ms_omni.acceptance.encoder_checks import RECORDED, TinyParts, media_inputs
from ms_omni.kernels import setup_device

FRAMES = 12


def _main() -> None:
    setup_device("CPU")
    inputs, parts = media_inputs(), TinyParts("float32", "eager")
    features, *levels = parts.picture(inputs)
    spoken = ask(load_engine("CPU", "float32"), PICTURE, speak=True).audio
    assert spoken is not None
    codes = spoken.codes[:, :FRAMES]
    recorded = {
        "picture": features,
        **{f"picture_{i}": level for i, level in enumerate(levels)},
        "sound": parts.sound(inputs),
        "wave": parts.wave(codes),
    }
    np.savez_compressed(RECORDED, codes=codes, **{name: a.astype(np.float32) for name, a in recorded.items()})


if __name__ == "__main__":
    _main()
