from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste.decay import BAND, TERMS, WEIGHT, Ints
from streams.taste.names import Names
from streams.taste.ranking import heaviest, pruned
from streams.taste.rows import Block, packed, summed

AS_OF = np.array([100 * BAND + 5_000])
weights = st.sampled_from([0.5, 1.0, 1.5, 2.0]) | st.floats(0, 1e9)


@given(st.lists(st.lists(st.tuples(weights, weights), max_size=20)), st.integers(1, 12))
@settings(deadline=None)
def test_the_heaviest_come_first_and_equals_in_order(
    lists: list[list[tuple[float, float]]], most: int
) -> None:
    size = np.array([len(each) for each in lists], np.int64)
    kinds = np.array([weight for each in lists for weight in each], np.float64).reshape(-1, 2).T
    chosen, taken = heaviest(kinds, size, most)
    wanted = [
        sorted(range(begin, end), key=lambda place: (-weight[place], place))[:most]
        for begin, end in pairwise(accumulate(size.tolist(), initial=0))
        for weight in kinds.tolist()
    ]
    assert taken.repeat(2).tolist() == [len(each) for each in wanted]
    assert chosen.tolist() == [place for each in wanted for place in each]


def block(names: Names, artists: dict[str, int]) -> Block:
    item: Ints = names.ids(list(artists))
    weight = np.array(list(artists.values()), np.int64) * WEIGHT
    owner = np.zeros(len(item), np.int64)
    return summed(owner, packed(item, np.full_like(item, 100)), [weight] * len(TERMS))


@given(st.dictionaries(st.text(max_size=2), st.integers(1, 5), max_size=30), st.integers(1, 10))
@settings(deadline=None)
def test_pruning_waits_for_twice_the_bound_and_keeps_the_top(
    artists: dict[str, int], most: int
) -> None:
    names = Names()
    before = block(names, artists)
    after = pruned(before, names, AS_OF, WEIGHT, most)
    kept = names.texts(after.item.tolist())
    if len(artists) <= 2 * most:
        assert sorted(kept) == sorted(artists)
    else:
        ordered = sorted(artists, key=lambda name: (-artists[name], name))
        assert sorted(kept) == sorted(ordered[:most])
        total = sum(artists.values())
        assert {name for name, own in artists.items() if own * (most + 1) > total} <= set(kept)
