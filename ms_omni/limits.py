"""How large the pieces are that long inputs and answers are worked on in, so that memory does not grow with them
(docs/long-inputs.md). Apart from the modules that work, since a plan reads them without MindSpore."""

# Tokens of a prompt that go through all layers together. Fewer mean that the weights are read more often.
PREFILL_CHUNK = 2048
# Thinker tokens of one graph call: one hand-over to the device and back for as many. More make the compilation longer.
TOKENS_PER_CALL = 4
# Attention scores that one call may make where the attention keeps them (all but flash): 64 MB in float32.
SCORES_PER_CALL = 1 << 24
# Rows of a packed sequence that go through an encoder together. The widest activation of the released vision encoder is
# then 16384 * 4304 * 2 B = 141 MB in bfloat16, whatever the length of a video.
ROWS_PER_GROUP = 16384
# Chunks of a second that are convolved together. The released configuration says 500, whose first convolution makes
# 500 * 480 * 64 * 50 values: 1.5 GB in bfloat16, and as much again for its activation.
CHUNKS_PER_CONVOLUTION = 64
# Codec frames that Code2Wav makes sound of together: 24 s.
CHUNK_FRAMES = 300
# Tokens of a block of the paged caches of keys and values: ATB's PagedAttention takes blocks of at most 16384 values a
# head, 128 times the released head size of 128.
BLOCK_SIZE = 128
# Rows of a decode call: conversations are padded to the next of these, each of which has its graphs.
BUCKETS = (1, 2, 4, 8, 16, 32)
