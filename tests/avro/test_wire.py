from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from streams.avro import wire

ids = st.sampled_from([0, 1, 7, 2**31 - 1, 2**32 - 1]) | st.integers(0, 2**32 - 1)
framed = st.tuples(ids, st.binary(max_size=8))
broken = st.none() | st.binary(max_size=4) | st.binary(min_size=1).filter(lambda v: v[0] != 0)


@given(framed)
def test_a_frame_is_a_zero_the_id_and_the_body(record: tuple[int, bytes]) -> None:
    number, body = record
    assert wire.frame(number, body) == struct.pack(">bI", 0, number) + body


@given(st.lists(framed | broken, max_size=12))
def test_split_takes_apart_what_frame_put_together(batch: list[tuple[int, bytes] | bytes]) -> None:
    values = [wire.frame(*each) if isinstance(each, tuple) else each for each in batch]
    split = wire.split(values)
    assert split.malformed == [i for i, each in enumerate(batch) if not isinstance(each, tuple)]
    found = {}
    for number, group in split.groups.items():
        assert group.rows.tolist() == sorted(group.rows.tolist())
        for row, body in zip(group.rows.tolist(), group.bodies, strict=True):
            found[row] = (number, body)
    assert found == {i: each for i, each in enumerate(batch) if isinstance(each, tuple)}


def test_groups_keep_the_order_of_first_appearance() -> None:
    values = [wire.frame(number, b"") for number in (9, 3, 9, 5, 3)]
    assert list(wire.split(values).groups) == [9, 3, 5]


def test_no_body_shows_in_a_repr() -> None:
    assert "secret" not in repr(wire.split([wire.frame(1, b"secret")]))
