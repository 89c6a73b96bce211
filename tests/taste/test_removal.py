"""What is taken out of the state might as well never have been in it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import StateError
from streams.taste.decay import BAND
from streams.taste.state import Bounds, Dump, TasteState
from tests.taste.histories import (
    ARTISTS,
    LAST_MINUTE,
    LISTENERS,
    MINUTE_MS,
    Listen,
    cut,
    frame,
    histories,
    listen,
)
from tests.taste.recount import recount

ITEMS = 20
END = 2**50
Everything = tuple[list[dict[str, Any]], Dump]


class Run:
    """A state with what a changelog would hold of it, so that it can be restarted from there."""

    def __init__(self) -> None:
        self.state = TasteState(Bounds())
        self.log: dict[str, bytes] = {}

    def checkpoint(self) -> None:
        changed = self.state.checkpoint()
        dump = self.state.dump(changed.listeners)
        self.log.update(zip(dump.listeners, dump.bodies, strict=True))
        for gone in changed.gone:
            self.log.pop(gone, None)

    def restart(self) -> None:
        self.checkpoint()
        self.state = TasteState(Bounds())
        self.state.load_many(list(self.log), list(self.log.values()))

    def step(self, data: st.DataObject) -> None:
        for step in data.draw(st.lists(st.sampled_from([self.checkpoint, self.restart]))):
            step()

    def everything(self) -> Everything:
        self.restart()
        names = sorted(self.log)
        return list(self.state.profiles(names, ITEMS)), self.state.dump(names)


def folded(rows: pl.DataFrame) -> Run:
    run = Run()
    run.state.fold(rows)
    return run


@given(histories, st.data())
@settings(deadline=None, max_examples=60)
def test_who_is_forgotten_at_any_moment_had_better_never_been(
    listens: list[Listen], data: st.DataObject
) -> None:
    rows, run = frame(listens), Run()
    forgotten = data.draw(st.sets(st.sampled_from(LISTENERS)))
    cuts = data.draw(st.lists(st.integers(1, len(listens)), max_size=5))
    for batch in cut(rows, cuts):
        run.state.fold(batch)
        run.step(data)
        for name in sorted(forgotten):
            if data.draw(st.booleans()):
                known = name in run.state
                assert run.state.forget(name) == known
    for name in forgotten:
        run.state.forget(name)
    others = rows.filter(~pl.col("listener").is_in(list(forgotten)))
    assert run.everything() == folded(others).everything()


@given(histories, st.data())
@settings(deadline=None, max_examples=60)
def test_who_is_renamed_at_any_moment_had_better_always_had_the_name(
    listens: list[Listen], data: st.DataObject
) -> None:
    rows, run = frame(listens), Run()
    names = data.draw(st.permutations([*LISTENERS, *(f"{n:032x}" for n in range(100, 103))]))
    chain = data.draw(st.integers(1, 3))
    # Either one after the other (a chain) or two into one.
    renamed = (
        [(names[n], names[n + 1], n + 2) for n in range(chain)]
        if data.draw(st.booleans())
        else [(names[0], names[2], 2), (names[1], names[2], 2)]
    )
    cuts = data.draw(st.lists(st.integers(1, len(listens)), max_size=5))
    for batch in cut(rows, cuts):
        run.state.fold(batch)
        run.step(data)
        if data.draw(st.booleans()):
            run.state.rename_many(renamed)
    assert len(run.state.rename_many(renamed)) <= len(renamed)
    successor = {old: (new, epoch) for old, new, epoch in renamed}

    def now(play: Listen) -> Listen:
        name, epoch = play["listener"], play["epoch"]
        while name in successor:
            name, epoch = successor[name]
        return {**play, "listener": name, "epoch": epoch}

    assert run.everything() == folded(frame(map(now, listens))).everything()


@given(histories, st.data())
@settings(deadline=None, max_examples=40)
def test_what_is_subtracted_is_in_no_sum(listens: list[Listen], data: st.DataObject) -> None:
    one = LISTENERS[0]
    chosen = [each["listener"] == one and data.draw(st.booleans()) for each in listens]
    rows, run = frame(listens), folded(frame(listens))
    run.step(data)
    out, kept = rows.filter(pl.Series(chosen)), rows.filter(~pl.Series(chosen))
    if one not in run.state:
        with pytest.raises(StateError):
            run.state.subtract(one, out, 0)
        return
    mine = kept.filter(listener=one)
    newest = mine["started_at"].to_numpy().max() if len(mine) else 0
    run.state.subtract(one, out, int(newest))
    run.checkpoint()
    assert (one in run.state) == bool(len(mine))
    others = [name for name in sorted(run.log) if name != one]
    expected = folded(kept).state
    assert run.state.dump(others) == expected.dump(others)
    if len(mine):
        (profile,), (wanted,) = run.state.profiles([one], ITEMS), expected.profiles([one], ITEMS)
        for each in (*profile["terms"], *wanted["terms"]):
            del each["discovery_rate"]  # goes by the first listens, which are not known any more
        assert {**profile, "first_at": 0} == {**wanted, "first_at": 0}
        assert profile["first_at"] <= wanted["first_at"]


@given(histories, st.sampled_from(ARTISTS), st.data())
@settings(deadline=None, max_examples=30)
def test_a_dropped_artist_is_in_no_ranking(
    listens: list[Listen], artist: str, data: st.DataObject
) -> None:
    one = LISTENERS[0]
    listens = [*listens, listen(listener=one, artist="last")]
    run = folded(frame(listens))
    run.step(data)
    rows = run.state.artist_rows(one, artist, 0, END)
    assert run.state.drop_artist(one, artist, 0, END) == rows
    assert run.state.artist_rows(one, artist, 0, END) == 0
    run.restart()
    (profile,) = run.state.profiles([one], ITEMS)
    wanted = recount(each for each in listens if each["artist"] != artist)[one]
    for term, expected in zip(profile["terms"], wanted["terms"], strict=True):
        names = {each["name"]: pytest.approx(each["weight"]) for each in term["artists"]}
        assert names == {each["name"]: each["weight"] for each in expected["artists"]}
        assert artist not in names


def test_an_artist_is_dropped_by_half_years() -> None:
    first = LAST_MINUTE // BAND * BAND
    run = folded(frame([listen(first + n * BAND, artist="A") for n in (-2, -1, 0)]))
    inside = (first - BAND + 5) * MINUTE_MS
    assert run.state.artist_rows(LISTENERS[0], "A", inside, inside + 1) == 1
    assert run.state.artist_rows(LISTENERS[0], None, inside, END) == 2
    assert run.state.artist_rows(LISTENERS[0], "B", 0, END) == 0
    assert run.state.artist_rows(LISTENERS[1], "A", 0, END) == 0
    assert run.state.drop_artist(LISTENERS[1], "A", 0, END) == 0
    assert run.state.drop_artist(LISTENERS[0], "A", inside, first * MINUTE_MS) == 1
    assert run.state.artist_rows(LISTENERS[0], "A", 0, END) == 2


@given(histories)
@settings(deadline=None, max_examples=30)
def test_what_is_held_is_told_in_full(listens: list[Listen]) -> None:
    one = LISTENERS[0]
    state, mine = folded(frame(listens)).state, [e for e in listens if e["listener"] == one]
    if not mine:
        assert state.span(one) is None
        with pytest.raises(StateError):
            state.held(one)
        return
    counted = [each for each in mine if each["counted"]]
    held, starts = state.held(one), [each["started_at"] for each in mine]
    assert state.span(one) == (min(starts), max(starts), len(mine))
    assert (held["first_at"], held["as_of"], held["plays"]) == state.span(one)
    assert held["listens"] == len(counted)
    assert held["artists"] == [
        {
            "name": name,
            "listens": sum(each["artist"] == name for each in counted),
            "first_at": min(e["started_at"] for e in counted if e["artist"] == name),
        }
        for name in sorted({each["artist"] for each in counted})
    ]
    assert held["genres"] == sorted({genre for each in counted for genre in each["genres"]})
    hours = {(each["started_at"] // 3_600_000 + 72) % 168 for each in counted}
    assert held["hours_of_week"] == sorted(hours)
