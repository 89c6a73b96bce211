"""Whether two versions of a schema can read each other's records."""

from __future__ import annotations

import json
import warnings

from avro.compatibility import ReaderWriterCompatibilityChecker
from avro.errors import AvroException
from avro.schema import Schema as ApacheSchema
from avro.schema import parse

from streams.avro.schemas import Schema, leaves
from streams.errors import SchemaError


def incompatibilities(new: Schema, old: Schema) -> list[str]:
    """What keeps ``new`` from reading records of ``old`` or the other way round; empty: nothing.

    This is the level a registry calls FULL, by the rules of "Schema Resolution" in the Avro
    specification, and one more: a leaf may not change its logical type, since bytes that read fine
    would mean another thing (milliseconds taken for microseconds).

    Raises:
        SchemaError: one of the two is not valid Avro.
    """
    newer, older = _parse(new), _parse(old)
    return [
        *(f"new cannot read old: {problem}" for problem in _problems(newer, older)),
        *(f"old cannot read new: {problem}" for problem in _problems(older, newer)),
        *_logical_changes(new, old),
    ]


def _parse(schema: Schema) -> ApacheSchema:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a logical type it does not know is no obstacle
        try:
            return parse(json.dumps(schema))
        except AvroException as error:
            raise SchemaError(f"The schema is not valid Avro: {error}.", "Correct it.") from None


def _problems(reader: ApacheSchema, writer: ApacheSchema) -> list[str]:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # __init__ has no types
    result = checker.get_compatibility(reader, writer)
    if not result.incompatibilities:
        return []
    kinds = sorted({kind.value.replace("_", " ") for kind in result.incompatibilities})
    where = ", ".join(sorted(result.locations))
    what = ", ".join(sorted(result.messages))
    return [f"{', '.join(kinds)} at {where} ({what})"]


def _logical_changes(new: Schema, old: Schema) -> list[str]:
    before = {(leaf.path, leaf.type): leaf.logical for leaf in leaves(old)}
    return [
        f"{leaf.path} changes its logical type"
        for leaf in leaves(new)
        if before.get((leaf.path, leaf.type), leaf.logical) != leaf.logical
    ]
