"""Encoding records of one schema in wire format: many at once from columns, or one by one.

`ColumnEncoder` writes every field of all rows into arrays of bytes and interleaves these row by row
in one pass. Its bytes are those fastavro writes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from fastavro import parse_schema, schemaless_writer
from fastavro.validation import ValidationError, validate

from streams.avro import wire
from streams.avro.layout import nullable
from streams.avro.schemas import AvroType, Resolved, is_record, resolve
from streams.errors import SchemaError
from streams.rows import ARROW, BINARY, Bytes, Mask, Rows, bounds, cut, varints


class ColumnEncoder:
    """Encodes frames by a flat record schema.

    Fields may be of any primitive type but null, nullable (null first or last), or an array of
    strings. Logical types are not converted: the column holds what is written, as `ColumnDecoder`
    gives it.
    """

    def __init__(self, schema: AvroType, schema_id: int) -> None:
        """Plan for a schema and the id it is registered by.

        Raises:
            SchemaError: the schema is not usable, or a field has a type that is not listed above;
                `RecordEncoder` takes any.
        """
        top = resolve(schema)
        if not is_record(top):
            raise SchemaError("The schema is not a record.", "Encode it with RecordEncoder.")
        self._fields = [_field(item["name"], item["type"]) for item in top["fields"]]
        self._header = pa.scalar(wire.header(schema_id), BINARY)

    def encode(self, frame: pl.DataFrame) -> list[bytes]:
        """Each row in wire format, about 1 us a row. Columns the schema does not have are ignored.

        Raises:
            SchemaError: a column is missing or of another type, or holds a value or null that its
                field cannot; names the column.
        """
        encoded: list[bytes] = self.column(frame).to_pylist()
        return encoded

    def column(self, frame: pl.DataFrame) -> pa.LargeBinaryArray:
        """The same as `encode` in one piece of memory, for what takes columns."""
        if not len(frame):
            return pa.array([], BINARY)
        rows = Rows(self._header)
        columns = {series.name: series for series in frame}
        for field in self._fields:
            if field.name not in columns:
                raise _misfit(field.name, "missing")
            column = columns[field.name].rechunk().to_arrow(compat_level=ARROW)
            _write(rows, field, column)
        return rows.joined()


class RecordEncoder:
    """Encodes records by any schema, about 10 us each for a small one."""

    def __init__(self, schema: AvroType, schema_id: int) -> None:
        """Plan for a schema and the id it is registered by.

        Raises:
            SchemaError: the schema is not usable.
        """
        resolve(schema)
        self._schema = parse_schema(schema)
        self._header = wire.header(schema_id)

    def encode(self, records: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """Each record in wire format. A field that a record lacks takes its default.

        Raises:
            SchemaError: a record does not fit; names the field.
        """
        return [self._encoded(record) for record in records]

    def _encoded(self, record: Mapping[str, Any]) -> bytes:
        stream = io.BytesIO()
        stream.write(self._header)
        try:
            schemaless_writer(stream, self._schema, record)
        except Exception:  # its message holds the value
            fields = ", ".join(_misfits(record, self._schema)) or "it"
            raise SchemaError(f"A record does not fit its schema: {fields}.") from None
        return stream.getvalue()


class _Field(NamedTuple):
    name: str
    type: str
    null_index: int | None
    """Which branch of the union null is; None where there is no union."""


def _field(name: str, resolved: Resolved) -> _Field:
    other = nullable(resolved)
    null_index = None
    if isinstance(resolved, list) and other is not None:
        null_index = 0 if resolved[1] is other else 1
        resolved = other
    if isinstance(resolved, dict):
        kind = resolved["type"]
        if kind == "array" and null_index is None and resolved["items"] == {"type": "string"}:
            return _Field(name, "array", None)
        if kind in _ARROW and kind != "array":
            return _Field(name, kind, null_index)
    raise SchemaError(f"{name} has no column encoding.", "Encode it with RecordEncoder.")


def _is_texts(of: pa.DataType) -> bool:
    texts = (pa.large_list(pa.large_string()), pa.large_list(pa.null()))
    return any(of.equals(each) for each in texts)


_ARROW: dict[str, tuple[Callable[[pa.DataType], bool], pa.DataType]] = {
    "boolean": (pa.types.is_boolean, pa.bool_()),
    "int": (pa.types.is_integer, pa.int64()),
    "long": (pa.types.is_integer, pa.int64()),
    "float": (pa.types.is_float32, pa.float32()),
    "double": (pa.types.is_floating, pa.float64()),
    "string": (pa.types.is_large_string, BINARY),
    "bytes": (pa.types.is_large_binary, BINARY),
    "array": (_is_texts, pa.large_list(BINARY)),
}
"""By Avro type: whether a column's type will do, and what it is cast to."""


def _misfit(name: str, why: str) -> SchemaError:
    return SchemaError(f"The column {name} is {why}.", "Make the frame fit the schema.")


def _misfits(record: Mapping[str, Any], schema: AvroType) -> set[str]:
    """The fields of a record that do not fit."""
    try:
        validate(record, schema, raise_errors=True)
    except ValidationError as error:
        return {str(each.field) for each in error.errors}
    except Exception:  # what is no mapping, has no fields
        return set()
    return set()


def _write(rows: Rows, field: _Field, column: pa.Array) -> None:
    values, present = _fitted(field, column)
    if field.type == "array":
        _write_texts(rows, field.name, values)
        return
    text = field.type in ("string", "bytes")
    matrix, mask = varints(np.diff(bounds(values))) if text else _bytes(field, values)
    if field.null_index is not None:
        index = np.where(present, 1 - field.null_index, field.null_index)
        rows.add(*varints(index))
        mask = mask & present[:, None]
    rows.add(matrix, mask)
    if text:
        rows.extend(values)


def _bytes(field: _Field, values: pa.Array) -> tuple[Bytes, Mask]:
    numbers = np.ascontiguousarray(values.to_numpy(zero_copy_only=False))
    if field.type == "int" and (numbers.min() < -(2**31) or numbers.max() >= 2**31):
        raise _misfit(field.name, "larger in a row than its field can hold")
    if field.type in ("int", "long"):
        return varints(numbers)
    matrix = numbers.view(np.uint8).reshape(len(numbers), -1)  # little-endian, as Avro has it
    return matrix, np.ones(matrix.shape, bool)


def _write_texts(rows: Rows, name: str, lists: pa.Array) -> None:
    """One block of an array's items and the empty block that ends it, which is all of no items."""
    counts = pc.list_value_length(lists).to_numpy()
    items, blank = lists.flatten(), Rows()
    if items.null_count:
        raise _misfit(name, "null within an array, where its field may not be")
    rows.add(*varints(counts))
    if len(items):
        blank.add(*varints(np.diff(bounds(items))))
        blank.extend(items)
        texts = blank.joined()
        ends = bounds(texts)[np.append(0, np.cumsum(counts))]
        rows.extend(cut(ends, texts.buffers()[2]))
        rows.add(np.zeros((len(lists), 1), np.uint8), counts[:, None] > 0)


def _fitted(field: _Field, column: pa.Array) -> tuple[pa.Array, Mask]:
    """The column in its wire type with nulls filled, and which rows are not null."""
    fits, target = _ARROW[field.type]
    present: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    if not (fits(column.type) or pa.types.is_null(column.type)):
        raise _misfit(field.name, f"of type {column.type}, which is not for {field.type}")
    if column.null_count and field.null_index is None:
        raise _misfit(field.name, "null in a row, where its field may not be")
    try:
        values = column if column.type.equals(target) else column.cast(target)
    except pa.ArrowInvalid:  # its message holds the value
        raise _misfit(field.name, "larger in a row than its field can hold") from None
    if column.null_count:
        nothing = b"" if target == BINARY else False
        values = values.fill_null(pa.scalar(nothing).cast(target))
    return values, present
