"""Collectives of emulated cards: four ranks, in groups of two and all together, each kind and dtype, eagerly and
compiled, compared with what numpy makes of the same values."""

import numpy as np
import pytest
from card_ranks import run_card_ranks

DTYPES = ("float32", "float16", "bfloat16", "int32", "int64", "bool_", "int8")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return run_card_ranks("rank_collectives.py", tmp_path_factory.mktemp("collectives"), cards=4)


def brought(rank, size, dtype):
    """What a rank brings, as rank_collectives.py makes it."""
    x = np.arange(6 * size).reshape(2 * size, 3) + 10 * rank
    return (x % 2 if dtype == "bool_" else x).astype(np.float64)


def expected(kind, rank, size, dtype):
    """Of a rank of the job; groups are consecutive ranks."""
    first = rank - rank % size
    group = [brought(first + member, size, dtype) for member in range(size)]
    if kind == "all_reduce":
        total = np.sum(group, axis=0)
        return (total > 0).astype(np.float64) if dtype == "bool_" else total
    if kind == "all_gather":
        return np.concatenate(group)
    if kind == "broadcast":
        return group[-1]
    mine = slice(2 * (rank - first), 2 * (rank - first) + 2)
    return np.concatenate([values[mine] for values in group])


def test_who_is_who(reports):
    pairs = [[rank, 4, 2, f"ms_omni_{rank // 2}", None] for rank in range(4)]
    assert [report["world"] for report in reports] == pairs


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "broadcast", "all_to_all"])
def test_every_kind(reports, kind, size):
    for rank, report in enumerate(reports):
        for dtype in DTYPES if kind != "all_reduce" else DTYPES[:-1]:
            for how in ("eager", "graph"):
                got = report["results"][f"{size} {kind} {dtype} {how}"]
                # sums and values are whole numbers below 256: exact in bfloat16
                np.testing.assert_array_equal(got, expected(kind, rank, size, dtype), f"rank {rank} {dtype} {how}")


@pytest.mark.parametrize("how", ["eager", "graph"])
@pytest.mark.parametrize("size", [2, 4])
def test_a_broadcast_leaves_what_a_rank_had(reports, size, how):
    for rank, report in enumerate(reports):
        assert report["results"][f"{size} own {how}"] == [rank + 7]
        assert report["results"][f"{size} sent {how}"] == [rank - rank % size + 7]
