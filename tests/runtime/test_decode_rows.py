"""Rows of a decode call: padded to buckets, and carried from call to call."""

import numpy as np
import pytest

from ms_omni.scheduling.sequence import Sequence, random_numbers


def sequence(num_prompt, tokens, delta=0.0, blocks=(), seed=0):
    made = Sequence("thinker", num_prompt, 99, (), random_numbers(seed, "thinker"), list(blocks))
    made.rope_delta, made.token_ids = delta, list(tokens)
    return made


TWO = (sequence(5, [7, 8], 2.0, [3, 4]), sequence(300, [9], -40.0, [1, 5, 2], seed=1))


@pytest.mark.parametrize(("count", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 8), (16, 16), (17, 32), (32, 32)])
def test_buckets(cpu, count, bucket):
    from ms_omni.runtime.decode_rows import bucket_of

    assert bucket_of(count) == bucket


def test_rows_of_nobody_stand_at_the_first_place_of_block_0(cpu):
    from ms_omni.runtime.decode_rows import RowLayout, TokenPositions, block_tables, last_tokens

    rows = RowLayout((0, 1), 4, 1)
    lengths, rope = (tensor.asnumpy() for tensor in TokenPositions.of(TWO, rows, 0).tensors())
    assert lengths.tolist() == [7, 301, 1, 1] and rope.tolist() == [8, 260, 0, 0]
    assert lengths.dtype == np.int32 and rope.dtype == np.float32
    assert TokenPositions.of(TWO, RowLayout((0, 1), 2, 1), 0).tensors(3)[0].asnumpy().tolist() == [10, 304]
    assert last_tokens(TWO, rows).asnumpy().tolist() == [8, 9, 0, 0]
    tables = block_tables(TWO, rows, 4).asnumpy()
    assert tables.tolist() == [[3, 4, 0, 0], [1, 5, 2, 0], [0] * 4, [0] * 4]


def test_rows_are_dealt_out_to_the_owners_of_their_sequences(cpu):
    from ms_omni.runtime.decode_rows import RowLayout, TokenPositions, block_tables, last_tokens

    rows = RowLayout.of([2, 0, 2, 2], 3)
    assert rows == RowLayout((8, 0, 9, 10), 4, 3) and len(rows) == 12
    assert rows.spread("abcd", "-") == [*"b---", *"----", *"acd-"]
    assert RowLayout.of([1, 0], 2) == RowLayout((1, 0), 1, 2)
    assert RowLayout.of([0] * 3, 1) == RowLayout((0, 1, 2), 4, 1)
    rows = RowLayout.of([1, 0], 3)
    assert last_tokens(TWO, rows).asnumpy().tolist() == [9, 8, 0]
    assert block_tables(TWO, rows, 3).asnumpy().tolist() == [[1, 5, 2], [3, 4, 0], [0, 0, 0]]
    own = [[x.asnumpy().tolist() for x in TokenPositions.of(TWO, rows, owner).tensors()] for owner in range(3)]
    assert own == [[[301], [260]], [[7], [8]], [[1], [0]]]


def test_each_row_draws_its_own_numbers(cpu):
    from ms_omni.runtime.decode_rows import RowLayout, uniform_numbers

    first = [uniform_numbers([sequence(1, [0], seed=seed)], 5, RowLayout((0,), 1, 1))[:, 0] for seed in (0, 1)]
    both = [sequence(1, [0], seed=seed) for seed in (0, 1)]
    four, three = RowLayout((0, 1), 4, 1), RowLayout((2, 0), 1, 3)
    made = np.concatenate([uniform_numbers(both, 2, four), uniform_numbers(both, 3, three)[:, [2, 0, 1, 1]]])
    np.testing.assert_array_equal(made[:, :2], np.stack(first, 1))
    assert not made[:, 2:].any()


def test_what_a_call_left_goes_on_uncopied_or_row_by_row(cpu):
    import mindspore as ms

    from ms_omni.runtime.decode_rows import CarriedRow, RowLayout, carried_over

    def left(rows, start):
        values = np.arange(start, start + rows, dtype=np.float32)
        return ms.Tensor(values[:, None].repeat(3, 1)), ms.Tensor(values[:, None] + 0.5)

    def values(carried, rows, reverse=False):
        numbers = range(len(carried))[::-1] if reverse else range(len(carried))
        dealt = RowLayout(tuple(numbers), rows, 1)
        wide, narrow = (tensor.asnumpy() for tensor in carried_over(carried, dealt))
        assert wide.shape == (rows, 3) and narrow.shape == (rows, 1)
        np.testing.assert_array_equal(wide[:, 0] + 0.5, narrow[:, 0])
        return wide[: len(carried), 0].tolist()

    four, one = left(4, 10), left(1, 90)
    as_they_are = [CarriedRow(four, row) for row in range(3)]
    assert carried_over(as_they_are, RowLayout((0, 1, 2), 4, 1)) is four
    assert carried_over([as_they_are[2], as_they_are[0]], RowLayout((2, 0), 2, 2)) is four
    assert values(as_they_are, 8) == [10, 11, 12]
    assert values([CarriedRow(four, 2), CarriedRow(four, 0)], 2) == [12, 10]
    assert values([CarriedRow(four, 3), CarriedRow(one, 0), CarriedRow(four, 1)], 4) == [13, 90, 11]
    assert values([CarriedRow(one, 0)], 1) == [90]
    assert values([CarriedRow(four, 2), CarriedRow(one, 0)], 4, reverse=True) == [90, 12]
