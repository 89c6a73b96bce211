"""Cutting streams into entries, against splitting the whole at once; values against datetime."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources.reading import (
    INT_MAX,
    LONGEST,
    items,
    lines,
    milliseconds,
    seconds_to_ms,
    text,
    utc_to_ms,
)
from streams.sources.tally import Tally, Unreadable

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Dribble(io.BufferedReader):
    """A stream that gives what an iterator gives, in pieces of at most ``size`` bytes."""

    def __init__(self, blocks: Iterable[bytes], size: int = 2**30) -> None:
        super().__init__(io.BytesIO())
        self._pieces: Iterator[bytes] = (
            block[at : at + size] for block in blocks for at in range(0, len(block), size)
        )

    def read1(self, size: int = -1) -> bytes:
        del size
        return next(self._pieces, b"")


@given(
    st.lists(st.binary(max_size=9) | st.sampled_from([b"\n", b" \n", b"\r\n"])), st.integers(1, 9)
)
def test_lines_are_those_of_splitting_at_once(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)
    expected = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    tally = Tally()
    assert list(lines(Dribble([data], size), tally)) == expected
    assert tally == Tally()


@pytest.mark.parametrize("ending", [b"", b"\n", b"\nlast"])
def test_a_line_too_long_is_noted_and_the_others_are_read(ending: bytes) -> None:
    data = b"first\n" + b"x" * (3 * LONGEST) + ending
    tally = Tally()
    found = list(lines(Dribble([data], 100_000), tally))
    assert found == [(1, b"first")] + ([(3, b"last")] if ending == b"\nlast" else [])
    assert tally.positions == [(2, Unreadable.TOO_LONG)]


@settings(deadline=None)
@given(
    st.lists(json_values),
    st.integers(1, 50),
    st.sampled_from([None, 1, 2]),
    st.booleans(),
    st.booleans(),
)
def test_items_are_those_of_parsing_at_once(
    values: list[Any], size: int, indent: int | None, ascii_only: bool, mark: bool
) -> None:
    document = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    data = document.encode("utf-8-sig" if mark else "utf-8")
    tally = Tally()
    found = list(items(Dribble([data], size), tally))
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
    assert [value for _, value in found] == json.loads(document)
    assert tally == Tally()


@settings(deadline=None)
@given(st.lists(json_values, min_size=1), st.integers(1, 50), st.data())
def test_a_cut_array_gives_its_items_up_to_there(
    values: list[Any], size: int, data: st.DataObject
) -> None:
    document = json.dumps(values).encode()
    cut = data.draw(st.integers(0, len(document) - 1))
    tally = Tally()
    found = [value for _, value in items(Dribble([document[:cut]], size), tally)]
    assert found == values[: len(found)]
    assert tally.positions == [(len(found) + 1, Unreadable.NOT_JSON)]


@pytest.mark.parametrize("data", [b"", b"  ", b"{}", b"x[1]", b'"', b"\xff", b"[" * 100_000])
def test_what_is_no_array_is_noted_once(data: bytes) -> None:
    tally = Tally()
    assert list(items(Dribble([data], 1_000), tally)) == []
    assert tally.positions == [(1, Unreadable.NOT_JSON)]


def test_a_malformed_item_ends_the_array() -> None:
    tally = Tally()
    data = b"[1, 2, {oops}, " + b"3, " * LONGEST + b"4]"
    assert list(items(Dribble([data], 100_000), tally)) == [(1, 1), (2, 2)]
    assert tally.positions == [(3, Unreadable.NOT_JSON)]


def test_bytes_that_are_no_utf_8_spoil_their_item_only() -> None:
    found = [item for _, item in items(Dribble([b'["a", "\xff", "b"]']), Tally())]
    assert found == ["a", "\udcff", "b"]


@pytest.mark.parametrize("cut", [lines, items])
@pytest.mark.parametrize(
    ("block", "count"), [(b'{"a": "%s"},\n' % (b"x" * 1_000), 10_000), (b"x" * 100_000, 100)]
)
def test_memory_does_not_grow_with_the_file(
    cut: Callable[[io.BufferedIOBase, Tally], Iterator[object]], block: bytes, count: int
) -> None:
    stream = Dribble(itertools.chain([b"["], itertools.repeat(block, count)))
    tracemalloc.start()
    for _ in cut(stream, Tally()):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LONGEST


@pytest.mark.parametrize("cut", [lines, items])
def test_a_cut_gzip_gives_what_it_holds(
    cut: Callable[[io.BufferedIOBase, Tally], Iterator[tuple[int, object]]],
) -> None:
    data = b"[" + b",\n".join(b"%d" % (n * n) for n in range(50_000)) + b"]"
    whole = list(cut(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))), Tally()))
    packed = gzip.compress(data)[:-20_000]
    tally = Tally()
    found = list(cut(gzip.GzipFile(fileobj=io.BytesIO(packed)), tally))
    assert 10_000 < len(found) < len(whole)
    assert found[:-1] == whole[: len(found) - 1]
    assert (0, Unreadable.DAMAGED) in tally.positions


@given(json_values)
def test_text_is_stripped_or_none(value: object) -> None:
    expected = value.strip() or None if isinstance(value, str) else None
    assert text(value) == expected


def test_text_without_utf_8_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        text("a\udcff")


@given(json_values | st.floats(), st.sampled_from([1, 1_000]))
def test_milliseconds_fit_avro(value: Any, scale: int) -> None:
    found = milliseconds(value, scale)
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if good and 0 <= value * scale <= INT_MAX - scale:
        assert found is not None
        assert abs(found - value * scale) <= 0.5
    else:
        assert found is None or 0 <= found <= INT_MAX


@pytest.mark.parametrize(
    "value", [True, "1", None, [], {}, float("nan"), float("inf"), -1, -0.5, INT_MAX + 1, 10**400]
)
def test_other_values_are_no_milliseconds(value: object) -> None:
    assert milliseconds(value) is None


utc = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)).map(
    lambda when: when.replace(tzinfo=UTC)
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(utc.map(lambda when: when.replace(microsecond=0)))
def test_unix_seconds(when: datetime) -> None:
    seconds = (when - EPOCH) // timedelta(seconds=1)
    assert seconds_to_ms(seconds) == seconds * 1_000
    assert seconds_to_ms(float(seconds)) == seconds * 1_000


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), -1, 253_402_300_800, 10**400])
def test_other_values_are_no_unix_seconds(value: object) -> None:
    assert seconds_to_ms(value) is None


@given(utc, st.integers(-840, 840))
def test_iso_times(when: datetime, minutes_ahead: int) -> None:
    expected = (when - EPOCH) // timedelta(milliseconds=1)
    assert utc_to_ms(when.isoformat()) == expected
    assert utc_to_ms(when.replace(tzinfo=None).isoformat(" ")) == expected
    if timedelta(days=1) < when - EPOCH and when.year < 9999:
        zone = timezone(timedelta(minutes=minutes_ahead))
        assert utc_to_ms(when.astimezone(zone).isoformat()) == expected


@given(json_values | st.text("0123456789-T:Z+. ", min_size=10, max_size=30))
def test_any_value_is_a_time_or_none(value: object) -> None:
    found = utc_to_ms(value)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    "value",
    ["", "2020-01-01", "1969-12-31T23:59:59Z", "2020-13-01T00:00:00Z", "0001-01-01T00:00+23:59", 5],
)
def test_other_values_are_no_time(value: object) -> None:
    assert utc_to_ms(value) is None
