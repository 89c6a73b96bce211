"""Gate: plays in, listens out. The only role that sees who played what, and the only key holder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams import logs, metrics
from streams.agents.catalogue import Catalogue
from streams.agents.codecs import Codecs
from streams.agents.role import Done, Sender
from streams.avro import wire
from streams.errors import Reason, UnknownSchemaId
from streams.privacy.boundary import PRIVATE_RULE, Boundary, Crossing
from streams.topics import CATALOGUE, LISTENS, PLAYS, REJECTED, Topic
from streams.transport.batch import RecordBatch
from streams.transport.reader import end_offsets

LARGEST_PAYLOAD = 512 * 1024
"""A rejected record larger than this stays in `plays` alone; the rejection says where."""

log = logs.get(__name__)


class _Run(NamedTuple):
    """Listens of one partition, encoded, in order of position."""

    partition: int
    keys: list[bytes]
    values: list[bytes]


class Gate:
    """The role. Without state but for plans and the catalogue, so it scales with partitions."""

    topic = PLAYS
    topics: tuple[Topic, ...] = (PLAYS, CATALOGUE, LISTENS, REJECTED)

    def __init__(self, codecs: Codecs, boundary: Boundary) -> None:
        self._codecs = codecs
        self._boundary = boundary
        self._catalogue = Catalogue(codecs)
        self._writing: asyncio.Task[None] | None = None

    async def start(self, sender: Sender, reader: AIOKafkaConsumer) -> None:
        """Schemas of what it writes, the catalogue, and how many partitions there are."""
        self._sender, self._reader = sender, reader
        self._listens = await self._codecs.columns(LISTENS)
        self._rejected = await self._codecs.columns(REJECTED)
        self._partitions = len(await end_offsets(reader, LISTENS.name))
        self._rejected_partitions = len(await end_offsets(reader, REJECTED.name))
        await self._catalogue.refresh(reader)

    async def resume(self, partitions: set[int], generation: int) -> Mapping[int, int]:
        """Read on from the committed offsets."""
        return {}

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Pass a batch on; it is acknowledged once the broker has all that came of it.

        While one batch is being written the next is worked out, and written only after it: a
        reader that goes by position would skip for good what comes later than its successor.
        """
        metrics.BATCH_RECORDS.labels(batch.topic).observe(len(batch))
        await self._catalogue.refresh(self._reader)
        split = wire.split(batch.values)
        await self._open_schemas(split)
        crossing, runs = await asyncio.to_thread(self._work_out, batch, split)
        await self.checkpoint()
        self._writing = asyncio.create_task(self._write(batch, crossing, runs, done))

    async def checkpoint(self) -> None:
        """Wait until the batch under way is durable.

        Raises:
            BrokerError: it was not taken.
        """
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def stop(self) -> None:
        """Let go of the registry."""
        await self._codecs.close()

    async def _open_schemas(self, split: wire.Split) -> None:
        for schema_id in self._boundary.missing(split.groups):
            try:
                writer = await self._codecs.registry.get(schema_id)
            except UnknownSchemaId:
                self._boundary.close(schema_id, Reason.UNKNOWN_SCHEMA, "no schema of this id")
                log.error("unknown schema: its records are rejected", schema_id=schema_id)
                continue
            problem = self._boundary.open(schema_id, writer)
            if problem is not None:
                log.error("schema not planned: rejected", schema_id=schema_id, problem=problem)

    def _work_out(self, batch: RecordBatch, split: wire.Split) -> tuple[Crossing, list[_Run]]:
        crossing = self._boundary.cross(batch, split, now_ms=int(time.time() * 1_000))
        listens = self._catalogue.fill(crossing.listens)
        values = self._listens.encode(listens)
        keys = listens["listener"].cast(pl.Binary).to_list()
        partitions = listens.select(partition_of(pl.col("listener"), self._partitions)).to_series()
        rows: dict[int, list[int]] = {number: [] for number in range(self._partitions)}
        for row, partition in enumerate(partitions.to_list()):
            rows[partition].append(row)
        runs = [
            _Run(partition, [keys[row] for row in part], [values[row] for row in part])
            for partition, part in rows.items()
            if part
        ]
        return crossing, runs

    async def _write(
        self, batch: RecordBatch, crossing: Crossing, runs: Sequence[_Run], done: Done
    ) -> None:
        await asyncio.gather(*map(self._write_run, runs), self._write_rejected(batch, crossing))
        _count(batch, crossing)
        done()

    async def _write_run(self, run: _Run) -> None:
        end = await self._sender.send_records(LISTENS.name, run.partition, run.keys, run.values)
        metrics.LISTENS_WRITTEN.labels(run.partition).inc(len(run.values))
        metrics.WRITTEN_OFFSET.labels(LISTENS.name, run.partition).set(end)

    async def _write_rejected(self, batch: RecordBatch, crossing: Crossing) -> None:
        if not crossing.rejections:
            return
        now_ms = int(time.time() * 1_000)
        rows = [
            {
                "topic": batch.topic,
                "partition": batch.partition,
                "offset": int(batch.offsets[each.row]),
                "reason": str(each.reason),
                "detail": each.detail,
                "schema_id": each.schema_id,
                "rejected_at": now_ms,
                "key": batch.keys[each.row],
                "value": _bounded(batch.values[each.row]),
            }
            for each in crossing.rejections
        ]
        at = f"{batch.topic}/{batch.partition}"
        keys = [f"{at}/{batch.offsets[each.row]}".encode() for each in crossing.rejections]
        await self._sender.send_records(
            REJECTED.name,
            batch.partition % self._rejected_partitions,
            keys,
            self._rejected.encode(pl.DataFrame(rows, schema=_REJECTED_COLUMNS)),
        )


def partition_of(listener: pl.Expr, partitions: int) -> pl.Expr:
    """Partition of a listener: pseudonyms are uniform, so their head is a hash in any language."""
    return listener.str.head(8).str.to_integer(base=16, dtype=pl.Int64) % partitions


_REJECTED_COLUMNS = pl.Schema(
    {
        "topic": pl.String,
        "partition": pl.Int32,
        "offset": pl.Int64,
        "reason": pl.String,
        "detail": pl.String,
        "schema_id": pl.Int32,
        "rejected_at": pl.Int64,
        "key": pl.Binary,
        "value": pl.Binary,
    }
)


def _bounded(payload: bytes | None) -> bytes | None:
    return payload if payload is None or len(payload) <= LARGEST_PAYLOAD else None


def _count(batch: RecordBatch, crossing: Crossing) -> None:
    metrics.PLAYS_READ.labels(batch.partition).inc(len(batch))
    metrics.FILTERED.labels(PRIVATE_RULE).inc(crossing.filtered)
    for rejection in crossing.rejections:
        metrics.REJECTED.labels(str(rejection.reason)).inc()
    for (tag, treatment), fields in crossing.treated.items():
        metrics.TREATED.labels(tag, treatment).inc(fields)
    if crossing.unknown_fields:
        metrics.UNKNOWN_FIELDS.inc(crossing.unknown_fields)
        log.warning("fields the committed schema does not know were dropped", topic=batch.topic)
    if crossing.fallback:
        metrics.FALLBACK_BATCHES.labels(batch.topic).inc()
