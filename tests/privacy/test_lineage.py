"""The listen schema says of each field where it comes from, and says it right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.errors import SchemaError
from streams.privacy import lineage, tags
from streams.privacy.derive import DERIVATIONS, READ_TYPES

FOLDER = Path(__file__).parents[2] / "schemas"
COUNTED = list(DERIVATIONS["counted"].reads)


def read(name: str) -> dict[str, object]:
    schema = json.loads((FOLDER / f"{name}.avsc").read_text(encoding="utf-8"))
    assert isinstance(schema, dict)
    return schema


def of(**field: object) -> dict[str, object]:
    declared = {"name": "f", "type": "boolean", **field}
    declared = {key.replace("_", ":"): value for key, value in declared.items()}
    return {"type": "record", "name": "Listen", "fields": [declared]}


def test_the_committed_listen_schema_accounts_for_every_field() -> None:
    schema, play = read("listen"), tags.leaves(read("play"))
    declared = {field["name"]: field for field in schema["fields"]}  # type: ignore[attr-defined]
    found = lineage.fields(schema)
    assert [field.name for field in found] == list(declared)
    for field in found:
        assert field.source == declared[field.name].get("sottovoce:from")
        assert field.source is None or field.source in play
        assert (field.by is None) != (field.source is None)
    lineage.check_reads(play)
    required = {field.name for field in found if field.source and field.required}
    assert required == {"listener", "event", "started_at", "artist"}


def test_a_default_stands_in_for_a_value() -> None:
    (plain,) = lineage.fields(of(sottovoce_from="a"))
    (nullable,) = lineage.fields(of(sottovoce_from="a", type=["null", "boolean"]))
    (filled,) = lineage.fields(of(sottovoce_from="a", default=False))
    assert [field.required for field in (plain, nullable, filled)] == [True, False, False]
    assert filled.default is False


@pytest.mark.parametrize(
    "field",
    [
        {},
        {"sottovoce_from": "a", "sottovoce_derived": {"by": "counted", "reads": COUNTED}},
        {"sottovoce_from": 1},
        {"sottovoce_from": ["a"]},
        {"sottovoce_derived": "counted"},
        {"sottovoce_derived": {"by": "counted"}},
        {"sottovoce_derived": {"by": "counted", "reads": COUNTED, "of": "x"}},
        {"sottovoce_derived": {"by": "guessed", "reads": []}},
        {"sottovoce_derived": {"by": ["counted"], "reads": COUNTED}},
        {"sottovoce_derived": {"by": "counted", "reads": COUNTED[:-1]}},
        {"sottovoce_derived": {"by": "counted", "reads": [*COUNTED, "track.title"]}},
        {"sottovoce_derived": {"by": "counted", "reads": None}},
        {"sottovoce_derived": {"by": "counted", "reads": COUNTED}, "type": "string"},
        {"sottovoce_derived": {"by": "counted", "reads": COUNTED}, "type": "Missing"},
        {"sottovoce_from": "a", "default": {"x": 1}},
        {"sottovoce_from": "a", "type": {"type": "map", "values": "string"}},
        {"sottovoce_from": "a", "type": ["string", "long"]},
        {
            "sottovoce_from": "a",
            "type": {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]},
        },
    ],
)
def test_what_does_not_say_where_it_comes_from_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(SchemaError):
        lineage.fields(of(**field))


@pytest.mark.parametrize("path", READ_TYPES)
def test_play_must_have_what_the_gate_reads(path: str) -> None:
    play = tags.leaves(read("play"))
    changed = {**play, path: tags.Leaf(path, "bytes", frozenset())}
    missing = {other: leaf for other, leaf in play.items() if other != path}
    for leaves in (changed, missing):
        with pytest.raises(SchemaError, match=path):
            lineage.check_reads(leaves)
