from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.avro import schemas
from streams.avro.schemas import Leaf, leaves, load, read, resolve, schema_id
from streams.errors import SchemaError

FOLDER = Path(__file__).parents[2] / "schemas"


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    named = [{"name": f"f{i}", "type": each} for i, each in enumerate(fields)]
    return {"type": "record", "name": name, "fields": named}


def put(folder: Path, **files: Any) -> Path:
    """Write schemas; a double underscore in a name is a slash."""
    for name, schema in files.items():
        file = folder / f"{name.replace('__', '/')}.avsc"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return folder


def test_the_projects_own_folder_loads() -> None:
    loaded = load(FOLDER)
    assert set(loaded.current) == {file.stem for file in FOLDER.glob("*.avsc")}
    for name, schema in loaded.current.items():
        assert schema == json.loads((FOLDER / f"{name}.avsc").read_text())
        assert loaded.by_id()[schema_id(schema)] == schema


def test_releases_are_ordered_by_number(tmp_path: Path) -> None:
    releases = {f"released__a__{n}": record(*["long"] * n) for n in (10, 9, 1)}
    loaded = load(put(tmp_path, a=record("string"), **releases))
    assert [len(old["fields"]) for old in loaded.released["a"]] == [1, 9, 10]
    assert set(loaded.by_id()) == {
        schema_id(each) for each in (record("string"), *releases.values())
    }


def test_the_working_schema_wins_over_a_release_of_the_same_id(tmp_path: Path) -> None:
    working = {**record("long"), "doc": "new words"}
    loaded = load(put(tmp_path, a=working, released__a__1=record("long")))
    assert loaded.by_id() == {schema_id(working): working}


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="'b'"):
        load(put(tmp_path, a=record("long")))["b"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "no schemas"),
        ({"a": "{"}, "cannot be read"),
        ({"a": "[" * 100_000}, "cannot be read"),
        ({"a": '"string"'}, "not a record"),
        ({"a": {"type": "array", "items": "long"}}, "not a record"),
        ({"a": record("Nowhere")}, "usable Avro"),
        ({"a": {"type": "record", "name": "R", "fields": 5}}, "usable Avro"),
        ({"a": 5}, "usable Avro"),
        ({"a": record("long"), "released__a__one": record("long")}, "named by a number"),
        ({"a": record("long"), "released__a__1": "{"}, "cannot be read"),
    ],
)
def test_a_folder_that_does_not_hold_is_refused_with_a_remedy(
    tmp_path: Path, files: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SchemaError, match=problem) as caught:
        load(put(tmp_path, **files))
    assert caught.value.remedy


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.avsc").write_bytes(b"\xff")
    for name in ("a", "b"):
        with pytest.raises(SchemaError, match=f"{name}.avsc cannot be read"):
            read(tmp_path / f"{name}.avsc")


def test_two_schemas_of_one_id_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "schema_id", lambda _: 1)
    with pytest.raises(SchemaError, match="same id"):
        load(put(tmp_path, a=record("long"), b=record("string")))


def test_ids_follow_the_fingerprint_and_fit_31_bits() -> None:
    for schema in (record("long"), record("string"), *load(FOLDER).current.values()):
        form = fastavro.schema.to_parsing_canonical_form(schema)
        crc = int(fastavro.schema.fingerprint(form, "CRC-64-AVRO"), 16)
        assert schema_id(schema) == crc % (2**31 - 1) + 1
        assert 0 < schema_id(schema) < 2**31


def test_ids_do_not_change_with_what_is_not_on_the_wire() -> None:
    plain = record("long")
    field = {"doc": "d", "default": 1, "aliases": ["g"], "confluent:tags": ["T"], "name": "f0"}
    dressed = {**plain, "doc": "d", "fields": [{**field, "type": "long"}]}
    assert schema_id(plain) == schema_id(dressed)
    assert schema_id(plain) != schema_id(record("int"))


def test_leaves_look_through_everything() -> None:
    inner = record({"type": "int", "logicalType": "date"}, "null", name="ns.Inner")
    enum = {"type": "enum", "name": "E", "symbols": ["A"]}
    fixed = {"type": "fixed", "name": "F", "size": 2}
    schema = record(
        inner,
        ["null", "ns.Inner"],
        {"type": "array", "items": ["ns.Inner", "null"]},
        {"type": "map", "values": {"type": "array", "items": enum}},
        ["null", "string", fixed],
        ["null"],
    )
    dates = [(f"f{i}.f0", "int", "date") for i in range(3)]
    nulls = [(f"f{i}.f1", "null", None) for i in range(3)]
    assert list(leaves(schema)) == [
        *[Leaf(*each) for pair in zip(dates, nulls, strict=True) for each in pair],
        Leaf("f3", "enum", None),
        Leaf("f4", "string", None),
        Leaf("f4", "fixed", None),
        Leaf("f5", "null", None),
    ]


def test_leaves_of_a_play() -> None:
    found = {leaf.path: leaf for leaf in leaves(load(FOLDER)["play"])}
    assert found["started_at"] == Leaf("started_at", "long", "timestamp-millis")
    assert found["track.title"].type == found["genres"].type == "string"
    assert "track" not in found


@pytest.mark.parametrize(
    "schema",
    [
        record("long", record("R", name="S")),
        record({"type": "fixed", "name": "F", "size": -1}),
        record({"type": "fixed", "name": "F", "size": "2"}),
        record(["null", ["long", "string"]]),
        {"type": "record", "name": "R", "fields": [{"name": "a.b", "type": "long"}]},
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}] * 2},
    ],
)
def test_what_makes_no_sense_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError, match="usable Avro"):
        resolve(schema)


@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_odd_json_makes_a_schema_error_or_none(data: st.DataObject) -> None:
    odd: st.SearchStrategy[Any] = st.sampled_from(
        [None, 5, "", "long", "R", [], {}, [[]], {"type": []}, {"type": "fixed"}]
    )
    schema: Any = record(record("long", name="S"), {"type": "map", "values": ["null", "S"]})
    node = schema
    while True:
        key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or data.draw(st.booleans()):
            node[key] = data.draw(odd)
            break
        node = node[key]
    with suppress(SchemaError):
        list(leaves(schema))


def test_resolving_leaves_the_input_alone() -> None:
    schema = record(record("long", name="S"), "S")
    before = json.dumps(schema)
    resolved = resolve(schema)
    assert isinstance(resolved, dict)
    assert resolved["fields"][0]["type"] == resolved["fields"][1]["type"]
    assert json.dumps(schema) == before
