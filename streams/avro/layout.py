"""A writer schema laid out for reading columns: flat, physical, and byte for byte the same.

Avro writes a record as its fields one after the other, so the fields of a nested record can be
declared as fields of the top one. Likewise an enum reads as the long of its index, a map as an
array of entries, text nobody wants as bytes, an int as a long and a wanted boolean as a byte,
which are checked later. Logical types
have no bytes, and neither have nulls, empty records and fixed of size 0, which vanish. What this
buys: a reader that can project onto leaves builds no others, and meets no name, map, enum or
logical type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import polars as pl

from streams.avro.schemas import AvroType, Resolved, Schema, is_record, resolve
from streams.errors import SchemaError

PRIMITIVES: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
    "fixed": pl.Binary(),
    "enum": pl.String(),
}
"""Column type of a leaf, by physical Avro type. An array of one of these is a List of it."""

LARGEST_FIXED = 1024 * 1024
"""Bytes that all fixed types of a schema may take together."""


@dataclass(frozen=True, slots=True)
class Column:
    """One wanted leaf. ``steps`` lead to it: a laid-out field, and fields within that."""

    name: str
    steps: tuple[str, ...]
    read: pl.DataType
    """What the laid-out leaf reads as."""
    dtype: pl.DataType
    """What the leaf becomes."""
    limits: tuple[int, int] | None = None
    """Smallest and largest value that an int or the index of an enum may have."""
    symbols: tuple[str, ...] | None = None

    @property
    def fault(self) -> str:
        """What a value that its type does not allow is."""
        if self.flag:
            return "no boolean"
        return "no 32-bit integer" if self.symbols is None else "no symbol of its enum"

    @property
    def flag(self) -> bool:
        """Whether it is read as bytes of which only 0 and 1 are booleans."""
        return pl.Boolean in (self.dtype, getattr(self.dtype, "inner", None))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where to find each wanted leaf in ``fields``, the fields of a flat record."""

    fields: list[Schema] = field(repr=False)
    columns: tuple[Column, ...]
    """In the order wanted. One that takes no bytes, or is absent, has no steps and type Null."""
    absent: tuple[str, ...]
    """Wanted leaves that the writer does not have."""
    columnar: bool
    """Whether Polars can read it: no union but of null and one other type."""
    reserved: int
    """Bytes that the fixed types of a row take: readers set them aside before they read any."""

    @property
    def read_fields(self) -> list[str]:
        """Fields that hold a wanted leaf, in order wanted; the others are skipped."""
        return list(dict.fromkeys(column.steps[0] for column in self.columns if column.steps))

    @property
    def leaps(self) -> bool:
        """Whether a reader may leap over blocks by the size they claim: an array is skipped."""
        read = set(self.read_fields)
        return any(_holds_array(each["type"]) for each in self.fields if each["name"] not in read)


def lay_out(writer: AvroType, wanted: Sequence[str]) -> Layout:
    """Lay out ``writer`` so that the ``wanted`` leaves (paths of `schemas.Leaf`) can be read.

    Raises:
        SchemaError: the schema is not usable (`schemas.resolve`) or no record; it has an array
            whose items take no bytes, so that a short body could claim any number of them; its
            fixed types take more than `LARGEST_FIXED` bytes together; or a wanted leaf has no
            column: it is a record, a map, a union of several types, a fixed of
            size 0, an array of anything else than primitives, enums and fixed, or sits inside an
            array, map or union of several.
    """
    top = resolve(writer)
    if not is_record(top):
        raise SchemaError("The writer schema is not a record.", "Register a record instead.")
    planner = _Planner(set(wanted))
    fields = planner.fields(top, "", ())
    absent = tuple(name for name in wanted if name not in planner.columns)
    for name in absent:
        planner.columns[name] = Column(name, (), pl.Null(), pl.Null())
    columns = tuple(planner.columns[name] for name in wanted)
    return Layout(fields, columns, absent, planner.columnar, planner.reserved)


class _Planner:
    """Walks a resolved schema. A path of None means that nothing below can be a column."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted = wanted
        self.columns: dict[str, Column] = {}
        self.columnar = True
        self.reserved = 0
        self.serial = count()

    def fields(self, record: Schema, path: str | None, steps: tuple[str, ...]) -> list[Schema]:
        laid_out: list[Schema] = []
        for item in record["fields"]:
            below = None if path is None else f"{path}.{item['name']}".lstrip(".")
            if is_record(item["type"]):
                self.refuse(below, "a record")
                laid_out += self.fields(item["type"], below, steps)
                continue
            name = f"f{next(self.serial)}"
            physical = self.type(item["type"], below, (*steps, name))
            if physical is not None:
                laid_out.append({"name": name, "type": physical})
        return laid_out

    def type(
        self, resolved: Resolved, path: str | None, steps: tuple[str, ...], text: str = "bytes"
    ) -> AvroType | None:
        """The physical type, None where it takes no bytes. ``text`` is what a string reads as."""
        if isinstance(resolved, dict):
            return self.single(resolved, path, steps, text)
        other = nullable(resolved)
        if other is None:
            self.refuse(path, "a union of several types")
            self.columnar = False
            return [self.single(branch, None, ()) or "null" for branch in resolved]
        physical = self.single(other, path, steps, text)
        if physical is None:
            return "long"  # the index of the union is all there is
        return [physical if branch is other else "null" for branch in resolved]

    def single(
        self, resolved: Schema, path: str | None, steps: tuple[str, ...], text: str = "bytes"
    ) -> str | Schema | None:
        if path is not None and path in self.wanted:
            self.columns[path] = _column(path, steps, resolved)
            text = "string"
        match resolved["type"]:
            case "null":
                return None
            case "int" | "enum":
                return "long"
            case "string":
                return text
            case "record":
                return self.record(self.fields(resolved, path, steps))
            case "fixed":
                return self.fixed(resolved["size"])
            case "boolean" if text == "string":  # wanted
                return self.fixed(1)
            case "array":
                return self.array(self.type(resolved["items"], None, (), text))
            case "map":
                values = self.type(resolved["values"], None, ())
                entry = {"key": "bytes", "value": values}
                return self.array(
                    self.record([{"name": k, "type": t} for k, t in entry.items() if t is not None])
                )
        return str(resolved["type"])

    def fixed(self, size: int) -> Schema | None:
        self.reserved += size
        if self.reserved > LARGEST_FIXED:
            raise SchemaError(
                f"The schema's fixed types take more than {LARGEST_FIXED} bytes together.",
                "Use bytes instead.",
            )
        return self.named({"type": "fixed", "size": size}) if size else None

    def array(self, items: AvroType | None) -> Schema:
        if items is None:
            raise SchemaError(
                "The schema has an array whose items take no bytes, so a short body could claim "
                "any number of them.",
                "Use the number of items instead.",
            )
        return {"type": "array", "items": items}

    def record(self, fields: list[Schema]) -> Schema | None:
        return self.named({"type": "record", "fields": fields}) if fields else None

    def named(self, schema: Schema) -> Schema:
        return {**schema, "name": f"t{next(self.serial)}"}

    def refuse(self, path: str | None, what: str) -> None:
        if path is not None and path in self.wanted:
            raise _no_column(path, what)


def nullable(resolved: Resolved) -> Schema | None:
    """The type that a union of null and one type allows, in either order; None for all else."""
    if isinstance(resolved, dict) or len(resolved) != 2:
        return None
    others = [branch for branch in resolved if branch["type"] != "null"]
    return others[0] if len(others) == 1 else None


def _holds_array(physical: AvroType) -> bool:
    if isinstance(physical, list):
        return any(map(_holds_array, physical))
    if isinstance(physical, str):
        return False
    within = (each["type"] for each in physical.get("fields", ()))
    return physical["type"] == "array" or any(map(_holds_array, within))


def _no_column(path: str, what: str) -> SchemaError:
    return SchemaError(f"{path} is {what} and cannot be a column.", "Ask for its leaves, or none.")


def _column(path: str, steps: tuple[str, ...], resolved: Schema) -> Column:
    kind, item = resolved["type"], resolved
    if kind == "null":
        return Column(path, (), pl.Null(), pl.Null())
    if kind == "array":
        item = nullable(resolved["items"]) or resolved["items"]
    leaf = item["type"] if isinstance(item, dict) else "union"
    if leaf not in PRIMITIVES or item.get("size") == 0:
        raise _no_column(path, f"of type {leaf}" if item is resolved else f"an array of {leaf}")
    dtype = read = PRIMITIVES[leaf]
    limits = symbols = None
    if leaf == "boolean":
        read = pl.Binary()
    elif leaf == "int":
        limits, read = (-(2**31), 2**31 - 1), pl.Int64()
    elif leaf == "enum":
        symbols, read = tuple(item["symbols"]), pl.Int64()
        limits = (0, len(symbols) - 1)
    if kind == "array":
        dtype, read = pl.List(dtype), pl.List(read)
    return Column(path, steps, read, dtype, limits, symbols)
