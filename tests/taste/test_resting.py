"""Who rests as a body is no different from who does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import StateError
from streams.taste.codec import VERSION
from streams.taste.resting import Resting
from streams.taste.state import Bounds, Dump, TasteState
from tests.taste.histories import ARTISTS, LISTENERS, Listen, frame, histories, listen

ITEMS = 20
END = 2**50
STRANGER = f"{99:032x}"
NAMES = (*LISTENERS, STRANGER)
names = st.sampled_from(NAMES)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("fold"), histories),
        st.tuples(st.just("fold again"), histories),
        st.tuples(st.just("forget"), names),
        st.tuples(st.just("span"), names),
        st.tuples(st.just("held"), st.sampled_from(LISTENERS)),
        st.tuples(st.just("artist"), names, st.sampled_from(ARTISTS)),
        st.tuples(st.just("rename"), names, names),
        st.tuples(st.just("checkpoint")),
    ),
    max_size=4,
)


def dumped(listens: list[Listen]) -> Dump:
    state = TasteState(Bounds())
    state.fold(frame(listens))
    return state.dump(state.checkpoint().listeners)


def restored(dump: Dump) -> TasteState:
    state = TasteState(Bounds())
    state.load_many(dump.listeners, dump.bodies)
    return state


def taken(state: TasteState, step: tuple[Any, ...], offset: int) -> Any:
    """What comes of ``step``."""
    what, *more = step
    if what == "fold":
        return state.fold(frame(more[0], offset))
    if what == "fold again":
        return state.fold(frame(more[0]))
    if what == "forget":
        return state.forget(more[0])
    if what == "span":
        return state.span(more[0])
    if what == "held":
        return state.held(more[0]) if more[0] in state else None
    if what == "artist":
        name, artist = more
        return state.drop_artist(name, artist, 0, END), state.artist_rows(name, None, 0, END)
    if what == "rename":
        old, new = more
        return state.rename(old, new, 3)
    changed = state.checkpoint()
    return sorted(changed.listeners), changed.gone


@given(histories, steps)
@settings(deadline=None, max_examples=40)
def test_resting_makes_no_difference(listens: list[Listen], steps: list[tuple[Any, ...]]) -> None:
    dump = dumped(listens)
    resting, awake = restored(dump), restored(dump)
    for name in dump.listeners:
        assert awake.span(name) is not None
    for number, step in enumerate(steps, 1):
        assert taken(resting, step, 100 * number) == taken(awake, step, 100 * number)
        assert resting.listeners == awake.listeners
        assert resting.next_offset == awake.next_offset
    there = [name for name in NAMES if name in awake]
    assert [name for name in NAMES if name in resting] == there
    assert taken(resting, ("checkpoint",), 0) == taken(awake, ("checkpoint",), 0)
    assert resting.dump(there) == awake.dump(there)
    assert list(resting.profiles(there, ITEMS)) == list(awake.profiles(there, ITEMS))


@given(st.lists(histories, min_size=1, max_size=5))
@settings(deadline=None, max_examples=40)
def test_impatience_makes_no_difference(rounds: list[list[Listen]]) -> None:
    patient, impatient = TasteState(Bounds()), TasteState(Bounds(), patience=1)
    for number, listens in enumerate(rounds):
        for state in (patient, impatient):
            state.fold(frame(listens, 100 * number))
        changed, wanted = impatient.checkpoint(), patient.checkpoint()
        assert sorted(changed.listeners) == sorted(wanted.listeners)
        assert impatient.listeners == patient.listeners
    there = [name for name in LISTENERS if name in patient]
    assert impatient.dump(there) == patient.dump(there)
    assert list(impatient.profiles(there, ITEMS)) == list(patient.profiles(there, ITEMS))


def test_who_does_not_change_for_a_while_rests() -> None:
    state, one, other = TasteState(Bounds(), patience=3), *LISTENERS[:2]
    state.fold(frame([listen(listener=other), listen(listener=one)]))
    state.checkpoint()
    bodies = state.dump([one, other]).bodies
    sizes = []
    for number in range(1, 6):
        state.fold(frame([listen(listener=one)], 100 * number))
        assert state.checkpoint().listeners == [one]
        sizes.append(state.resting)
    assert sizes == [0, 0, 1, 1, 1]
    assert state.dump([other]).bodies == bodies[1:]
    assert state.resting == 0


def test_who_is_not_needed_stays_a_body() -> None:
    dump = dumped([listen(listener=name) for name in LISTENERS])
    bodies = sum(map(len, dump.bodies))
    state, one = restored(dump), LISTENERS[0]
    empty = TasteState(Bounds()).nbytes
    assert state.listeners == len(LISTENERS)
    assert state.nbytes == empty + bodies
    assert all(name in state for name in LISTENERS)
    assert state.forget(LISTENERS[1])
    assert state.nbytes < empty + bodies
    before = state.nbytes
    state.fold(frame([listen(listener=one)], first_offset=len(LISTENERS)))
    assert state.checkpoint().listeners == [one]
    assert state.nbytes > before


def test_damage_shows_when_the_listener_is_needed() -> None:
    dump = dumped([listen(listener=name) for name in LISTENERS[:2]])
    state = restored(dump._replace(bodies=[dump.bodies[0][:-1], dump.bodies[1]]))
    assert state.span(dump.listeners[1]) is not None
    with pytest.raises(StateError, match="damaged"):
        state.span(dump.listeners[0])


def test_what_is_no_body_is_refused_at_once() -> None:
    for body, problem in (
        (b"", "version"),
        (bytes([VERSION]), "damaged"),
        (b"\x09" * 99, "version"),
    ):
        with pytest.raises(StateError, match=problem):
            TasteState(Bounds()).load_many([STRANGER], [body])


def test_many_are_decoded_a_page_at_a_time() -> None:
    (body,) = dumped([listen()]).bodies
    resting = Resting()
    everyone = [f"{number:032x}" for number in range(2_500)]
    assert resting.put(everyone, [body] * len(everyone)) == 0
    pages = list(resting.take([*everyone, *everyone, STRANGER]))
    assert [name for page in pages for name in page.listeners] == everyone
    assert len(pages) > 1
    assert not resting
