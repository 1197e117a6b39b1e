"""One rank of a test of HCCL by ctypes: hccl_rank.py RANK SIZE ROOT_INFO_FILE CASE. Prints what came out as JSON.

Rank 0 writes the root information, the others read it, as msrun's ranks pass it on.
"""

import ctypes
import json
import sys
import time
from ctypes import byref, c_char_p, c_uint32, c_uint64, c_void_p
from pathlib import Path

import ml_dtypes
import numpy as np
import runtime_calls as acl
from runtime_calls import C

HCCL_DTYPES = {"int8": 0, "int16": 1, "int32": 2, "float16": 3, "float32": 4, "int64": 5, "float64": 10, "bfloat16": 11}
SUM, PRODUCT, MAX, MIN = range(4)
RANK, SIZE, CASE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[4]
STREAM = acl.new_stream()
C.HcclGetErrorString.restype = c_char_p


def connect() -> c_void_p:
    info, path = ctypes.create_string_buffer(4108), Path(sys.argv[3])
    if RANK == 0:
        C.HcclGetRootInfo(info)
        path.with_suffix(".part").write_bytes(info.raw)
        path.with_suffix(".part").rename(path)
    while not path.exists():
        time.sleep(0.01)
    info.raw = path.read_bytes()
    group = c_void_p()
    status = C.HcclCommInitRootInfo(c_uint32(SIZE), info, c_uint32(RANK), byref(group))
    assert status == 0, acl.message()
    return group


def subgroup(parent: c_void_p, ranks: list[int], number: int) -> c_void_p:
    group = c_void_p()
    ids = (c_uint32 * len(ranks))(*ranks)
    place = c_uint32(ranks.index(RANK))
    status = C.HcclCreateSubCommConfig(
        byref(parent), c_uint32(len(ranks)), ids, c_uint64(number), place, None, byref(group)
    )
    assert status == 0, acl.message()
    return group


def device(values: np.ndarray) -> int:
    return acl.to_device(np.ascontiguousarray(values).view(np.uint8))


def host(address: int, count: int, dtype: str) -> list:
    kind = np.dtype(getattr(ml_dtypes, dtype)) if dtype == "bfloat16" else np.dtype(dtype)
    C.aclrtSynchronizeStream(STREAM)
    return acl.to_host(address, (count * kind.itemsize,), "uint8").view(kind).astype(np.float64).tolist()


def numpy_dtype(dtype: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def mine(count: int, dtype: str) -> np.ndarray:
    return (np.arange(count) % 50 + 1 + RANK).astype(numpy_dtype(dtype))


def all_reduce(group, values: np.ndarray, dtype: str, op: int = SUM) -> list:
    source, out = device(values), acl.malloc(values.nbytes)
    status = C.HcclAllReduce(
        c_void_p(source), c_void_p(out), c_uint64(len(values)), HCCL_DTYPES[dtype], op, group, STREAM
    )
    return host(out, len(values), dtype) if status == 0 else [status, acl.message()]


def collectives(group) -> dict:
    done = {}
    for dtype in ("int8", "int32", "int64", "float16", "float32", "bfloat16"):
        for op in (SUM, MAX, MIN):
            done[f"AllReduce {dtype} {op}"] = all_reduce(group, mine(5, dtype), dtype, op)
    one = np.array([1, 2**-9, 2**-9][RANK % 3 : RANK % 3 + 1]).astype(ml_dtypes.bfloat16)
    done["rounded once"] = all_reduce(group, one, "bfloat16")
    large = all_reduce(group, mine(700_000, "float32"), "float32")  # several pieces
    done["large"] = [large[0], large[-1], sum(large)]
    source, out = device(mine(3, "float32")), acl.malloc(12 * SIZE)
    assert C.HcclAllGather(c_void_p(source), c_void_p(out), c_uint64(3), 4, group, STREAM) == 0
    done["AllGather"] = host(out, 3 * SIZE, "float32")
    source, out = device(mine(2 * SIZE, "float32")), acl.malloc(8)
    assert C.HcclReduceScatter(c_void_p(source), c_void_p(out), c_uint64(2), 4, SUM, group, STREAM) == 0
    done["ReduceScatter"] = host(out, 2, "float32")
    buffer = device(mine(4, "float16"))
    assert C.HcclBroadcast(c_void_p(buffer), c_uint64(4), 3, c_uint32(SIZE - 1), group, STREAM) == 0
    done["Broadcast"] = host(buffer, 4, "float16")
    source, out = device(mine(SIZE, "int64") * 10), acl.malloc(8 * SIZE)
    assert C.HcclAlltoAll(c_void_p(source), c_uint64(1), 5, c_void_p(out), c_uint64(1), 5, group, STREAM) == 0
    done["AlltoAll"] = host(out, SIZE, "int64")
    assert C.HcclBarrier(group, STREAM) == 0
    return done


def ring(group) -> dict:
    """Every rank sends 100,000 values to the next one, even ranks first."""
    source, out = device(mine(100_000, "float32")), acl.malloc(400_000)
    to, origin = (RANK + 1) % SIZE, (RANK - 1) % SIZE
    calls = [("Send", source, to), ("Recv", out, origin)]
    for name, address, peer in calls if RANK % 2 == 0 else calls[::-1]:
        status = getattr(C, f"Hccl{name}")(c_void_p(address), c_uint64(100_000), 4, c_uint32(peer), group, STREAM)
        assert status == 0, acl.message()
    values = host(out, 100_000, "float32")
    return {"received": [values[0], values[-1], sum(values)]}


def groups(group) -> dict:
    """Pairs of neighbours, and every rank alone."""
    first = RANK // 2 * 2
    pair = subgroup(group, [first, first + 1], first)
    alone = subgroup(group, [RANK], 100 + RANK)
    buffer = device(mine(1, "float32"))
    assert C.HcclBroadcast(c_void_p(buffer), c_uint64(1), 4, c_uint32(1), pair, STREAM) == 0, acl.message()
    return {
        "pair": all_reduce(pair, mine(1, "float32"), "float32"),
        "from the second": host(buffer, 1, "float32"),
        "alone": all_reduce(alone, mine(1, "float32"), "float32"),
        "all": all_reduce(group, mine(1, "float32"), "float32"),
    }


def refused(group) -> dict:
    """What HCCL does not take; the ranks stay together."""
    buffer = device(mine(4, "float32"))
    root = C.HcclBroadcast(c_void_p(buffer), c_uint64(4), 4, c_uint32(SIZE), group, STREAM), acl.message()
    out = acl.malloc(16)
    short = C.HcclAllGather(c_void_p(buffer), c_void_p(out), c_uint64(4), 4, group, STREAM), acl.message()
    return {
        "root": root,
        "float64": all_reduce(group, mine(2, "float64"), "float64"),
        "product": all_reduce(group, mine(2, "bfloat16"), "bfloat16", PRODUCT),
        "short": short,
        "after": all_reduce(group, mine(1, "float32"), "float32"),
    }


def disagree(group) -> dict:
    return {"answer": all_reduce(group, mine(2 + RANK, "float32"), "float32")}


def absent(group) -> dict:
    """The last rank takes no part, and stays until the others have given up."""
    folder, deadline = Path(sys.argv[3]).parent, time.monotonic() + 90
    if RANK == SIZE - 1:
        while len(list(folder.glob("gave_up_*"))) < SIZE - 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        return {}
    answer = all_reduce(group, mine(1, "float32"), "float32")
    (folder / f"gave_up_{RANK}").touch()
    return {"answer": answer}


def ended(group) -> dict:
    """The last rank is gone."""
    if RANK == SIZE - 1:
        sys.exit(0)
    return {"answer": all_reduce(group, mine(1, "float32"), "float32")}


print(json.dumps(globals()[CASE](connect())))
