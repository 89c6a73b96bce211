from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste.rows import Block, Rows, combine, summed

Entries = list[tuple[int, int, int, int]]
entries = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 2**40), st.integers(0, 99))
)


def block_of(rows: Entries, least: bool = False) -> Block:
    columns = [np.array([row[n] for row in rows], np.int64) for n in range(4)]
    return summed(columns[0], columns[1], columns[2:], least)


def as_dict(block: Block) -> dict[tuple[int, int], list[int]]:
    keys = list(zip(block.owner.tolist(), block.key.tolist(), strict=True))
    assert keys == sorted(set(keys))
    return dict(zip(keys, block.values.tolist(), strict=True))


def recounted(rows: Entries, least: bool = False) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for owner, key, one, other in rows:
        found[owner, key].append((one, other))
    return {
        pair: [
            sum(one for one, _ in values),
            (min if least else sum)(other for _, other in values),
        ]
        for pair, values in found.items()
    }


@given(entries, st.booleans())
@settings(deadline=None)
def test_summed_adds_what_has_the_same_key(rows: Entries, least: bool) -> None:
    assert as_dict(block_of(rows, least)) == recounted(rows, least)


@given(entries, entries, st.booleans())
@settings(deadline=None)
def test_combining_is_summing_both(one: Entries, other: Entries, least: bool) -> None:
    both = combine(block_of(one, least), block_of(other, least), least)
    assert as_dict(both) == recounted(one + other, least)


@given(st.lists(st.integers(0, 2**62) | st.just(2**63 - 1), min_size=2, max_size=6))
@settings(deadline=None)
def test_a_sum_stops_at_the_largest_integer_in_any_order(values: list[int]) -> None:
    blocks = [block_of([(0, 0, value, 0)]) for value in values]
    total = blocks[0]
    for block in blocks[1:]:
        total = combine(total, block)
    assert total.values[0, 0] == min(sum(values), 2**63 - 1)


@given(entries, st.integers(0, 6), st.integers(0, 6))
@settings(deadline=None)
def test_a_part_has_the_rows_of_its_owners(rows: Entries, first: int, count: int) -> None:
    part = block_of(rows).part(first, first + count)
    wanted = [
        (owner - first, key, one, other)
        for owner, key, one, other in rows
        if first <= owner < first + count
    ]
    assert as_dict(part) == recounted(wanted)


@given(st.lists(st.tuples(st.sets(st.integers(0, 20), min_size=1), entries), max_size=12))
@settings(deadline=None)
def test_rows_return_what_was_put_last(puts: list[tuple[set[int], Entries]]) -> None:
    rows = Rows(2)
    model: dict[int, dict[int, list[int]]] = {}
    for chosen, values in puts:
        slots = np.array(sorted(chosen))
        block = block_of([row for row in values if row[0] < len(slots)])
        rows.put(slots, block)
        model.update({slot: {} for slot in chosen})
        for (owner, key), value in as_dict(block).items():
            model[int(slots[owner])][key] = value
    everyone = np.arange(25)[::-1].copy()
    found = as_dict(rows.block(everyone))
    assert found == {
        (24 - slot, key): value for slot, own in model.items() for key, value in own.items()
    }
    assert len(rows) == len(found)


def test_the_arena_stays_in_proportion_to_the_rows_in_use() -> None:
    rows = Rows(2)
    block = block_of([(owner, key, 1, 1) for owner in range(10) for key in range(10)])
    for _ in range(50):
        rows.put(np.arange(10), block)
    assert len(rows) == 100
    assert rows.nbytes < 2 * 100 * 24 + 1_000


def test_what_is_not_in_use_any_more_is_given_back() -> None:
    rows, owners = Rows(2), 2_000
    everyone = np.arange(owners)
    rows.put(
        everyone, block_of([(owner, key, 1, 1) for owner in range(owners) for key in range(100)])
    )
    before = rows.nbytes
    rows.tidy()
    assert rows.nbytes == before
    kept = rows.block(everyone[:1])
    rows.put(everyone[1:], rows.block(everyone[:0]))
    rows.tidy()
    assert rows.nbytes < before / 50
    assert np.array_equal(rows.block(everyone[:1]).values, kept.values)
