from __future__ import annotations

from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste.packing import packed, straight, unpacked

WIDTHS = (1, 4, 35)


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[bytes, int]]:
    return [
        (draw(st.binary(min_size=rows * width, max_size=rows * width)), width)
        for width in WIDTHS
        if (rows := draw(st.integers(0, 5))) >= 0
    ]


@given(st.binary(max_size=9), tables(), st.binary(max_size=9))
@settings(deadline=None)
def test_what_is_packed_comes_out_the_same(
    head: bytes, tables: list[tuple[bytes, int]], tail: bytes
) -> None:
    body = packed(2, 77, head, tables, tail)
    sizes = [(len(table), width) for table, width in tables]
    expected = head + b"".join(table for table, _ in tables) + tail
    assert straight(unpacked(body), len(head), sizes) == expected
    assert body.startswith(pack("<Bq", 2, 77))


@given(st.binary(min_size=1, max_size=200), st.data())
@settings(deadline=None)
def test_no_damage_behind_the_offset_goes_unnoticed(plain: bytes, data: st.DataObject) -> None:
    body = bytearray(packed(2, 0, plain, [], b""))
    body[data.draw(st.integers(9, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(ValueError):
        assert unpacked(bytes(body)) == plain  # LZ4 has bits that mean nothing


def test_a_size_that_cannot_be_takes_no_memory() -> None:
    body = packed(2, 0, b"a few bytes", [], b"")
    lying = body[:9] + pack("<I", 2**32 - 1) + body[13:]
    with pytest.raises(ValueError, match="larger"):
        unpacked(lying)
    with pytest.raises(ValueError, match="not what"):
        unpacked(b"")


def test_wide_tables_of_small_numbers_shrink() -> None:
    table = b"".join(pack("<q", number) for number in range(100))
    assert len(packed(2, 0, b"", [(table, 8)], b"")) < len(table) / 3
