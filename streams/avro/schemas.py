"""Avro schemas as files and as data: loading the folder, ids, resolved types, leaves.

The folder holds ``<name>.avsc``, the schema this code works with, and what was published before it
as ``released/<name>/<n>.avsc``, n counting from 1.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from streams.errors import SchemaError

Schema: TypeAlias = dict[str, Any]
"""A named Avro type as JSON: a record nearly always."""
AvroType: TypeAlias = str | Schema | list[Any]
"""Any Avro type as JSON: a name, an object or a union."""
Resolved: TypeAlias = Schema | list[Schema]
"""A type in which `resolve` left no name: an object, ``{"type": "string"}`` too, or a union."""

LARGEST = 10_000
"""Types a schema may hold once every name is replaced by what it stands for."""
DEEPEST = 64
"""How far types may nest within each other."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Schemas:
    """The folder, read. ``released[name]`` is ordered, oldest first, and empty for many."""

    current: Mapping[str, Schema]
    released: Mapping[str, tuple[Schema, ...]]

    def __getitem__(self, name: str) -> Schema:
        """The schema this code works with, by file name without suffix.

        Raises:
            SchemaError: the folder has none of that name.
        """
        if name not in self.current:
            raise SchemaError(f"There is no schema {name!r}.", f"Add {name}.avsc to the folder.")
        return self.current[name]

    def by_id(self) -> dict[int, Schema]:
        """Every schema by `schema_id`. Where two share an id, the one this code works with wins:
        they are the same on the wire and differ at most in documentation, tags and defaults."""
        versions = (schema for released in self.released.values() for schema in released)
        return {schema_id(schema): schema for schema in (*versions, *self.current.values())}


class Leaf(NamedTuple):
    """A value a schema describes. ``type`` is a primitive, ``enum`` or ``fixed``."""

    path: str
    """Names of fields from the top, with dots: ``track.title``."""
    type: str
    logical: str | None


def load(folder: Path) -> Schemas:
    """Read the folder of schemas.

    Raises:
        SchemaError: the folder has none, or a file is not readable, not JSON, not valid Avro or not
            a record; or two schemas that differ on the wire share an id.
    """
    current = {file.stem: read(file) for file in sorted(folder.glob("*.avsc"))}
    if not current:
        raise SchemaError(
            f"{folder} holds no schemas (*.avsc).", "Set SOTTOVOCE_SCHEMAS to the folder that does."
        )
    schemas = Schemas(current, {name: _released(folder / "released" / name) for name in current})
    forms: dict[int, str] = {}
    for schema in (*current.values(), *(s for old in schemas.released.values() for s in old)):
        form = to_parsing_canonical_form(schema)
        if forms.setdefault(schema_id(schema), form) != form:
            raise SchemaError("Two schemas have the same id.", "Rename a field or type in one.")
    return schemas


def _released(folder: Path) -> tuple[Schema, ...]:
    files = list(folder.glob("*.avsc"))
    for file in files:
        if not file.stem.isdecimal():
            raise SchemaError(f"{file} is not named by a number.", "Number releases from 1.")
    return tuple(read(file) for file in sorted(files, key=lambda file: int(file.stem)))


def read(file: Path) -> Schema:
    """Read one schema file and check it as `load` does."""
    try:
        schema = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SchemaError(
            f"{file} cannot be read: {type(error).__name__}.", "It must be JSON in UTF-8."
        ) from None
    try:
        top = resolve(schema)
    except SchemaError as error:
        raise SchemaError(f"{file}: {error.problem}", error.remedy) from None
    if not (isinstance(schema, dict) and is_record(top)):
        raise SchemaError(f"{file} is not a record.", 'Its top must be {"type": "record", ...}.')
    return schema


def schema_id(schema: Schema) -> int:
    """Id of a schema where no registry gives one: 1 to 2**31 - 1, the same everywhere and always.

    From the CRC-64-AVRO fingerprint of the parsing canonical form (Avro specification, "Schema
    Fingerprints"), so documentation, tags, defaults and aliases do not change it.
    """
    digest = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return int(digest, 16) % (2**31 - 1) + 1


def is_record(resolved: Resolved) -> TypeGuard[Schema]:
    """Whether a resolved type is a record."""
    return isinstance(resolved, dict) and resolved["type"] == "record"


def resolve(schema: AvroType) -> Resolved:
    """The schema with every name replaced by what it stands for.

    Raises:
        SchemaError: it is not valid Avro; a type contains itself (nothing bounds how deep a body
            may nest then, and fastavro overruns the stack on one that nests far); or it is larger
            than `LARGEST` types or deeper than `DEEPEST`.
    """
    try:
        return _Resolver().type(parse_schema(schema), 0)
    except SchemaError:
        raise
    except Exception as error:  # whatever odd JSON leads to, in fastavro and here
        raise _invalid(f"{type(error).__name__}: {error}") from None


def _invalid(why: str) -> SchemaError:
    return SchemaError(f"The schema is not usable Avro: {why}.", "Correct and register it anew.")


class _Resolver:
    """Walks a schema that fastavro parsed, so every reference is a full name."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}
        self.inside: list[str] = []
        self.size = 0

    def type(self, avro_type: AvroType, depth: int) -> Resolved:
        if not isinstance(avro_type, list):
            return self.single(avro_type, depth)
        if any(isinstance(branch, list) for branch in avro_type):
            raise _invalid("it has a union directly within a union")
        return [self.single(branch, depth) for branch in avro_type]

    def single(self, avro_type: str | Schema, depth: int) -> Schema:
        self.size += 1
        if self.size > LARGEST or depth > DEEPEST:
            raise _invalid(f"it is larger than {LARGEST} types or deeper than {DEEPEST}")
        if isinstance(avro_type, str):
            if avro_type in self.inside:
                raise _invalid(f"type {avro_type} contains itself")
            avro_type = self.named.get(avro_type, {"type": avro_type})
        return self.object(avro_type, depth + 1)

    def object(self, schema: Schema, depth: int) -> Schema:
        match schema["type"]:
            case "array":
                return {**schema, "items": self.type(schema["items"], depth)}
            case "map":
                return {**schema, "values": self.type(schema["values"], depth)}
            case "record":
                return self.record(schema, depth)
            case "fixed":
                if not isinstance(schema["size"], int) or schema["size"] < 0:
                    raise _invalid(f"the size of {schema['name']} is not a whole number")
        if "name" in schema:
            self.named[schema["name"]] = schema
        return schema

    def record(self, schema: Schema, depth: int) -> Schema:
        name, fields = schema["name"], schema["fields"]
        names = [field["name"] for field in fields]
        if len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
            raise _invalid(f"{name} has two fields of one name, or a name that is none")
        self.named[name] = schema
        self.inside.append(name)
        resolved = [{**field, "type": self.type(field["type"], depth)} for field in fields]
        self.inside.pop()
        return {**schema, "fields": resolved}


def leaves(schema: AvroType) -> Iterator[Leaf]:
    """Every leaf, in the order of the schema; arrays, maps and unions are looked through.

    ``null`` in a union is not a leaf of its own. A union of several other types gives a leaf of the
    same path for each.

    Raises:
        SchemaError: as `resolve` does.
    """
    yield from _leaves(resolve(schema), "")


def _leaves(resolved: Resolved, path: str) -> Iterator[Leaf]:
    if isinstance(resolved, list):
        for branch in resolved:
            if branch["type"] != "null" or len(resolved) == 1:
                yield from _leaves(branch, path)
    elif is_record(resolved):
        for field in resolved["fields"]:
            yield from _leaves(field["type"], f"{path}.{field['name']}".lstrip("."))
    elif resolved["type"] in ("array", "map"):
        yield from _leaves(resolved["items" if resolved["type"] == "array" else "values"], path)
    else:
        yield Leaf(path, resolved["type"], resolved.get("logicalType"))
