from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import StateError
from streams.taste import codec
from streams.taste.state import Bounds, Dump, TasteState
from tests.taste.histories import Listen, frame, histories, listen


def dumped(listens: list[Listen]) -> Dump:
    state = TasteState(Bounds())
    state.fold(frame(listens))
    return state.dump(state.checkpoint().listeners)


@given(histories)
@settings(deadline=None, max_examples=40)
def test_what_is_decoded_encodes_to_the_same_bytes(listens: list[Listen]) -> None:
    dump = dumped(listens)
    snapshot = codec.decode(dump.listeners, dump.bodies)
    assert codec.encode(snapshot) == dump.bodies
    assert snapshot.listeners == dump.listeners
    assert snapshot.heads.offset.tolist() == dump.offsets


@given(histories)
@settings(deadline=None, max_examples=40)
def test_bodies_of_the_release_before_decode_to_the_same(listens: list[Listen]) -> None:
    dump = dumped(listens)
    old = [codec.plain(body) for body in dump.bodies]
    assert {body[0] for body in old} == {codec.PLAIN}
    assert codec.offsets(old) == codec.offsets(dump.bodies) == dump.offsets
    mixed = [
        one if n % 2 else other for n, (one, other) in enumerate(zip(old, dump.bodies, strict=True))
    ]
    for bodies in (old, mixed):
        assert codec.encode(codec.decode(dump.listeners, bodies)) == dump.bodies


def test_a_listener_with_one_artist_takes_a_few_hundred_bytes() -> None:
    (body,) = dumped([listen()] * 100).bodies
    assert len(body) < 400


def test_another_version_is_refused() -> None:
    (body,) = dumped([listen()]).bodies
    with pytest.raises(StateError, match="version"):
        codec.decode(["a"], [bytes([codec.VERSION + 1]) + body[1:]])
    with pytest.raises(StateError, match="version"):
        codec.decode(["a"], [b""])


@given(histories, st.data())
@settings(deadline=None, max_examples=25)
def test_a_body_cut_short_or_continued_is_refused(
    listens: list[Listen], data: st.DataObject
) -> None:
    dump = dumped(listens)
    body = dump.bodies[0]
    length = data.draw(st.integers(1, len(body) - 1))
    plain = codec.plain(body)
    cut = data.draw(st.integers(1, len(plain) - 1))
    for damaged in (body[:length], body + b"\0", plain[:cut], plain + b"\0"):
        with pytest.raises(StateError, match="damaged"):
            codec.decode(dump.listeners, [damaged, *dump.bodies[1:]])


@given(histories, st.data())
@settings(deadline=None, max_examples=40)
def test_damage_raises_no_other_error(listens: list[Listen], data: st.DataObject) -> None:
    dump = dumped(listens)
    for body in (dump.bodies[0], codec.plain(dump.bodies[0])):
        damaged = bytearray(body)
        damaged[data.draw(st.integers(1, len(body) - 1))] ^= data.draw(st.integers(1, 255))
        with suppress(StateError):
            codec.offsets([bytes(damaged)])
            codec.decode(dump.listeners, [bytes(damaged), *dump.bodies[1:]])


def test_an_error_tells_nothing_of_the_state() -> None:
    (body,) = dumped([listen(artist="Aster")]).bodies
    with pytest.raises(StateError) as caught:
        codec.decode(["somebody"], [body[:-1]])
    assert "Aster" not in str(caught.value)
    assert "somebody" not in str(caught.value)
