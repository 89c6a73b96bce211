from __future__ import annotations

from contextlib import nullcontext, suppress
from struct import pack
from zlib import adler32

import numpy as np
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


def checked(body: bytes) -> bytes:
    """A body with the checksum of what it holds."""
    return body[:9] + pack("<I", adler32(body[13:])) + body[13:] if len(body) > 13 else body


@given(histories)
@settings(deadline=None, max_examples=40)
def test_what_is_decoded_encodes_to_the_same_bytes(listens: list[Listen]) -> None:
    dump = dumped(listens)
    snapshot = codec.decode(dump.listeners, dump.bodies)
    assert codec.encode(snapshot).to_pylist() == dump.bodies
    assert snapshot.listeners == dump.listeners
    assert snapshot.heads.offset.tolist() == dump.offsets


def test_an_artist_heard_once_has_its_weights_only_where_they_do_not_follow() -> None:
    dump = dumped([listen(), listen(artist="Bryony")])
    snapshot = codec.decode(dump.listeners, dump.bodies)
    values = snapshot.artists.block.values
    values[0, 1] += 1
    (longer,) = codec.encode(snapshot).to_pylist()
    assert len(longer) > len(dump.bodies[0])
    again = codec.decode(dump.listeners, [longer]).artists.block.values
    assert np.array_equal(again, values)


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
    for damaged in (body[:length], body + b"\0", *map(checked, (body[:length], body + b"\0"))):
        with pytest.raises(StateError, match="damaged"):
            codec.decode(dump.listeners, [damaged, *dump.bodies[1:]])


@given(histories, st.data())
@settings(deadline=None, max_examples=40)
def test_damage_is_noticed_and_raises_no_other_error(
    listens: list[Listen], data: st.DataObject
) -> None:
    dump = dumped(listens)
    body = bytearray(dump.bodies[0])
    body[data.draw(st.integers(1, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError) if body[9:] != dump.bodies[0][9:] else nullcontext():
        codec.decode(dump.listeners, [bytes(body), *dump.bodies[1:]])
    with suppress(StateError):
        codec.decode(dump.listeners, [checked(bytes(body)), *dump.bodies[1:]])


def test_an_error_tells_nothing_of_the_state() -> None:
    (body,) = dumped([listen(artist="Aster")]).bodies
    with pytest.raises(StateError) as caught:
        codec.decode(["somebody"], [body[:-1]])
    assert "Aster" not in str(caught.value)
    assert "somebody" not in str(caught.value)
