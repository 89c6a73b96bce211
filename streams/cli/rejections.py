"""Rejected records: counted, shown, sent again. Payloads are decoded only where they are needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import polars as pl
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.table import Table

from streams import logs
from streams.agents.codecs import Codecs
from streams.app.roles import open_codecs
from streams.avro import wire
from streams.avro.single import decode_record
from streams.cli import console
from streams.errors import BrokerError, Reason, SourceError, StateError, UnknownSchemaId
from streams.settings import Settings
from streams.topics import PLAYS, REJECTED
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import end_offsets, partition_reader, read_span

PLACE = ("topic", "partition", "offset")
METADATA = (*PLACE, "reason", "detail", "schema_id", "rejected_at")
PAYLOAD = ("key", "value")

log = logs.get(__name__)


class Position(NamedTuple):
    """Where a record came from."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As the key of its rejection has it."""
        return f"{self.topic}/{self.partition}/{self.offset}"


async def list_all(settings: Settings, limit: int, *, as_json: bool) -> None:
    """Print how many records were rejected, by topic, reason and schema, and the newest of them."""
    counts: Counter[tuple[str, str, int | None]] = Counter()
    newest = pl.DataFrame()
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        async for frame in _read(codecs, reader, METADATA):
            for topic, reason, schema_id in frame.select("topic", "reason", "schema_id").rows():
                counts[topic, reason, schema_id] += 1
            newest = pl.concat([newest, frame]) if len(newest) else frame
            newest = newest.sort("rejected_at", *PLACE, descending=True).head(limit)
    rows = [_shown(row) for row in newest.to_dicts()]
    totals = [
        {"count": count, "topic": topic, "reason": reason, "schema_id": schema_id}
        for (topic, reason, schema_id), count in counts.most_common()
    ]
    if as_json:
        console.out.print(json.dumps({"counts": totals, "newest": rows}), markup=False)
    elif not totals:
        console.out.print("nothing was rejected")
    else:
        _print_table(totals)
        console.out.print()
        _print_table(rows)


async def show(settings: Settings, position: Position, *, payload: bool) -> None:
    """Print why the record at ``position`` was rejected and, if asked, what it held.

    Raises:
        SourceError: there is no such rejection.
    """
    columns = (*METADATA, *PAYLOAD) if payload else METADATA
    found: dict[str, Any] | None = None
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        async for frame in _read(codecs, reader, columns):
            here = frame.filter(
                (pl.col("topic") == position.topic)
                & (pl.col("partition") == position.partition)
                & (pl.col("offset") == position.offset)
            )
            found = here.to_dicts()[-1] if len(here) else found
        if found is None:
            raise SourceError(
                f"No record of {position} was rejected, or its time is over.",
                "`sottovoce rejected list` names the newest.",
            )
        for name, value in _shown(found).items():
            console.out.print(f"{name:<12} {'-' if value is None else value}", markup=False)
        if payload:
            # Whatever level of logging is set, such a look leaves a trace, and leaves it first.
            logs.configure(settings.model_copy(update={"log_level": "info"}))
            log.warning("rejected record: payload shown", position=str(position), uid=os.getuid())
            for line in await _payload(codecs, found["key"], found["value"]):
                console.out.print(line, markup=False)


async def replay(
    settings: Settings, reason: Reason | None, limit: int | None, *, dry_run: bool
) -> None:
    """Send rejected plays again, with key and value as they were, and print how many.

    Only plays: a decision or request that is sent late would undo a newer one. What was rejected
    twice is sent once.

    Raises:
        BrokerError: Kafka cannot be reached; some may have been sent.
    """
    counts: Counter[str] = Counter()
    async with (
        open_codecs(settings) as codecs,
        partition_reader(settings.kafka) as reader,
        partition_reader(settings.kafka) as originals,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        again = _Replay(producer, originals, counts, dry_run=dry_run)
        async for frame in _read(codecs, reader, (*PLACE, "reason", *PAYLOAD)):
            if reason is not None:
                frame = frame.filter(pl.col("reason") == reason.value)
            if limit is not None:
                frame = frame.head(limit - counts[SENT])
            await again.take(frame)
    console.out.print(f"{counts[SENT]} plays {'would be sent' if dry_run else 'sent'} again")
    for outcome in (REPEATED, GONE, NO_PLAY):
        if counts[outcome]:
            console.out.print(f"{counts[outcome]} left out: {outcome}")


SENT = "sent"
REPEATED = "rejected more than once"
GONE = "too large to be kept here, and gone from where they were"
NO_PLAY = "no plays; whoever sent them has to do so again"


class _Replay:
    """Sends what it is given, each record once."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        originals: AIOKafkaConsumer,
        counts: Counter[str],
        *,
        dry_run: bool,
    ) -> None:
        self._producer = producer
        self._originals = originals
        self._counts = counts
        self._dry_run = dry_run
        self._seen: set[bytes] = set()

    async def take(self, rejected: pl.DataFrame) -> None:
        runs: dict[int, list[tuple[bytes | None, bytes]]] = {}
        for row in rejected.to_dicts():
            position, key = Position(row["topic"], row["partition"], row["offset"]), row["key"]
            if position.topic != PLAYS.name:
                self._counts[NO_PLAY] += 1
                continue
            value = row["value"] if row["value"] is not None else await self._original(position)
            if value is None:
                self._counts[GONE] += 1
            elif self._first(key, value):
                self._counts[SENT] += 1
                runs.setdefault(position.partition, []).append((key, value))
            else:
                self._counts[REPEATED] += 1
        if self._dry_run:
            return
        for partition, run in runs.items():
            keys, values = zip(*run, strict=True)
            await send_records(self._producer, PLAYS.name, partition, keys, values)

    def _first(self, key: bytes | None, value: bytes) -> bool:
        digest = hashlib.sha256(hashlib.sha256(key or b"").digest() + value).digest()
        new = digest not in self._seen
        self._seen.add(digest)
        return new

    async def _original(self, position: Position) -> bytes | None:
        topic, partition, offset = position
        if offset >= (await end_offsets(self._originals, topic)).get(partition, 0):
            return None  # the topic was made anew; to read there would wait for it
        async for batch in read_span(self._originals, topic, partition, offset, offset + 1):
            return batch.values[0]
        return None


async def _read(
    codecs: Codecs, reader: AIOKafkaConsumer, columns: Sequence[str]
) -> AsyncIterator[pl.DataFrame]:
    """The rejected topic, oldest first within each partition."""
    partitions = await end_offsets(reader, REJECTED.name)
    if not partitions:
        raise BrokerError(
            f"Topic {REJECTED.name} does not exist.", "`sottovoce topics create` makes it."
        )
    for partition in partitions:
        async for batch in read_span(reader, REJECTED.name, partition):
            values = [value for value in batch.values if value is not None]
            if values:
                yield await codecs.decode(values, columns)


async def _payload(codecs: Codecs, key: bytes | None, value: bytes | None) -> list[str]:
    """Key and value for a person to read: decoded where that is possible."""
    shown_key = "-" if key is None else key.decode("utf-8", "backslashreplace")
    if value is None:
        return [f"key          {shown_key}", "value        - (empty, or too large to be kept here)"]
    for schema_id, group in wire.split([value]).groups.items():
        try:
            record = decode_record(await codecs.registry.get(schema_id), group.bodies[0])
        except (StateError, UnknownSchemaId):
            break
        content = json.dumps(record, indent=2, ensure_ascii=False, default=_readable)
        return [f"key          {shown_key}", content]
    return [f"key          {shown_key}", f"value        {value.hex()} (does not decode)"]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    position = Position(row["topic"], row["partition"], row["offset"])
    rejected_at = datetime.fromtimestamp(row["rejected_at"] / 1_000, UTC)
    return {
        "position": str(position),
        "reason": row["reason"],
        "detail": row["detail"],
        "schema_id": row["schema_id"],
        "rejected_at": rejected_at.isoformat(timespec="seconds"),
    }


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    table = Table(*(name.replace("_", " ") for name in rows[0]), box=None, header_style="bold")
    for row in rows:
        cells = ("-" if value is None else str(value) for value in row.values())
        table.add_row(*map(console.plain, cells))
    console.out.print(table)


def _readable(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
