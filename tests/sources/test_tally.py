"""Counts by reason; positions in bounded number."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streams.sources.tally import POSITIONS_KEPT, LeftOut, Tally, Unreadable

reasons = st.sampled_from([*LeftOut, *Unreadable])


@given(st.lists(reasons))
def test_every_note_is_counted_and_the_first_are_placed(noted: list[LeftOut | Unreadable]) -> None:
    tally = Tally()
    for number, reason in enumerate(noted, 1):
        tally.note(number, reason)
    assert tally.left_out + Counter() == Counter(r for r in noted if isinstance(r, LeftOut))
    assert tally.unreadable + Counter() == Counter(r for r in noted if isinstance(r, Unreadable))
    placed = [(n, r) for n, r in enumerate(noted, 1) if isinstance(r, Unreadable)]
    assert tally.positions == placed[:POSITIONS_KEPT]
