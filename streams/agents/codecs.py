"""Encoders and decoders for the topics this package writes, by the schemas in ``schemas/``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.encode import ColumnEncoder, RecordEncoder
from streams.avro.nested import NestedEncoder
from streams.avro.registry import Registry
from streams.avro.schemas import Schemas
from streams.avro.single import decode_record
from streams.avro.tail import Tail
from streams.errors import StateError
from streams.topics import Topic


class Codecs:
    """Registers each schema once and hands out encoders bound to its id."""

    def __init__(self, schemas: Schemas, registry: Registry) -> None:
        self.schemas = schemas
        self.registry = registry

    async def columns(self, topic: Topic) -> ColumnEncoder:
        """Encoder from columns, for flat schemas."""
        schema = self.schemas[topic.schema]
        return ColumnEncoder(schema, await self._register(topic))

    async def nested(self, topic: Topic) -> NestedEncoder:
        """Encoder from columns, for schemas with records within."""
        schema = self.schemas[topic.schema]
        return NestedEncoder(schema, await self._register(topic))

    async def records(self, topic: Topic) -> RecordEncoder:
        """Encoder from records, one by one."""
        schema = self.schemas[topic.schema]
        return RecordEncoder(schema, await self._register(topic))

    async def decode(self, values: Sequence[bytes], columns: Sequence[str]) -> pl.DataFrame:
        """Columns of records this package wrote, in order.

        Raises:
            StateError: one does not decode: something else wrote it.
        """
        split = wire.split(values)
        frames, faulty = [], len(split.malformed)
        for schema_id, group in split.groups.items():
            decoder = ColumnDecoder(await self.registry.get(schema_id), columns)
            decoded = decoder.decode(group.bodies)
            faulty += len(decoded.bad)
            frames.append(decoded.frame.with_columns(row=pl.Series(group.rows)))
        if faulty:
            raise StateError(
                "A record of an internal topic does not decode.",
                "Only this package may write there; correct the topic's access rules.",
            )
        return pl.concat(frames).sort("row").drop("row")

    async def tails(self, values: Sequence[bytes]) -> list[bytes]:
        """The last field, of bytes, of records this package wrote, in order, cut out.

        Raises:
            StateError: one does not decode: something else wrote it.
        """
        found = wire.schema_ids(values).items()
        tails = {head: Tail(await self.registry.get(number)) for head, number in found}
        try:
            return [tails[value[: wire.HEADER]].cut(value, wire.HEADER) for value in values]
        except KeyError:
            raise _headless() from None

    async def decode_records(self, values: Sequence[bytes]) -> list[dict[str, Any]]:
        """Records this package wrote, of any schema, one by one; times as `datetime` in UTC.

        Raises:
            StateError: one does not decode: something else wrote it.
        """
        split = wire.split(values)
        records: dict[int, dict[str, Any]] = {}
        for schema_id, group in split.groups.items():
            schema = await self.registry.get(schema_id)
            for row, body in zip(group.rows.tolist(), group.bodies, strict=True):
                records[row] = decode_record(schema, body)
        if split.malformed:
            raise _headless()
        return [records[row] for row in range(len(values))]

    async def close(self) -> None:
        """Let go of the registry's connection."""
        await self.registry.close()

    async def _register(self, topic: Topic) -> int:
        return await self.registry.register(f"{topic.name}-value", self.schemas[topic.schema])


def _headless() -> StateError:
    return StateError(
        "A record of an internal topic has no schema id.",
        "Only this package may write there; correct the topic's access rules.",
    )
