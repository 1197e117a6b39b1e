"""Tables and heads split by rows give what whole ones give, bit for bit. (In graphs: test_shard_model.)"""

import numpy as np
import pytest
from fake_group import run_as_group, silent_world

from ms_omni.parallel.table import part

HIDDEN = 4
# Rows divide, the last rank has fewer, the last rank has none
CASES = [(12, 3), (13, 4), (5, 4)]


def table(num_rows):
    """Small whole numbers: products and sums are exact in any order."""
    return np.random.default_rng(num_rows).integers(-8, 9, (num_rows, HIDDEN)).astype(np.float32)


def stored(whole, world):
    """A rank's rows as ShardedReader reads them."""
    import mindspore as ms

    rows = whole[part(len(whole), world.group_rank, world.group_size)]
    return ms.Tensor(np.pad(rows, ((0, part(len(whole), 0, world.group_size).stop - len(rows)), (0, 0))))


@pytest.mark.parametrize(("num_rows", "size"), CASES)
def test_lookup(cpu, num_rows, size):
    import mindspore as ms

    from ms_omni.parallel.vocabulary import lookup

    whole, ids = table(num_rows), np.array([num_rows - 1, 0, 0, *range(num_rows)], np.int32)
    outputs, calls = run_as_group(
        size, lambda world: lookup(stored(whole, world), ms.Tensor(ids), world, num_rows).asnumpy()
    )
    for output in outputs:
        np.testing.assert_array_equal(output, whole[ids])
    assert calls == [("all_reduce", (len(ids), HIDDEN))]


@pytest.mark.parametrize(("num_rows", "size"), CASES)
@pytest.mark.parametrize("num_tokens", [1, 3])
def test_logits(cpu, num_rows, size, num_tokens):
    import mindspore as ms

    from ms_omni.parallel.vocabulary import logits

    whole, x = table(num_rows), table(num_tokens)
    outputs, calls = run_as_group(
        size, lambda world: logits(ms.Tensor(x), stored(whole, world), world, num_rows).asnumpy()
    )
    for output in outputs:
        np.testing.assert_array_equal(output, x @ whole.T)
    assert calls == [("all_gather", (-(-num_rows // size), num_tokens))]


@pytest.mark.parametrize("world", [None, silent_world(0, 1), silent_world(1, 2)], ids=["no world", "alone", "whole"])
def test_whole_tables_need_nobody(cpu, world):
    import mindspore as ms

    from ms_omni.parallel.vocabulary import logits, lookup

    whole, ids = table(6), np.array([5, 1], np.int32)
    np.testing.assert_array_equal(lookup(ms.Tensor(whole), ms.Tensor(ids), world, 6).asnumpy(), whole[ids])
    np.testing.assert_array_equal(
        logits(ms.Tensor(whole[:2]), ms.Tensor(whole), world, 6).asnumpy(), whole[:2] @ whole.T
    )
