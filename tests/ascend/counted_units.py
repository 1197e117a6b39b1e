"""What the emulator's launch counts are made of: units of work, the layers that they depend on, precisions, gauges."""

# Precisions (--quantize) that were counted.
COUNTED_QUANTIZE = ("none", "int8", "int8-dynamic")
# Of the released model; "predictor" is each of the code predictor's steps in a frame.
RELEASED_LAYERS = {"thinker": 48, "talker": 20, "predictor": 5, "code2wav": 8, "vision": 27, "audio": 32}
# What is counted, and on whose number of layers it depends.
UNITS = {
    "thinker_call_greedy": ("thinker",),
    "thinker_call_sampled": ("thinker",),
    "thinker_rows_greedy": ("thinker",),
    "thinker_rows_sampled": ("thinker",),
    "thinker_chunk_first": ("thinker",),
    "thinker_chunk_later": ("thinker",),
    "talker_frame_greedy": ("talker", "predictor"),
    "talker_frame_sampled": ("talker", "predictor"),
    "talker_chunk_first": ("talker",),
    "talker_chunk_later": ("talker",),
    "code2wav_piece_first": ("code2wav",),
    "code2wav_piece_later": ("code2wav",),
    "audio_encoder_1s": ("audio",),
    "audio_encoder_10s": ("audio",),
    "vision_encoder_picture": ("vision",),
}
_GAUGE_OF_BEGINNING = {
    "aclnn": "aclnn",
    "internal": "internal",
    "aclop": "aclop",
    "synchronize": "synchronisations",
    "copy host to device": "copies_to_card",
    "copy device to host": "copies_from_card",
    "copy device to device": "copies_on_card",
    "hccl": "collectives",
}


def gauge_of(name: str) -> str | None:
    """The gauge that a name of the emulator's counts belongs to, such as "aclnn aclnnAdd"; None for other counts."""
    for beginning, gauge in _GAUGE_OF_BEGINNING.items():
        if name == beginning or name.startswith(beginning + " "):
            return gauge
    return None
