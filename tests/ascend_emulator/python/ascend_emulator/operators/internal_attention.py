"""Internal kernels of MindSpore: paged caches and flash attention without a mask."""

from __future__ import annotations

import numpy as np

from ascend_emulator.attention_math import attend, from_heads_first, heads_first
from ascend_emulator.kernel_dtypes import require_registered
from ascend_emulator.refusal import NOT_EMULATED, require
from ascend_emulator.table import internal

DOC = "MindSpore 2.7.1, ms_kernels_internal"
PAGED_DOC = f"{DOC}; ATB, PagedAttentionOperation"
LAYOUTS = {0: "BSH", 1: "BNSD"}  # InputLayoutMode of op_param.h; the wheel has kernels of these two


@internal("ReshapeAndCache", doc=DOC)
def reshape_and_cache(a):
    """key, value: (tokens, ...), caches: (blocks, size, ...), slots: (tokens,), a negative one leaves its token out."""
    slots = a.inputs[4].array.reshape(-1)
    for given, cache in zip(a.inputs[:2], a.inputs[2:4], strict=True):
        if cache is None:
            continue
        room = cache.shape[0] * cache.shape[1]
        require(slots.max(initial=-1) < room, f"input 4: slot {slots.max(initial=-1)}, the cache has {room}")
        rows = given.array.reshape(slots.size, -1)
        for slot, row in zip(slots, rows, strict=True):
            if slot >= 0:
                cache.array[slot // cache.shape[1], slot % cache.shape[1]] = row.reshape(cache.shape[2:])


@reshape_and_cache.limits
def _(a):
    """Messages of libreshape_and_cache_op.so: values and their cache are both there or both left out."""
    key, value, key_cache, value_cache, slots = a.inputs[:5]
    require((value is None) == (value_cache is None), "inputs 1 and 3 (value, value cache): both or none")
    if value is None:
        require_registered("ReshapeAndCache", [key, key, key_cache, key_cache, slots], [])
    else:
        require_registered("ReshapeAndCache", a.inputs[:5], [])
    for given, cache in ((key, key_cache), (value, value_cache)):
        if cache is None:
            continue
        require(
            cache.ndim >= 3 and cache.is_contiguous, f"{cache.name}: shape {cache.shape}, expected (blocks, size, ...)"
        )
        room, width = cache.shape[0] * cache.shape[1], int(np.prod(cache.shape[2:]))
        require(slots.size <= room, f"{slots.name}: {slots.size} tokens, the cache has room for {room}")
        require(
            given.size == slots.size * width,
            f"{given.name}: shape {given.shape}, expected {slots.size} tokens of {width}",
        )


@internal("PagedAttention", doc=PAGED_DOC)
def paged_attention(a):
    """query: (tokens, heads * D), caches: (blocks, size, kv heads, D), tables: (tokens, blocks of a row). The lengths
    are those of the host, kv_seq_len; those on the device, input 4, must be the same."""
    query, key_cache, value_cache, tables, on_device = a.inputs[:5]
    lengths, heads = a.attributes["kv_seq_len"], int(a.attributes["head_num"])
    require(
        on_device.array.reshape(-1).tolist() == list(lengths),
        f"kv_seq_len: {lengths}, but the lengths on the device are {on_device.array.reshape(-1).tolist()}",
    )
    size, kv_heads, dim = key_cache.shape[1:]
    made = np.zeros((len(lengths), heads, dim), np.float32)
    for row, length in enumerate(lengths):
        ids = tables.array[row, : -(-length // size)]
        require(
            np.all((ids >= 0) & (ids < key_cache.shape[0])),
            f"input 3: blocks {ids.tolist()}, the cache has {key_cache.shape[0]}",
        )
        key, value = (
            cache.array[ids].reshape(-1, kv_heads, dim)[:length].swapaxes(0, 1)[None].astype(np.float32)
            for cache in (key_cache, value_cache)
        )
        one = query.wide().reshape(len(lengths), heads, 1, dim)[row : row + 1]
        made[row] = attend(one, key, value, a.attributes["tor"])[0][0, :, 0]
    a.outputs[0].put(made.reshape(a.outputs[0].shape))


@paged_attention.limits
def _(a):
    given = [*a.inputs, *[None] * (8 - len(a.inputs))]
    require(not a.attributes["quant_mode"], "quant_mode (int8 caches) is not emulated", NOT_EMULATED)
    require(not a.attributes["mask_type"] and given[7] is None, "masks are not emulated", NOT_EMULATED)
    require_registered("PagedAttention", given[:8], a.outputs[:1])
    query, key_cache, value_cache, tables, _ = a.inputs[:5]
    heads, kv_heads = int(a.attributes["head_num"]), int(a.attributes["kv_head_num"])
    require(key_cache.ndim == 4, f"{key_cache.name}: shape {key_cache.shape}, expected (blocks, size, kv heads, D)")
    require(
        value_cache.shape == key_cache.shape,
        f"{value_cache.name}: shape {value_cache.shape}, expected {key_cache.shape}",
    )
    size, stored, dim = key_cache.shape[1:]
    require(size % 16 == 0, f"{key_cache.name}: blocks of {size}, allowed: multiples of 16")
    require(0 < dim <= 256, f"{key_cache.name}: D {dim}, allowed: 1 to 256")
    require(size * dim <= 128 * 128, f"{key_cache.name}: blocks of {size} times D {dim}, allowed: 16384 at most")
    require(heads > 0 and stored == (kv_heads or heads), f"kv_head_num: {kv_heads}, the caches have {stored} heads")
    require(heads % stored == 0, f"head_num: {heads}, must be a multiple of {stored}")
    lengths = a.attributes["kv_seq_len"]
    require(len(lengths) > 0, "kv_seq_len: empty; MindSpore takes it from the graph's input named batch_valid_length")
    require(
        query.size == len(lengths) * heads * dim,
        f"{query.name}: shape {query.shape}, expected {len(lengths)} tokens of {heads} heads of {dim}",
    )
    needed = -(-max(lengths) // size)
    require(
        tables.shape[0] == len(lengths) and tables.shape[1] >= needed,
        f"{tables.name}: shape {tables.shape}, expected ({len(lengths)}, at least {needed})",
    )


@internal("FlashAttentionScore", doc=DOC)
def flash_attention_score(a):
    layout, heads = LAYOUTS[int(a.attributes["layout"])], int(a.attributes["head_num"])
    query = heads_first(a.inputs[0].wide(), layout, heads)
    kv_heads = a.inputs[1].shape[1] if layout == "BNSD" else a.inputs[1].shape[2] // query.shape[3]
    key, value = (heads_first(tensor.wide(), layout, kv_heads) for tensor in a.inputs[1:3])
    made, _, _ = attend(query, key, value, a.attributes["tor"])
    a.outputs[0].put(from_heads_first(made, layout))


@flash_attention_score.limits
def _(a):
    """With a mask (float16 or bfloat16, never bool) the kernel's meaning of it is not documented: refused."""
    given = [*a.inputs, *[None] * (5 - len(a.inputs))]
    layout = int(a.attributes["layout"])
    is_plain = layout in LAYOUTS and given[3] is None and given[4] is None and not a.attributes["sparse_mode"]
    require(
        is_plain,
        f"layout {layout}, sparse mode {a.attributes['sparse_mode']}, or a mask: only BSH and BNSD without a mask are "
        "emulated; MS_DISABLE_INTERNAL_KERNELS_LIST=FlashAttentionScore takes the aclnn operator",
        NOT_EMULATED,
    )
    require_registered("FlashAttentionScore", given[:5], a.outputs[:1])
    require(
        a.outputs[0].shape == a.inputs[0].shape, f"output 0: shape {a.outputs[0].shape}, expected {a.inputs[0].shape}"
    )
