"""Sizes of the pieces in which long inputs and answers are processed, so that memory does not grow with their length
(docs/long-inputs.md). A separate module, because planning reads them without importing MindSpore."""

# Prompt tokens that go through all layers together. With fewer tokens the weights are read more often.
PREFILL_CHUNK = 2048
# Thinker tokens of one graph call: the host waits for the device once a call. More tokens make compilation longer.
TOKENS_PER_CALL = 4
# Attention scores of one call, for attentions that store them (all but flash): 64 MB in float32.
SCORES_PER_CALL = 1 << 24
# Rows of a packed sequence that go through an encoder together. The widest activation of the released vision encoder is
# then 16384 * 4304 * 2 B = 141 MB in bfloat16, whatever the length of a video.
ROWS_PER_GROUP = 16384
# One-second chunks that are convolved together. The released configuration says 500, whose first convolution makes
# 500 * 480 * 64 * 50 values: 1.5 GB in bfloat16, and as much again for its activation.
CHUNKS_PER_CONVOLUTION = 64
# Codec frames of one Code2Wav call: 24 s.
CHUNK_FRAMES = 300
# Tokens of a block of the paged caches of keys and values: ATB's PagedAttention takes blocks of at most 16384 values a
# head, 128 times the released head size of 128.
BLOCK_SIZE = 128
# Rows of a decode call: the batch is padded to the next of these sizes, each of which has its own graphs.
BUCKETS = (1, 2, 4, 8, 16, 32)
