"""The encoders against fastavro, byte for byte, and read back with the decoder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.encode import ColumnEncoder, RecordEncoder
from streams.errors import SchemaError

SCHEMAS = Path(__file__).parents[2] / "schemas"
FLAT = ("listen", "taste-state", "rejected")
ID = 0x01020304
TYPES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "boolean": (pl.Boolean(), st.booleans()),
    "int": (pl.Int32(), st.integers(-(2**31), 2**31 - 1)),
    "long": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pl.Float32(), st.floats(width=32, allow_nan=False)),
    "double": (pl.Float64(), st.floats(allow_nan=False)),
    "string": (pl.String(), st.text(max_size=70)),
    "bytes": (pl.Binary(), st.binary(max_size=70)),
}
TEXTS = {"type": "array", "items": "string"}


def kind(avro_type: Any) -> tuple[pl.DataType, st.SearchStrategy[Any]]:
    """Column type and values of a field's type."""
    if isinstance(avro_type, list):
        dtype, values = kind(next(branch for branch in avro_type if branch != "null"))
        return dtype, st.none() | values
    if isinstance(avro_type, dict):
        if avro_type["type"] == "array":
            return pl.List(pl.String()), st.lists(st.text(max_size=70), max_size=3)
        return kind(avro_type["type"])
    return TYPES[avro_type]


def plain(avro_type: Any) -> Any:
    """The type without its logical type."""
    if isinstance(avro_type, list):
        return [plain(branch) for branch in avro_type]
    return (
        avro_type["type"] if isinstance(avro_type, dict) and "items" not in avro_type else avro_type
    )


def written(schema: Any, record: dict[str, Any]) -> bytes:
    """What fastavro writes, in wire format."""
    fields = [{"name": f["name"], "type": plain(f["type"])} for f in schema["fields"]]
    stream = io.BytesIO()
    flat = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    fastavro.schemaless_writer(stream, flat, record)
    return b"\x00\x01\x02\x03\x04" + stream.getvalue()


def check(schema: Any, records: list[dict[str, Any]]) -> None:
    types = {field["name"]: kind(field["type"])[0] for field in schema["fields"]}
    frame = pl.DataFrame(records, schema=types)
    encoded = ColumnEncoder(schema, ID).encode(frame)
    assert encoded == [written(schema, record) for record in records]
    if records:
        group = wire.split(encoded).groups[ID]
        decoded = ColumnDecoder(schema, frame.columns).decode(group.bodies)
        assert decoded.frame.equals(frame)
        assert decoded.frame.schema == frame.schema


def records(schema: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    fields = {field["name"]: kind(field["type"])[1] for field in schema["fields"]}
    return st.lists(st.fixed_dictionaries(fields), max_size=5)


any_type = st.sampled_from([*TYPES, TEXTS]) | st.sampled_from(list(TYPES)).flatmap(
    lambda name: st.sampled_from([["null", name], [name, "null"]])
)
any_schema = st.lists(any_type, min_size=1, max_size=6).map(
    lambda types: {
        "type": "record",
        "name": "R",
        "fields": [{"name": f"f{i}", "type": each} for i, each in enumerate(types)],
    }
)


@given(any_schema.flatmap(lambda schema: st.tuples(st.just(schema), records(schema))))
@settings(deadline=None, max_examples=100)
def test_columns_give_the_bytes_that_fastavro_writes(case: Any) -> None:
    check(*case)


@pytest.mark.parametrize("name", FLAT)
@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_so_they_do_with_our_own_schemas(name: str, data: st.DataObject) -> None:
    schema = json.loads((SCHEMAS / f"{name}.avsc").read_text())
    check(schema, data.draw(records(schema)))


def test_longs_of_every_length() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    edges = [sign * 2**power + by for power in range(63) for sign in (1, -1) for by in (-1, 0)]
    check(schema, [{"a": number} for number in [*edges, 2**63 - 1, -(2**63)]])
    check(schema, [{"a": 0}])


def test_chunks_slices_and_column_order_make_no_difference() -> None:
    fields = [{"name": "a", "type": ["null", "string"]}, {"name": "b", "type": TEXTS}]
    schema = {"type": "record", "name": "R", "fields": fields}
    rows = [{"a": None if i % 3 else f"t{i}", "b": ["x"] * (i % 4)} for i in range(9)]
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.List(pl.String)})
    scattered = pl.concat([frame[:4], frame[4:]], rechunk=False).select("b", "a", extra=1)
    expected = [written(schema, row) for row in rows]
    encoder = ColumnEncoder(schema, ID)
    assert encoder.encode(scattered) == expected
    assert encoder.encode(scattered[2:7]) == expected[2:7]


def test_a_null_hides_what_was_in_its_place() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "string"]}]}
    frame = pl.DataFrame({"a": ["kept", "the text that a listener withdrew"]})
    masked = frame.select(pl.when(pl.col("a") == "kept").then("a"))
    assert ColumnEncoder(schema, ID).encode(masked)[1] == b"\x00\x01\x02\x03\x04\x00"


@pytest.mark.parametrize(
    ("avro_type", "column"),
    [
        (["null", "long"], pl.Series([None, None])),
        ("long", pl.Series([1, 2], dtype=pl.UInt8)),
        (["null", "int"], pl.Series([None, 7], dtype=pl.Int64)),
        (TEXTS, pl.Series([[], []], dtype=pl.List(pl.Null))),
    ],
)
def test_columns_that_lose_nothing_are_widened(avro_type: Any, column: pl.Series) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": avro_type}]}
    encoded = ColumnEncoder(schema, ID).encode(column.to_frame("a"))
    assert encoded == [written(schema, {"a": value}) for value in column.to_list()]


@pytest.mark.parametrize(
    ("avro_type", "column", "problem"),
    [
        ("string", pl.Series(["secret", None]), "null in a row"),
        ("string", pl.Series([None], dtype=pl.Null), "null in a row"),
        (TEXTS, pl.Series([["secret", None]]), "null within an array"),
        (TEXTS, pl.Series([["secret"], None]), "null in a row"),
        ("int", pl.Series([123_456_789_012]), "larger"),
        ("int", pl.Series([-123_456_789_012]), "larger"),
        ("long", pl.Series([2**64 - 1], dtype=pl.UInt64), "larger"),
        ("long", pl.Series(["12345"]), "not for long"),
        ("long", pl.Series([12345.0]), "not for long"),
        ("string", pl.Series([b"secret"]), "not for string"),
        ("bytes", pl.Series(["secret"]), "not for bytes"),
        (TEXTS, pl.Series([[12345]]), "not for array"),
    ],
)
def test_what_does_not_fit_is_refused_by_column_without_a_value(
    avro_type: Any, column: pl.Series, problem: str
) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": avro_type}]}
    with pytest.raises(SchemaError, match=f"The column a is .*{problem}") as caught:
        ColumnEncoder(schema, ID).encode(column.to_frame("a"))
    told = str(caught.value)
    assert "secret" not in told
    assert "12345" not in told
    assert "123_456" not in told


def test_a_missing_column_is_named() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    with pytest.raises(SchemaError, match="column a is missing"):
        ColumnEncoder(schema, ID).encode(pl.DataFrame({"b": [1]}))


@pytest.mark.parametrize(
    "avro_type",
    [
        "null",
        ["null", "long", "string"],
        ["null", TEXTS],
        {"type": "array", "items": "long"},
        {"type": "map", "values": "string"},
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {"type": "record", "name": "S", "fields": []},
    ],
)
def test_other_types_are_left_to_the_record_encoder(avro_type: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": avro_type}]}
    with pytest.raises(SchemaError, match="RecordEncoder"):
        ColumnEncoder(schema, ID)


def test_records_are_what_fastavro_writes() -> None:
    schema = json.loads((SCHEMAS / "taste-profile.avsc").read_text())
    term = {
        **dict.fromkeys(("half_life_days", "plays", "listens", "minutes", "skip_rate"), 1.5),
        **dict.fromkeys(("discovery_rate", "repeat_share"), 0.5),
        **dict.fromkeys(("artist_diversity", "genre_diversity"), 2.0),
        "name": "short",
        "completion": None,
        "artists": [{"name": "x", "weight": 1.0, "share": 1.0}],
        "genres": [],
    }
    profile = {
        "listener": "l", "epoch": 1, "as_of": 5, "first_at": 1, "plays": 2, "listens": 1,
        "terms": [term], "rhythm": [0.0] * 168,
    }  # fmt: skip
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), profile)
    assert (
        RecordEncoder(schema, ID).encode(iter([profile] * 2))
        == [b"\x00\x01\x02\x03\x04" + stream.getvalue()] * 2
    )


def test_defaults_fill_what_a_record_lacks() -> None:
    fields = [{"name": "a", "type": "long", "default": 3}, {"name": "b", "type": "long"}]
    schema = {"type": "record", "name": "R", "fields": fields}
    assert RecordEncoder(schema, ID).encode([{"b": 1}]) == [b"\x00\x01\x02\x03\x04\x06\x02"]


@pytest.mark.parametrize("record", [{"a": {"b": "secret"}}, {"a": {"b": None}}, {}, None, "secret"])
def test_a_record_that_does_not_fit_is_refused_without_its_value(record: Any) -> None:
    inner = {"type": "record", "name": "S", "fields": [{"name": "b", "type": "long"}]}
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": inner}]}
    with pytest.raises(SchemaError, match="does not fit") as caught:
        RecordEncoder(schema, ID).encode([record])
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
