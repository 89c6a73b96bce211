"""Writer schemas that the fuzzer sends records of, and records to begin with."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

from fastavro import parse_schema, schemaless_writer

from streams.avro import schemas as schema_files
from streams.settings import load

_PLAY = schema_files.load(load().schemas)["play"]


def _with(*fields: dict[str, Any]) -> dict[str, Any]:
    schema = copy.deepcopy(_PLAY)
    schema["fields"] += fields
    return schema


def _nullable(name: str) -> dict[str, Any]:
    schema = copy.deepcopy(_PLAY)
    for field in schema["fields"]:
        if field["name"] == name:
            field["type"] = ["null", field["type"]]
    return schema


_POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": ["double", "null"]}]}
WRITERS: tuple[dict[str, Any], ...] = (
    _PLAY,
    _with({"name": "odd", "type": ["null", "string", "long", _POINT]}),
    _with(
        {"name": "path", "type": {"type": "array", "items": _POINT}},
        {"name": "extra", "type": {"type": "map", "values": {"type": "array", "items": "bytes"}}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "code", "type": ["null", {"type": "fixed", "name": "Code", "size": 5}]},
    ),
    _nullable("artist"),
    _with({"name": "link", "type": {"type": "map", "values": ["null", "int", "string"]}}),
)
"""Play; one with a union, read record by record; one with containers that are skipped; one whose
artist may be null; one with a map of unions."""


def filled(schema: dict[str, Any], seed: int, count: int) -> Iterator[bytes]:
    """Bodies of ``schema``."""
    rng = random.Random(seed)
    parsed = parse_schema(schema)
    for _ in range(count):
        stream = io.BytesIO()
        schemaless_writer(stream, parsed, _value(rng, schema, {}))
        yield stream.getvalue()


def _value(rng: random.Random, schema: Any, named: dict[str, Any], name: str = "") -> Any:
    if isinstance(schema, str):
        schema = named.get(schema, schema)
    if isinstance(schema, list):
        return _value(rng, rng.choice(schema), named, name)
    if isinstance(schema, dict):
        kind = schema["type"]
        named |= {schema["name"]: schema} if "name" in schema else {}
        few = range(rng.randint(0, 3))
        match kind:
            case "record":
                return {
                    f["name"]: _value(rng, f["type"], named, f["name"]) for f in schema["fields"]
                }
            case "array":
                return [_value(rng, schema["items"], named) for _ in few]
            case "map":
                return {f"k{number}": _value(rng, schema["values"], named) for number in few}
            case "enum":
                return rng.choice(schema["symbols"])
            case "fixed":
                return rng.randbytes(schema["size"])
        return _value(rng, kind, named, name)
    if name == "started_at":
        return 1_780_000_000_000 + rng.randrange(10**9)
    makers: dict[str, Callable[[], Any]] = {
        "null": lambda: None,
        "boolean": lambda: name != "private_session" and rng.random() < 0.5,
        "int": lambda: rng.randrange(400_000),
        "long": lambda: rng.randrange(2**40),
        "double": lambda: rng.uniform(-90, 90),
        "float": lambda: float(rng.randrange(100)),
        "bytes": lambda: rng.randbytes(4),
        "string": lambda: rng.choice(["ä", "two words", "", "x" * 40]) + str(rng.randrange(99)),
    }
    return makers[schema]()
