"""Effective tags: every placement counts and is inherited, whatever the schema looks like."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.avro import registry
from streams.errors import SchemaError
from streams.privacy import tags
from streams.privacy.tags import Leaf
from tests.privacy import trees

T = {"confluent:tags": ["T"]}
DEVICE = {"type": "record", "name": "Device", "fields": [{"name": "serial", "type": "string"}]}


def record(*fields: object, **more: object) -> dict[str, object]:
    return {"type": "record", "name": "Root", "namespace": "n", "fields": list(fields), **more}


PLACEMENTS = {
    "field": (record({"name": "a", "type": "string", **T}), "a"),
    "type object": (record({"name": "a", "type": {"type": "string", **T}}), "a"),
    "type object twice": (record({"name": "a", "type": {"type": {"type": "string", **T}}}), "a"),
    "record itself": (record({"name": "a", "type": "string"}, **T), "a"),
    "inner record": (record({"name": "a", "type": {**DEVICE, **T}}), "a.serial"),
    "field of record type": (record({"name": "a", "type": DEVICE, **T}), "a.serial"),
    "named type again": (
        record({"name": "b", "type": {**DEVICE, **T}}, {"name": "a", "type": "Device"}),
        "a.serial",
    ),
    "field of a named type again": (
        record({"name": "b", "type": DEVICE}, {"name": "a", "type": "n.Device", **T}),
        "a.serial",
    ),
    "type object around a name": (
        record({"name": "b", "type": DEVICE}, {"name": "a", "type": {"type": "Device", **T}}),
        "a.serial",
    ),
    "enum again": (
        record(
            {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["X"], **T}},
            {"name": "a", "type": ["null", "E"]},
        ),
        "a",
    ),
    "fixed": (record({"name": "a", "type": {"type": "fixed", "name": "F", "size": 1, **T}}), "a"),
    "array": (record({"name": "a", "type": {"type": "array", "items": "string", **T}}), "a"),
    "items": (
        record({"name": "a", "type": {"type": "array", "items": {"type": "string", **T}}}),
        "a",
    ),
    "map": (record({"name": "a", "type": {"type": "map", "values": "string", **T}}), "a"),
    "values": (
        record({"name": "a", "type": {"type": "map", "values": ["null", {"type": "int", **T}]}}),
        "a",
    ),
    "array of records": (
        record({"name": "a", "type": {"type": "array", "items": DEVICE, **T}}),
        "a[].serial",
    ),
    "record in an array": (
        record({"name": "a", "type": {"type": "array", "items": {**DEVICE, **T}}}),
        "a[].serial",
    ),
    "record in a map": (
        record({"name": "a", "type": {"type": "map", "values": {**DEVICE, **T}}}),
        "a{}.serial",
    ),
    "union branch": (record({"name": "a", "type": ["null", {"type": "string", **T}]}), "a"),
    "record in a union": (record({"name": "a", "type": ["null", {**DEVICE, **T}]}), "a.serial"),
    "one branch of several": (record({"name": "a", "type": ["int", {"type": "string", **T}]}), "a"),
    "record among branches": (
        record({"name": "a", "type": ["null", "int", {**DEVICE, **T}]}),
        "a<n.Device>.serial",
    ),
}


@pytest.mark.parametrize(("schema", "path"), PLACEMENTS.values(), ids=PLACEMENTS)
def test_every_placement_counts(schema: dict[str, object], path: str) -> None:
    assert "T" in tags.leaves(schema)[path].tags


@given(trees.records(tags=("A", "B", "C")))
def test_leaves_are_those_of_the_tree_the_schema_was_written_from(root: trees.Record) -> None:
    expected = trees.leaves(root)
    found = tags.leaves(json.loads(json.dumps(trees.schema(root))))
    assert found == trees.by_path(expected)
    assert list(found) == [leaf.path for leaf in expected]


def test_names_resolve_in_the_namespace_around_them() -> None:
    inner = {"type": "enum", "name": "E", "symbols": ["X"], "confluent:tags": ["INNER"]}
    outer = {"type": "enum", "name": "E", "symbols": ["X"], "confluent:tags": ["OUTER"]}
    within = {
        "type": "record",
        "name": "m.Within",
        "fields": [{"name": "own", "type": inner}, {"name": "short", "type": "E"}],
    }
    schema = record(
        {"name": "outer", "type": outer},
        {"name": "within", "type": within},
        {"name": "short", "type": "E"},
        {"name": "full", "type": "m.E"},
        {"name": "none", "type": {**DEVICE, "namespace": "", **T}},
        {"name": "again", "type": "n.E"},
    )
    found = {path: set(leaf.tags) for path, leaf in tags.leaves(schema).items()}
    assert found == {
        "outer": {"OUTER"},
        "within.own": {"INNER"},
        "within.short": {"INNER"},
        "short": {"OUTER"},
        "full": {"INNER"},
        "none.serial": {"T"},
        "again": {"OUTER"},
    }


def test_a_record_that_contains_itself_ends_as_a_leaf_of_its_own_kind() -> None:
    node = {
        "type": "record",
        "name": "Node",
        "fields": [
            {"name": "value", "type": "string", **T},
            {"name": "next", "type": ["null", "Node"]},
            {"name": "all", "type": {"type": "array", "items": "Node"}, **T},
        ],
    }
    found = tags.leaves(record({"name": "list", "type": node}))
    assert {path: leaf.type for path, leaf in found.items()} == {
        "list.value": "string",
        "list.next": "recursive",
        "list.all[]": "recursive",
    }
    assert found["list.all[]"].tags == {"T"}


def test_nullable_and_units_are_reported() -> None:
    stamp = {"type": "long", "logicalType": "timestamp-micros"}
    found = tags.leaves(
        record({"name": "at", "type": ["null", stamp]}, {"name": "d", "type": ["null", DEVICE]})
    )
    assert found["at"] == Leaf("at", "long", frozenset(), True, "timestamp-micros")
    assert found["d.serial"].nullable


EXTERNAL = record(
    {"name": "a", "type": "string"},
    {"name": "ab", "type": "string"},
    {"name": "device", "type": DEVICE},
)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("n.Root.a", {"a"}),
        ("n.Root.a?", {"ab"}),
        ("n.Root.a*", {"a", "ab"}),
        ("n.Root.*", {"a", "ab", "device.serial"}),  # inherited through the field `device`
        ("n.*.serial", {"device.serial"}),
        ("*.serial", set()),
        ("**.serial", {"device.serial"}),
        ("**", {"a", "ab", "device.serial"}),
        ("n.**.*", {"a", "ab", "device.serial"}),
        ("n.Root.**.*", {"a", "ab", "device.serial"}),
        ("n?Root?a", set()),
        ("n.Root", set()),
        ("Root.a", set()),
        ("n.Root.[ab]", set()),
    ],
)
def test_external_tags_match_like_confluents(pattern: str, paths: set[str]) -> None:
    found = tags.leaves(EXTERNAL, {pattern: ["X"]})
    assert {path for path, leaf in found.items() if "X" in leaf.tags} == paths


names = st.text("ab", min_size=1, max_size=4)
patterns = st.text("ab?*", min_size=1, max_size=5).filter(lambda text: "**" not in text)


@given(names, patterns)
def test_within_one_part_a_pattern_is_a_glob(name: str, pattern: str) -> None:
    found = tags.leaves(record({"name": name, "type": "string"}), {f"n.Root.{pattern}": ["X"]})
    assert ("X" in found[name].tags) == fnmatchcase(name, pattern)


def nested(depth: int) -> object:
    held: object = "string"
    for _ in range(depth):
        held = {"type": "array", "items": held}
    return record({"name": "a", "type": held})


def doubling(depth: int) -> object:
    inner: object = {"type": "record", "name": "T0", "fields": []}
    for level in range(1, depth):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"T{level - 1}"}]
        inner = {"type": "record", "name": f"T{level}", "fields": fields}
    return record({"name": "a", "type": inner})


INVALID = {
    "no record": {"type": "string"},
    "a union": [record()],
    "a name": "string",
    "no fields": {"type": "record", "name": "R"},
    "no name": {"type": "record", "fields": []},
    "a field without type": record({"name": "a"}),
    "a field that is no object": record("a"),
    "a dotted field": record({"name": "a.b", "type": "string"}),
    "a field twice": record({"name": "a", "type": "string"}, {"name": "a", "type": "int"}),
    "an unknown name": record({"name": "a", "type": "Missing"}),
    "a name of another namespace": record({"name": "a", "type": "m.Root"}),
    "a type without a type": record({"name": "a", "type": {}}),
    "an array of nothing": record({"name": "a", "type": {"type": "array"}}),
    "a number for a type": record({"name": "a", "type": 1}),
    "a type twice": record({"name": "a", "type": DEVICE}, {"name": "b", "type": DEVICE}),
    "tags that are text": record({"name": "a", "type": "string", "confluent:tags": "T"}),
    "tags that are null": record({"name": "a", "type": "string", "confluent:tags": None}),
    "a tag that is no text": record({"name": "a", "type": "string", "confluent:tags": [1]}),
    "too deep": nested(500),
    "exponential": doubling(24),
}


@pytest.mark.parametrize("schema", INVALID.values(), ids=INVALID)
def test_what_is_not_a_schema_is_refused(schema: object) -> None:
    with pytest.raises(SchemaError):
        tags.leaves(schema)


def test_tags_that_the_registry_brings_along_count_too() -> None:
    metadata = {"tags": {"n.Root.a": ["X"]}, "properties": {"owner": "x"}}
    schema = {**EXTERNAL, registry.METADATA: metadata}
    assert tags.leaves(schema)["a"].tags == {"X"}
    assert tags.leaves(schema, {"**.a": ["Y"], "n.Root.a": ["Z"]})["a"].tags == {"X", "Y", "Z"}
    assert tags.leaves({**EXTERNAL, registry.METADATA: {"tags": None}})["a"].tags == set()


@pytest.mark.parametrize("metadata", ["x", ["x"], {"tags": ["x"]}, {"tags": {"**": "x"}}])
def test_metadata_that_cannot_be_read_is_refused(metadata: object) -> None:
    with pytest.raises(SchemaError):
        tags.leaves({**EXTERNAL, registry.METADATA: metadata})


def test_external_tags_that_are_not_lists_are_refused() -> None:
    with pytest.raises(SchemaError):
        tags.leaves(EXTERNAL, {"**": "T"})


def test_the_committed_schemas_have_leaves() -> None:
    folder = Path(__file__).parents[2] / "schemas"
    play = json.loads((folder / "play.avsc").read_text(encoding="utf-8"))
    found = tags.leaves(play)
    assert found["track.title"] == Leaf("track.title", "string", frozenset({"RECORDING"}), True)
    rejected = json.loads((folder / "rejected.avsc").read_text(encoding="utf-8"))
    assert all(leaf.tags == {"RAW_RECORD"} for leaf in tags.leaves(rejected).values())
