from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.taste.numbers import grown, paired, places, shrunk, unpaired

EDGES = [0, 1, 255, 256, 2**16, 2**56 - 1, 2**56, 2**63 - 1, -1, -(2**63)]
ints = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300) | st.sampled_from(EDGES))


@given(ints)
def test_numbers_take_the_bytes_they_need_and_come_back(values: list[int]) -> None:
    sizes, data = shrunk(np.array(values, np.int64))
    unsigned = [value % 2**64 for value in values]
    assert sizes.tolist() == [-(-value.bit_length() // 8) for value in unsigned]
    written = [value.to_bytes(size, "little") for value, size in zip(unsigned, sizes, strict=True)]
    assert data.tobytes() == b"".join(written)
    assert grown(sizes, data).tolist() == values


def test_sizes_that_cannot_be_are_refused() -> None:
    sizes, data = shrunk(np.array([1, 70_000, 3]))
    for wrong in (data[:-1], np.append(data, data[:1])):
        with pytest.raises(ValueError, match="sizes"):
            grown(sizes, wrong)
    with pytest.raises(ValueError, match="sizes"):
        grown(np.array([9], np.uint8), np.zeros(9, np.uint8))


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8))))
def test_two_sizes_fit_a_byte(pairs: list[tuple[int, int]]) -> None:
    sizes = np.array(pairs, np.uint8).ravel()
    assert len(paired(sizes)) == len(pairs)
    assert unpaired(paired(sizes)).tolist() == sizes.tolist()


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1))
def test_columns_lie_owner_by_owner(rows: list[tuple[int, ...]]) -> None:
    expected = [
        (column, owner)
        for owner, counts in enumerate(rows)
        for column, count in enumerate(counts)
        for _ in range(count)
    ]
    found = places(np.array(rows).T)
    for column, its in enumerate(found):
        assert [expected[place][0] for place in its] == [column] * len(its)
        assert its.tolist() == sorted(its.tolist())
    assert sum(map(len, found)) == len(expected)
