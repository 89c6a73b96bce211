"""Positions and recent events against plain sets and lists."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.transport.positions import RecentEvents, SourcePositions

LOG = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=60)
CUTS = st.sets(st.integers(0, 60))


def pieces(rows: list[tuple[int, int]], cuts: set[int]) -> list[list[tuple[int, int]]]:
    edges = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    return [rows[low:high] for low, high in pairwise(edges)]


@given(LOG, CUTS)
def test_positions_admit_what_is_higher_than_all_before(
    log: list[tuple[int, int]], cuts: set[int]
) -> None:
    highest: dict[int, int] = {}
    expected = []
    for partition, offset in log:
        expected.append(offset > highest.get(partition, -1))
        highest[partition] = max(offset, highest.get(partition, -1))
    positions = SourcePositions()
    admitted = [
        bool(fresh)
        for piece in pieces(log, cuts)
        for fresh in positions.admit(
            np.array([row[0] for row in piece], dtype=np.int64),
            np.array([row[1] for row in piece], dtype=np.int64),
        )
    ]
    assert admitted == expected
    assert positions.highest == highest


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4)), max_size=80),
    CUTS,
    st.integers(0, 25),
)
def test_events_are_duplicates_within_the_horizon_only(
    rows: list[tuple[int, int]], cuts: set[int], horizon: int
) -> None:
    ids = [row[0] for row in rows]
    offsets = list(np.cumsum([row[1] for row in rows]))
    expected = [
        not any(
            ids[before] == ids[index] and offsets[index] - offsets[before] < horizon
            for before in range(index)
        )
        for index in range(len(rows))
    ]
    recent = RecentEvents(horizon)
    admitted = [
        bool(fresh)
        for piece in pieces(list(zip(ids, offsets, strict=True)), cuts)
        for fresh in recent.admit(
            np.array([row[0] for row in piece], dtype=np.uint64),
            np.array([row[1] for row in piece], dtype=np.int64),
        )
    ]
    assert admitted == expected


def test_memory_is_bounded_by_the_horizon() -> None:
    recent = RecentEvents(1_000)
    for start in range(0, 50_000, 100):
        block = np.arange(start, start + 100)
        recent.admit(block.astype(np.uint64), block.astype(np.int64))
    assert len(recent) <= 1_250 + 100
