from __future__ import annotations

import io
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from streams.avro.tail import Tail
from streams.errors import SchemaError, StateError

LONGS = st.integers(-(2**63), 2**63 - 1)


def schema(*types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": each} for number, each in enumerate(types)]
    return {"type": "record", "name": "Large", "fields": fields}


def encoded(number: int, end: bytes) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, schema("int", "long", "bytes"), {"f0": 3, "f1": number, "f2": end})
    return stream.getvalue()


@given(st.lists(st.tuples(LONGS, st.binary(max_size=300)), max_size=5))
def test_cuts_out_what_was_written(rows: list[tuple[int, bytes]]) -> None:
    bodies = [encoded(number, end) for number, end in rows]
    tail = Tail(schema("int", "long", "bytes"))
    assert [tail.cut(body) for body in bodies] == [end for _, end in rows]
    assert [tail.cut(b"\xff\x80" + body, 2) for body in bodies] == [end for _, end in rows]


@given(LONGS, st.binary(max_size=300), st.data())
def test_a_body_cut_short_or_continued_is_refused(
    number: int, end: bytes, data: st.DataObject
) -> None:
    body, tail = encoded(number, end), Tail(schema("int", "long", "bytes"))
    for damaged in (body[: data.draw(st.integers(0, len(body) - 1))], body + b"\0"):
        with pytest.raises(StateError, match="does not decode"):
            tail.cut(damaged)


@given(st.binary(max_size=40))
def test_anything_else_is_cut_or_refused(body: bytes) -> None:
    try:
        end = Tail(schema("bytes")).cut(body)
    except StateError:
        return
    assert body.endswith(end)


@pytest.mark.parametrize("types", [(), ("bytes", "long"), ("string", "bytes"), ("long", "string")])
def test_other_records_are_refused(types: tuple[str, ...]) -> None:
    with pytest.raises(SchemaError):
        Tail(schema(*types))
