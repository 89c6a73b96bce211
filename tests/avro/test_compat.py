from __future__ import annotations

from typing import Any

import pytest

from streams.avro.compat import incompatibilities
from streams.errors import SchemaError


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name: str, avro_type: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": avro_type, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return field("e", {"type": "enum", "name": "E", "symbols": list(symbols), **more})


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size}


def logical(kind: str) -> dict[str, Any]:
    return record(field("a", {"type": "long", "logicalType": kind}))


A = field("a", "int")
OLD = record(A)
NEW, OLDER, LOGICAL = "new cannot read old", "old cannot read new", "changes its logical type"


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (OLD, OLD, []),
        (record(A, field("b", "int", default=1)), OLD, []),
        (record(A, field("b", "int")), OLD, [NEW]),
        (OLD, record(A, field("b", "int", default=1)), []),
        (OLD, record(A, field("b", "int")), [OLDER]),
        (record(field("a", "string")), OLD, [NEW, OLDER]),
        (record(field("a", "long")), OLD, [OLDER]),
        (record(field("a", ["null", "int"])), OLD, [OLDER]),
        (record(field("z", "int", aliases=["a"])), OLD, [OLDER]),
        (record(field("z", "int", aliases=["a"]), field("a", "int", default=0)), OLD, []),
        (record(enum("A", "B")), record(enum("A")), [OLDER]),
        (record(enum("A", "B", default="A")), record(enum("A", default="A")), []),
        (record(A, name="S"), OLD, [NEW, OLDER]),
        (record(field("f", fixed(2))), record(field("f", fixed(3))), [NEW, OLDER]),
        (
            record(field("n", record(A, field("b", "int"), name="N"))),
            record(field("n", record(A, name="N"))),
            [NEW],
        ),
        (logical("timestamp-micros"), logical("timestamp-millis"), [LOGICAL]),
    ],
)
def test_each_kind_of_change(new: dict[str, Any], old: dict[str, Any], expected: list[str]) -> None:
    found = incompatibilities(new, old)
    assert len(found) == len(expected)
    assert all(part in text for part, text in zip(expected, found, strict=True))


def test_it_names_the_field() -> None:
    (problem,) = incompatibilities(record(A, field("volume", "int")), OLD)
    assert "volume" in problem


def test_what_is_not_avro_is_refused() -> None:
    with pytest.raises(SchemaError):
        incompatibilities({"type": "nothing"}, OLD)
