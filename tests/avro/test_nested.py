"""Nested encoding against fastavro, byte for byte."""

from __future__ import annotations

import io
import math
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.avro.nested import NestedEncoder
from streams.errors import SchemaError
from streams.settings import load

PROFILE = schema_files.load(load().schemas)["taste-profile"]
NUMBERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
WEIGHTED = st.fixed_dictionaries({"name": st.text(), "weight": FLOATS, "share": FLOATS})
KINDS = ("artists", "genres")
TERM_FIELDS = [
    field["name"]
    for field in next(each for each in PROFILE["fields"] if each["name"] == "terms")["type"][
        "items"
    ]["fields"]
]
TERM = st.fixed_dictionaries(
    {
        **dict.fromkeys(TERM_FIELDS, FLOATS),
        "name": st.sampled_from(["short", "medium", "long"]),
        "completion": st.none() | FLOATS,
        "artists": st.lists(WEIGHTED, max_size=3),
        "genres": st.lists(WEIGHTED, max_size=3),
    }
)
PROFILES = st.fixed_dictionaries(
    {
        "listener": st.text(),
        "epoch": st.integers(-(2**31), 2**31 - 1),
        "as_of": NUMBERS,
        "first_at": NUMBERS,
        "plays": NUMBERS,
        "listens": NUMBERS,
        "terms": st.lists(TERM, max_size=3),
        "rhythm": st.lists(FLOATS, max_size=4),
    }
)
WEIGHTED_TYPE = pl.List(
    pl.Struct({"name": pl.String(), "weight": pl.Float64(), "share": pl.Float64()})
)
TERM_TYPE = pl.Struct(
    {
        name: pl.String() if name == "name" else WEIGHTED_TYPE if name in KINDS else pl.Float64()
        for name in TERM_FIELDS
    }
)
SHAPE = pl.Schema(
    {
        "listener": pl.String(),
        "epoch": pl.Int32(),
        "as_of": pl.Int64(),
        "first_at": pl.Int64(),
        "plays": pl.Int64(),
        "listens": pl.Int64(),
        "terms": pl.List(TERM_TYPE),
        "rhythm": pl.List(pl.Float64()),
    }
)


def by_fastavro(records: list[dict[str, Any]]) -> list[bytes]:
    schema = parse_schema(PROFILE)
    encoded = []
    for record in records:
        stream = io.BytesIO()
        schemaless_writer(stream, schema, record)
        encoded.append(wire.frame(9, stream.getvalue()))
    return encoded


def encoded(table: pa.Table) -> list[Any]:
    rows: list[Any] = NestedEncoder(PROFILE, 9).column(table).to_pylist()
    return rows


def tabled(records: list[dict[str, Any]], *, labelled: bool = False) -> pa.Table:
    """With ``labelled``, the names of artists and genres as numbers of a few, as profiles have."""
    table = pl.DataFrame(records, schema=SHAPE).to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.cast(labelling(table.schema)) if labelled else table


def labelling(schema: pa.Schema) -> pa.Schema:
    weighted = pa.large_list(
        pa.struct(
            [
                ("name", pa.dictionary(pa.int64(), pa.large_string())),
                ("weight", pa.float64()),
                ("share", pa.float64()),
            ]
        )
    )
    terms = schema.field("terms").type.value_type
    its = [pa.field(each.name, weighted) if each.name in KINDS else each for each in terms]
    at = schema.get_field_index("terms")
    return schema.set(at, pa.field("terms", pa.large_list(pa.struct(its))))


@settings(deadline=None, max_examples=60)
@given(st.lists(PROFILES, max_size=4), st.booleans())
def test_the_bytes_are_those_of_fastavro(records: list[dict[str, Any]], labelled: bool) -> None:
    assert encoded(tabled(records, labelled=labelled)) == by_fastavro(records)


def test_a_slice_of_a_table_encodes_as_itself() -> None:
    term: dict[str, Any] = dict.fromkeys(TERM_FIELDS, 0.5)
    records = [
        {
            "listener": f"listener {number}",
            "epoch": 1,
            "as_of": number,
            "first_at": 0,
            "plays": 1,
            "listens": 1,
            "terms": [
                {
                    **term,
                    "name": "short",
                    "completion": None if number % 2 else math.pi,
                    "artists": [{"name": "a", "weight": 1.0, "share": 1.0}] * number,
                    "genres": [],
                }
            ],
            "rhythm": [0.1] * number,
        }
        for number in range(9)
    ]
    for labelled in (False, True):
        assert encoded(tabled(records, labelled=labelled)[3:7]) == by_fastavro(records[3:7])


def test_a_table_that_does_not_fit_is_refused_without_its_values() -> None:
    with pytest.raises(SchemaError) as caught:
        encoded(pa.table({"listener": ["secret"]}))
    assert "secret" not in str(caught.value)
    with pytest.raises(SchemaError):
        encoded(tabled([{**dict.fromkeys(SHAPE, None), "listener": "secret"}]))
