"""The ring's file: what contradicts itself is refused, what was changed is not authentic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streams.privacy.ringfile import (
    Epoch,
    State,
    StoredEpoch,
    StoredRing,
    overlap_ends,
    root_key,
)

ROOT = bytes(range(32))
EPOCHS = (
    StoredEpoch(number=1, created_at=1, ends_at=20, destroyed_at=30, seed=None),
    StoredEpoch(number=2, created_at=10, ends_at=40, seed="sealed 2"),
    StoredEpoch(number=3, created_at=35, seed="sealed 3"),
)
RING = StoredRing.of(ROOT, "sealed root", EPOCHS)


def test_what_is_written_is_read_and_authentic() -> None:
    read = StoredRing.model_validate_json(RING.content())
    assert read == RING
    assert read.is_authentic(ROOT)
    assert not read.is_authentic(bytes(32))


@given(st.data())
def test_no_byte_can_be_changed(data: st.DataObject) -> None:
    content = bytearray(RING.content())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    try:
        read = StoredRing.model_validate_json(bytes(content))
    except ValidationError:
        return
    assert read == RING or not read.is_authentic(ROOT)


def changed(epoch: int, **values: Any) -> list[dict[str, Any]]:
    epochs = [each.model_dump() for each in EPOCHS]
    epochs[epoch] |= values
    return epochs


SWAPPED = changed(1, seed="sealed 3")
CHANGES: dict[str, dict[str, Any]] = {
    "another version": {"version": 2},
    "another root": {"root": "other"},
    "no epochs": {"epochs": []},
    "the first left out": {"epochs": changed(0)[1:]},
    "the last left out": {"epochs": changed(0)[:2]},
    "an epoch twice": {"epochs": [*changed(0), changed(0)[2]]},
    "seeds exchanged": {"epochs": [SWAPPED[0], SWAPPED[1], changed(2, seed="sealed 2")[2]]},
    "an overlap prolonged": {"epochs": changed(1, ends_at=41)},
    "an overlap without end": {"epochs": changed(1, ends_at=None)},
    "the current one ended": {"epochs": changed(2, ends_at=41)},
    "the current one destroyed": {"epochs": changed(2, seed=None, destroyed_at=41)},
    "destroyed with a seed": {"epochs": changed(0, seed="sealed 1")},
    "no seed, not destroyed": {"epochs": changed(1, seed=None)},
    "a time that is no number": {"epochs": changed(1, created_at="10")},
    "a field more": {"note": "hello"},
    "a field more of an epoch": {"epochs": changed(1, note="hello")},
    "an empty proof": {"mac": ""},
    "a proof that is no ASCII": {"mac": "é"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_refused(change: dict[str, Any]) -> None:
    content = json.dumps(RING.model_dump() | change)
    try:
        read = StoredRing.model_validate_json(content)
    except ValidationError:
        return
    assert not read.is_authentic(ROOT)


@pytest.mark.parametrize(
    ("now_ms", "states", "ends"),
    [
        (36, (State.DESTROYED, State.OVERLAP, State.CURRENT), 40),
        (39, (State.DESTROYED, State.OVERLAP, State.CURRENT), 40),
        (40, (State.DESTROYED, State.ENDED, State.CURRENT), None),
        (10**15, (State.DESTROYED, State.ENDED, State.CURRENT), None),
    ],
)
def test_an_overlap_lasts_until_its_end(
    now_ms: int, states: tuple[State, ...], ends: int | None
) -> None:
    shown = RING.shown(now_ms)
    assert tuple(each.state for each in shown) == states
    assert overlap_ends(shown) == ends
    assert shown[0] == Epoch(1, State.DESTROYED, 1, 20, 30)


@given(st.text(max_size=8), st.text(max_size=8))
def test_each_purpose_has_its_own_key(one: str, other: str) -> None:
    assert (root_key(ROOT, one) == root_key(ROOT, other)) == (one == other)
    assert len(root_key(ROOT, one)) == 32


def test_what_is_sealed_is_not_shown() -> None:
    for shown in (repr(RING), str(RING), repr(EPOCHS[1]), f"{RING}"):
        assert "sealed" not in shown
