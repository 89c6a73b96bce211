"""Treatments: ``covers`` is an order, and what the coarser one shows follows from the finer one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.treatments import (
    STRICTEST_FIRST,
    UNIT_MS,
    VARIANTS,
    BucketEdges,
    BucketWidth,
    Drop,
    Generalize,
    Keep,
    Pseudonymize,
    Treatment,
    TruncateAddress,
    TruncatePoint,
    TruncateTime,
)

kinds: dict[str, st.SearchStrategy[Treatment]] = {
    "drop": st.just(Drop()),
    "keep": st.just(Keep()),
    "pseudonymize": st.sampled_from(("hex", "int64")).map(Pseudonymize),
    "generalize": st.builds(Generalize, st.sampled_from("ab"), st.sampled_from("ab")),
    "bucket": st.builds(BucketWidth, st.integers(1, 30))
    | st.sets(st.integers(0, 4), min_size=1).map(lambda edges: BucketEdges(tuple(sorted(edges)))),
    "truncate": st.sampled_from(tuple(UNIT_MS)).map(TruncateTime)
    | st.builds(TruncateAddress, st.integers(8, 10), st.integers(8, 10))
    | st.builds(TruncatePoint, st.integers(0, 6)),
}


def test_every_kind_is_ranked_and_tested() -> None:
    assert set(STRICTEST_FIRST) == {variant.kind for variant in VARIANTS} == set(kinds)
    assert STRICTEST_FIRST[0] == "drop"
    assert STRICTEST_FIRST[-1] == "keep"


@pytest.mark.parametrize("kind", kinds)
@given(data=st.data())
def test_covers_is_an_order(kind: str, data: st.DataObject) -> None:
    one, other, third = (data.draw(kinds[kind]) for _ in range(3))
    assert one.covers(one)
    if one.covers(other) and other.covers(one):
        assert one == other
    if one.covers(other) and other.covers(third):
        assert one.covers(third)


@pytest.mark.parametrize("narrow", [1, 3, 4, 6, 12])
@pytest.mark.parametrize("wide", [1, 3, 4, 6, 12])
def test_a_wider_bucket_covers_where_it_follows_from_the_narrower(wide: int, narrow: int) -> None:
    follows = all(n // narrow * narrow // wide == n // wide for n in range(-50, 50))
    assert BucketWidth(wide).covers(BucketWidth(narrow)) == follows


@given(st.sampled_from(tuple(UNIT_MS)), st.sampled_from(tuple(UNIT_MS)), st.integers())
def test_a_larger_unit_follows_from_the_smaller(one: str, other: str, number: int) -> None:
    large, small = (one, other) if TruncateTime(one).covers(TruncateTime(other)) else (other, one)
    assert TruncateTime(large).covers(TruncateTime(small))
    assert number // UNIT_MS[small] * UNIT_MS[small] // UNIT_MS[large] == number // UNIT_MS[large]


def test_edges_are_finite() -> None:
    with pytest.raises(ValueError, match="ascending"):
        BucketEdges((0, math.inf))
