"""Reading topics that others write too: record by record, what does not decode put aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.registry import Registry
from streams.errors import Reason, SchemaError, UnknownSchemaId
from streams.privacy.boundary import LONGEST_DETAIL, Rejection
from streams.transport.batch import RecordBatch

LARGEST_PAYLOAD = 512 * 1024
"""A rejected record larger than this stays in its topic alone; the rejection says where."""
LARGEST_KEY = 64 * 1024
LARGEST_RECORD = 256 * 1024
"""Bytes of a record that `RowReader` decodes."""
_MOST_DECODERS = 1_000
_LARGEST_INT = 2**31 - 1

Row = dict[str, Any]
"""Fields of a record by name; times in milliseconds."""


def rejection(batch: RecordBatch, fault: Rejection, now_ms: int) -> tuple[str, Row]:
    """Key and record of the schema ``rejected`` for a record of ``batch``."""
    offset = int(batch.offsets[fault.row])
    key, value = batch.keys[fault.row], batch.values[fault.row]
    # An id that nobody gave may have more bits than the schema's int.
    given = fault.schema_id is not None and fault.schema_id <= _LARGEST_INT
    return f"{batch.topic}/{batch.partition}/{offset}", {
        "topic": batch.topic,
        "partition": batch.partition,
        "offset": offset,
        "reason": str(fault.reason),
        "detail": fault.detail,
        "schema_id": fault.schema_id if given else None,
        "rejected_at": now_ms,
        "key": key if key is None or len(key) <= LARGEST_KEY else None,
        "value": value if value is None or len(value) <= LARGEST_PAYLOAD else None,
    }


class RowReader:
    """Decodes some fields of flat records, whatever schema each was written with."""

    def __init__(self, registry: Registry, fields: Sequence[str]) -> None:
        self._registry = registry
        self._fields = tuple(fields)
        self._decoders: dict[int, ColumnDecoder] = {}

    async def read(
        self, values: Sequence[bytes | None]
    ) -> tuple[list[tuple[int, Row]], list[Rejection]]:
        """Position and fields of each record that decodes, and the others, both ascending.

        A field that the writer's schema lacks is None. A tombstone is in neither list.

        Raises:
            RegistryError: a schema cannot be had at the moment; try again later.
        """
        split = wire.split(values)
        rows: list[tuple[int, Row]] = []
        faults = [
            Rejection(row, Reason.MALFORMED, "no magic byte and schema id")
            for row in split.malformed
            if values[row] is not None
        ]
        for schema_id, whole in split.groups.items():
            group, large = _sized(whole, schema_id)
            faults += large
            places = group.rows.tolist()
            try:
                decoder = await self._decoder(schema_id)
            except UnknownSchemaId:
                reason, detail = Reason.UNKNOWN_SCHEMA, "no schema of this id"
                faults += [Rejection(row, reason, detail, schema_id) for row in places]
                continue
            except SchemaError as error:
                reason = Reason.UNPLANNABLE_SCHEMA
                detail = error.problem[:LONGEST_DETAIL]
                faults += [Rejection(row, reason, detail, schema_id) for row in places]
                continue
            decoded = decoder.decode(group.bodies)
            faults += [
                Rejection(places[index], Reason.UNDECODABLE, detail, schema_id)
                for index, detail in decoded.bad
            ]
            good = [places[index] for index in decoded.rows.tolist()]
            rows += zip(good, decoded.frame.to_dicts(), strict=True)
        return sorted(rows, key=lambda each: each[0]), sorted(faults, key=lambda each: each.row)

    async def _decoder(self, schema_id: int) -> ColumnDecoder:
        if schema_id not in self._decoders:
            if len(self._decoders) >= _MOST_DECODERS:
                self._decoders.clear()
            schema = await self._registry.get(schema_id)
            self._decoders[schema_id] = ColumnDecoder(schema, self._fields)
        return self._decoders[schema_id]


def _sized(group: wire.Group, schema_id: int) -> tuple[wire.Group, list[Rejection]]:
    """What is of a size to be decoded, and the rest, rejected."""
    large = np.array([len(body) > LARGEST_RECORD for body in group.bodies])
    detail = f"larger than {LARGEST_RECORD} bytes"
    rejected = [
        Rejection(row, Reason.OVERSIZED, detail, schema_id) for row in group.rows[large].tolist()
    ]
    return group.without(large) if rejected else group, rejected
