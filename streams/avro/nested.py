"""Nested records from columns: Avro bodies joined by Arrow kernels, no Python object per record.

What `streams.avro.encode.ColumnEncoder` does for flat records, for records that hold records and
arrays of them. A profile of 16 artists and genres takes 13 us here and 300 with fastavro. Avro's
encoding of a record is that of its fields one after the other, so every type below gives pieces of
bytes, each for all rows, that come one after the other in a row. They are joined as late as can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streams.avro import wire
from streams.avro.schemas import AvroType, Resolved, Schema, resolve
from streams.errors import SchemaError
from streams.rows import BINARY, bounds, chosen, cut, joined, varints

Ints = NDArray[np.int64]
Numbers = NDArray[np.int64] | NDArray[np.float64]

Piece: TypeAlias = "pa.Array | pa.Scalar"

_NOTHING = pa.scalar(b"", BINARY)
_DOUBLE = {"type": "double"}
_STRING = {"type": "string"}


class NestedEncoder:
    """Encodes tables by one schema: records, arrays, nullable doubles, enums, strings and numbers.

    Unions are of null first and double; anything else has no encoding here.
    """

    def __init__(self, schema: AvroType, schema_id: int) -> None:
        """Plan for a record schema and the id it is registered by.

        Raises:
            SchemaError: the schema is not usable Avro.
        """
        self._schema = resolve(schema)
        self._header = pa.scalar(wire.header(schema_id), BINARY)

    def column(self, table: pa.Table) -> pa.LargeBinaryArray:
        """Each row in wire format; columns as the schema nests them, logical types as numbers.

        Raises:
            SchemaError: a type of the schema has no encoding here, or a column does not fit it.
        """
        if not len(table):
            return pa.array([], BINARY)
        rows = table.combine_chunks().to_struct_array().combine_chunks()
        try:
            return joined(self._header, *_pieces(rows, self._schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError) as error:
            # Arrow's own message may quote a value.
            raise SchemaError(
                f"A table does not fit its schema: {type(error).__name__}.",
                "Make its columns those of the schema.",
            ) from None


def _pieces(column: pa.Array, schema: Resolved) -> list[Piece]:
    """The encoding of each value of ``column``, in pieces."""
    if isinstance(schema, list):
        return [_nullable(column, schema)]
    match schema["type"]:
        case "record":
            return list(_record(column, schema["fields"]))
        case "array":
            return _array(column, schema["items"])
        case "enum":
            symbols = pa.array(schema["symbols"], pa.large_string())
            return [_varints(_numbers(pc.index_in(column.cast(pa.large_string()), symbols)))]
        case "string":
            return [_text(column)]
        case "double":
            return [_doubles(_numbers(column)[:, None])]
        case "int" | "long":
            return [_varints(_numbers(column))]
    raise SchemaError(
        f"The type {schema['type']} has no nested encoding.", "Encode it with RecordEncoder."
    )


def _record(column: pa.Array, fields: Sequence[Schema]) -> Iterator[Piece]:
    """The pieces of a record; doubles in a row are one, with the name before them if few differ."""
    labels: pa.Array | None = None
    for double, group in groupby(fields, lambda field: field["type"] == _DOUBLE):
        if double:
            columns = [_numbers(column.field(each["name"])) for each in group]
            numbers = np.column_stack(columns).astype(np.float64, copy=False)
            yield _doubles(numbers) if labels is None else _labelled(labels, numbers)
            labels = None
            continue
        for each in group:
            if labels is not None:
                yield _text(labels)
                labels = None
            its = column.field(each["name"])
            if each["type"] == _STRING and pa.types.is_dictionary(its.type):
                labels = its
            else:
                yield from _pieces(its, each["type"])
    if labels is not None:
        yield _text(labels)


def _nullable(column: pa.Array, union: Sequence[Resolved]) -> pa.Array:
    first, other = union
    if first != {"type": "null"} or other != {"type": "double"}:
        raise SchemaError(
            "A union other than null and double has no nested encoding.",
            "Encode it with RecordEncoder.",
        )
    some = joined(pa.scalar(b"\x02", BINARY), *_pieces(column.fill_null(0.0), other))
    return pc.if_else(column.is_valid(), some, pa.scalar(b"\x00", BINARY))


def _array(lists: pa.Array, items: Resolved) -> list[Piece]:
    """One block of the items, if there are any, and the empty block that ends an array."""
    ends = bounds(lists)
    pieces = joined(*_pieces(lists.values, items))
    runs = cut(bounds(pieces)[ends], pieces.buffers()[2])
    counts = np.diff(ends)
    head = pc.if_else(pa.array(counts > 0), _varints(counts), _NOTHING)
    return [head, runs, pa.scalar(b"\x00", BINARY)]


def _text(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):  # few names, each encoded once
        return _text(column.dictionary).take(column.indices)
    return joined(_varints(_numbers(pc.binary_length(column))), column.cast(BINARY))


def _doubles(values: Numbers) -> pa.Array:
    """Each row of ``values``."""
    little_endian = np.ascontiguousarray(values, "<f8")
    ends = np.arange(len(values) + 1, dtype=np.int64) * 8 * values.shape[1]
    return cut(ends, little_endian)


def _labelled(labels: pa.DictionaryArray, values: Numbers) -> pa.Array:
    """Each label and its row of ``values``, which is written over room left behind the label."""
    width = values.shape[1]
    room = pa.scalar(bytes(8 * width), BINARY)
    pieces = joined(_text(labels.dictionary), room).take(labels.indices)
    if not len(pieces):
        return pieces
    ends = bounds(pieces)
    data = np.frombuffer(pieces.buffers()[2], np.uint8).copy()
    places = np.ndarray((len(data) - 7,), "<f8", data, strides=(1,))
    for column, each in enumerate(values.T):
        places[ends[1:] - 8 * (width - column)] = each
    return cut(ends, data)


def _varints(values: Numbers) -> pa.Array:
    return chosen(*varints(np.asarray(values, np.int64)))


def _numbers(column: pa.Array) -> Numbers:
    if column.null_count:
        raise SchemaError("A column is null in a row, where its field may not be.", "Fill it.")
    numbers: Numbers = column.to_numpy(zero_copy_only=False)
    return numbers
