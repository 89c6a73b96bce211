"""Treatments: ``covers`` is an order, and what the coarser one shows follows from the finer one."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
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


@given(st.integers(), st.integers(1, 50), st.integers(1, 50))
def test_a_wider_bucket_follows_from_the_narrower(number: int, wide: int, narrow: int) -> None:
    assume(BucketWidth(wide).covers(BucketWidth(narrow)))
    assert number // narrow * narrow // wide == number // wide


@given(st.sampled_from(tuple(UNIT_MS)), st.sampled_from(tuple(UNIT_MS)), st.integers())
def test_a_larger_unit_follows_from_the_smaller(large: str, small: str, number: int) -> None:
    assume(TruncateTime(large).covers(TruncateTime(small)))
    assert number // UNIT_MS[small] * UNIT_MS[small] // UNIT_MS[large] == number // UNIT_MS[large]


def test_edges_are_finite() -> None:
    with pytest.raises(ValueError, match="ascending"):
        BucketEdges((0, math.inf))
