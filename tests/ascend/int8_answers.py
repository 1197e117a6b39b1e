"""What an engine with 8-bit weights says of the built-in model: run as a program for the CPU's answers, imported for
those of the emulated card.

    python int8_answers.py OUT.json int8,int8-dynamic
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "ms_omni" / "assets" / "tiny"
# A picture, and a spoken question
CONVERSATIONS = {
    "picture": [
        {"type": "image", "image": str(ROOT / "ms_omni" / "assets" / "tiny_shapes.png")},
        {"type": "text", "text": "What do you see?"},
    ],
    "question": [{"type": "audio", "audio": str(ROOT / "ms_omni" / "assets" / "question.wav")}],
}
FRAMES = 8


def engine_of(device: str, dtype: str, quantize: str) -> Any:
    from ms_omni import OmniEngine

    return OmniEngine.from_pretrained(str(MODEL), device=device, dtype=dtype, quantize=quantize, max_num_seqs=2)


def answer(engine: Any, name: str) -> dict[str, Any]:
    """Text, ids and codes, all picked greedily."""
    from ms_omni import SamplingParams

    sampling = SamplingParams(
        thinker_max_new_tokens=32,
        thinker_temperature=0.0,
        talker_max_new_tokens=FRAMES,
        talker_temperature=0.0,
        talker_repetition_penalty=1.0,
    )
    conversation = [{"role": "user", "content": CONVERSATIONS[name]}]
    out = engine.generate(conversation, sampling=sampling, return_audio=True)
    return {"text": out.text, "ids": list(map(int, out.token_ids)), "codes": out.audio.codes.tolist()}


def main(out: str, precisions: str) -> None:
    found = {}
    for quantize in precisions.split(","):
        with engine_of("CPU", "float32", quantize) as engine:
            found[quantize] = {name: answer(engine, name) for name in CONVERSATIONS}
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
