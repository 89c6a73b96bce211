from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import StateError
from streams.taste.state import Bounds, Dump, TasteState
from tests.taste.histories import (
    LAST_MINUTE,
    LISTENERS,
    MINUTE_MS,
    Listen,
    Record,
    cut,
    frame,
    histories,
    listen,
)

ITEMS = 20
Outcome = tuple[list[Record], Dump]
FINAL = [listen(listener=listener, artist="last") for listener in LISTENERS]
"""A last listen of everyone, so that what is reordered before it ends at the same offsets."""


def outcome(state: TasteState, listeners: tuple[str, ...] = LISTENERS) -> Outcome:
    return list(state.profiles(listeners, ITEMS)), state.dump(listeners)


def folded(listens: list[Listen], bounds: Bounds | None = None) -> TasteState:
    state = TasteState(bounds or Bounds())
    state.fold(frame(listens))
    state.checkpoint()
    return state


def restored(dump: Dump) -> TasteState:
    state = TasteState(Bounds())
    state.load_many(dump.listeners, dump.bodies)
    return state


@given(histories, st.data())
@settings(deadline=None, max_examples=50)
def test_order_batches_checkpoints_and_restarts_leave_no_trace(
    listens: list[Listen], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(listens))
    cuts = data.draw(st.lists(st.integers(1, len(listens)), max_size=5))
    state = TasteState(Bounds())
    known: set[str] = set()
    for batch in cut(frame([*shuffled, *FINAL]), cuts):
        assert state.fold(batch) == len(batch)
        step = data.draw(st.sampled_from(["go on", "checkpoint", "restart"]))
        if step != "go on":
            known.update(state.checkpoint().listeners)
        if step == "restart":
            state = restored(state.dump(sorted(known)))
    assert outcome(state) == outcome(folded([*listens, *FINAL]))


@given(histories, st.data())
@settings(deadline=None, max_examples=20)
def test_folding_again_after_a_half_finished_flush_changes_nothing(
    listens: list[Listen], data: st.DataObject
) -> None:
    rows = frame([*FINAL, *listens])
    state = TasteState(Bounds())
    state.fold(rows[: len(FINAL)])
    before = state.dump(LISTENERS)
    state.fold(rows[len(FINAL) :])
    after = state.dump(LISTENERS)
    missing = {"after": 0, "before": len(listens), "never": len(rows)}
    flushed = {name: data.draw(st.sampled_from([*missing])) for name in LISTENERS}
    bodies = {"after": dict(zip(LISTENERS, after.bodies, strict=True))}
    bodies["before"] = dict(zip(LISTENERS, before.bodies, strict=True))
    known = {name: bodies[when][name] for name, when in flushed.items() if when != "never"}
    second = TasteState(Bounds())
    second.load_many(list(known), list(known.values()))
    unflushed = [n >= len(rows) - missing[flushed[name]] for n, name in enumerate(rows["listener"])]
    assert second.fold(rows) == sum(unflushed)
    assert second.fold(rows) == 0
    assert outcome(second) == outcome(state)


@given(histories)
@settings(deadline=None, max_examples=20)
def test_loading_replaces_what_is_there(listens: list[Listen]) -> None:
    state, other = folded([*listens, *FINAL]), folded(FINAL)
    dump = state.dump(LISTENERS)
    other.load_many([*LISTENERS, *LISTENERS], [*folded(FINAL).dump(LISTENERS).bodies, *dump.bodies])
    assert outcome(other) == outcome(state)
    other.load_many(LISTENERS[:1], dump.bodies[:1])
    assert outcome(other) == outcome(state)
    assert other.listeners == len(LISTENERS)


def test_a_checkpoint_names_who_changed_since_the_last() -> None:
    one, two, three, four = LISTENERS
    state = TasteState(Bounds())
    assert state.fold(frame([])) == 0
    state.fold(frame([listen(listener=one), listen(listener=two)]))
    assert sorted(state.checkpoint().listeners) == [one, two]
    state.fold(frame([listen(listener=two), listen(listener=three)], first_offset=2))
    state.load_many([four], state.dump([one]).bodies)
    state.forget(three)
    changed = state.checkpoint()
    assert changed.listeners == [two]
    assert changed.gone == [three]
    assert state.checkpoint().gone == []


@given(histories)
@settings(deadline=None, max_examples=20)
def test_who_is_forgotten_leaves_nothing_behind(listens: list[Listen]) -> None:
    state = folded([*listens, *FINAL])
    assert state.forget(LISTENERS[0])
    assert not state.forget(LISTENERS[0])
    assert state.checkpoint().gone == [LISTENERS[0]]
    with pytest.raises(StateError):
        state.dump(LISTENERS)
    later = [listen(artist="later", epoch=3)]
    state.fold(frame(later, first_offset=1_000))
    alone = TasteState(Bounds())
    alone.fold(frame(later, first_offset=1_000))
    assert outcome(state, LISTENERS[:1]) == outcome(alone, LISTENERS[:1])
    others = [each for each in [*listens, *FINAL] if each["listener"] != LISTENERS[0]]
    profiles, _ = outcome(folded(others), LISTENERS[1:])
    assert outcome(state, LISTENERS[1:])[0] == profiles


@given(histories)
@settings(deadline=None, max_examples=20)
def test_a_renamed_listener_has_both_histories(listens: list[Listen]) -> None:
    old, new = LISTENERS[:2]
    state = folded([*listens, *FINAL])
    assert state.rename(old, new, epoch=2)
    assert not state.rename(old, new, epoch=2)
    changed = state.checkpoint()
    assert (changed.listeners, changed.gone) == ([new], [old])
    moved = [
        {**each, "listener": new, "epoch": 2} if each["listener"] == old else each
        for each in [*listens, *FINAL]
    ]
    assert outcome(state, LISTENERS[1:]) == outcome(folded(moved), LISTENERS[1:])


def test_renaming_to_a_new_pseudonym_keeps_everything_but_the_epoch() -> None:
    state = folded(FINAL)
    (before,) = state.profiles(LISTENERS[:1], ITEMS)
    assert state.rename(LISTENERS[0], "f" * 32, epoch=2)
    (after,) = state.profiles(["f" * 32], ITEMS)
    assert after == {**before, "listener": "f" * 32, "epoch": 2}
    assert state.listeners == len(FINAL)


def test_pruning_bounds_what_is_held_and_keeps_the_heavy() -> None:
    bounds = Bounds(top_artists=5, top_genres=3)
    state = TasteState(bounds)
    sizes = []
    for round_ in range(60):
        minute = LAST_MINUTE // 60 * 60 + round_
        rare = [listen(minute, artist=f"{round_} {n}", genres=[f"{round_} {n}"]) for n in range(4)]
        often = [listen(minute, artist="often", genres=["often"])] * 2
        state.fold(frame([*rare, *often], first_offset=round_ * 6))
        state.checkpoint()
        (profile,) = state.profiles(LISTENERS[:1], 100)
        for term in profile["terms"]:
            assert len(term["artists"]) <= 2 * bounds.top_artists
            assert len(term["genres"]) <= 2 * bounds.top_genres
            assert term["artists"][0]["name"] == "often"
            assert term["genres"][0]["name"] == "often"
        sizes.append(len(state.dump(LISTENERS[:1]).bodies[0]))
    (profile,) = state.profiles(LISTENERS[:1], 1)
    assert profile["listens"] == 360
    assert profile["terms"][2]["artists"][0]["weight"] == pytest.approx(120, rel=0.01)
    assert max(sizes[30:]) < 1.2 * max(sizes[:30])


def test_memory_does_not_grow_with_listens() -> None:
    state = TasteState(Bounds(top_artists=5, top_genres=3))
    used: list[int] = []
    for round_ in range(30):
        rows = [
            listen(listener=listener, artist=f"{round_} {n}", genres=[f"{round_} {n}"])
            for listener in LISTENERS
            for n in range(200)
        ]
        state.fold(frame(rows, first_offset=round_ * len(rows)))
        state.checkpoint()
        used.append(state.nbytes)
    assert max(used[10:]) <= max(used[:10])


@pytest.mark.parametrize("minute", [-1, 256 * 182 * 1_440])
def test_an_impossible_time_is_refused_and_changes_nothing(minute: int) -> None:
    state = folded(FINAL)
    before = outcome(state)
    bad: dict[str, Any] = {"started_at": minute * MINUTE_MS}
    with pytest.raises(StateError, match="started_at"):
        state.fold(frame([listen(), listen(**bad)], first_offset=100))
    assert outcome(state) == before
