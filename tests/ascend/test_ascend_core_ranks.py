"""HCCL between processes: exact results, groups, refusals, and ranks that are missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

HERE = Path(__file__).parent
PARAMETER, NOT_SUPPORTED, TIMEOUT = 1, 5, 9


def run(case, size, folder, **settings):
    """What each rank printed."""
    environment = {**os.environ, **settings, "PYTHONPATH": f"{HERE}:{os.environ['PYTHONPATH']}"}
    ranks = [
        subprocess.Popen(
            [sys.executable, HERE / "hccl_rank.py", str(rank), str(size), folder / "root_info", case],
            env={**environment, "RANK_ID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    outputs = [rank.communicate(timeout=100) for rank in ranks]
    errors = "\n".join(f"rank {rank}: {err}" for rank, (_, err) in enumerate(outputs))
    assert all(rank.returncode == 0 for rank in ranks), errors
    return [json.loads(out) if out else None for out, _ in outputs]


def mine(rank, count):
    return np.arange(count) % 50 + 1.0 + rank


@pytest.mark.parametrize(("size", "late"), [(1, "0"), (2, "0"), (2, "1"), (4, "0"), (8, "0")])
def test_collectives(tmp_path, size, late):
    every = [mine(rank, 5) for rank in range(size)]
    large = sum(mine(rank, 700_000) for rank in range(size))
    for rank, got in enumerate(run("collectives", size, tmp_path, EMULATED_LATE=late)):
        for dtype in ("int8", "int32", "int64", "float16", "float32", "bfloat16"):
            for op, combined in enumerate((sum(every), np.max(every, 0), np.min(every, 0))):
                op = (0, 2, 3)[op]
                assert got[f"AllReduce {dtype} {op}"] == combined.tolist()
        # 1, 2^-9, 2^-9, 1, ...: rounded after every addition, the small ones would vanish (8 ranks: 3.0, not 3.015625)
        total = np.float32(sum([1, 2**-9, 2**-9][r % 3] for r in range(size)))
        assert got["rounded once"] == [float(total.astype(ml_dtypes.bfloat16))]
        assert got["large"] == [large[0], large[-1], large.sum()]
        assert got["AllGather"] == np.concatenate([mine(r, 3) for r in range(size)]).tolist()
        scattered = sum(mine(r, 2 * size) for r in range(size))
        assert got["ReduceScatter"] == scattered[2 * rank : 2 * rank + 2].tolist()
        assert got["Broadcast"] == mine(size - 1, 4).tolist()
        assert got["AlltoAll"] == [10 * mine(r, size)[rank] for r in range(size)]


def test_messages_from_rank_to_rank(tmp_path):
    for rank, got in enumerate(run("ring", 4, tmp_path)):
        values = mine((rank - 1) % 4, 100_000)
        assert got["received"] == [values[0], values[-1], values.sum()]


def test_groups_and_a_group_of_one(tmp_path):
    for rank, got in enumerate(run("groups", 4, tmp_path)):
        first = rank // 2 * 2
        assert got["pair"] == [2 * first + 3] and got["from the second"] == [first + 2]
        assert got["alone"] == [rank + 1] and got["all"] == [10]


def test_what_hccl_refuses(tmp_path):
    for got in run("refused", 2, tmp_path):
        status, message = got["root"]
        assert status == PARAMETER and "root 2 is not a rank of the communicator, which has 2" in message
        assert got["float64"][0] == got["product"][0] == NOT_SUPPORTED
        assert "HcclAllReduce of 2 float64" in got["float64"][1]
        status, message = got["short"]
        assert status == PARAMETER and "output: 32 bytes from byte 0 cross the end of an allocation of 16" in message
        assert got["after"] == [3]


def test_ranks_that_do_not_do_the_same(tmp_path):
    got = run("disagree", 2, tmp_path)
    assert [answer["answer"][0] for answer in got] == [PARAMETER, PARAMETER]
    assert "rank 0 calls AllReduce of 2 float32, operation 0, rank 1 calls AllReduce of 3" in got[0]["answer"][1]


def test_a_rank_that_takes_no_part_is_named(tmp_path):
    first, second, _ = run("absent", 3, tmp_path, HCCL_EXEC_TIMEOUT="6")
    for got in (first, second):
        status, message = got["answer"]
        assert status == TIMEOUT and "rank 2 did not take part within 6 s" in message


def test_a_rank_that_has_ended_is_named_at_once(tmp_path):
    first, _ = run("ended", 2, tmp_path)
    status, message = first["answer"]
    assert status == TIMEOUT and "rank 1 has ended" in message


def test_nothing_is_left_in_shared_memory(tmp_path):
    before = set(Path("/dev/shm").glob("ms_omni_hccl_*"))
    run("groups", 2, tmp_path)
    assert set(Path("/dev/shm").glob("ms_omni_hccl_*")) <= before
