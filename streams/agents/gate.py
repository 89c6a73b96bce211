"""Gate: plays in, listens out, per audience. The only role that sees who played what, and the only
key holder; so what people ask for by account comes here too, see `streams.agents.steward`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from aiokafka import AIOKafkaConsumer

from streams import logs, metrics
from streams.agents.catalogue import Catalogue
from streams.agents.codecs import Codecs
from streams.agents.consents import Consents
from streams.agents.deliveries import Deliveries
from streams.agents.reading import rejection
from streams.agents.rejecting import RejectedShare
from streams.agents.rekeying import Rekeying
from streams.agents.role import Done, Place, Sender
from streams.agents.steward import Steward
from streams.agents.writers import Writers
from streams.avro import wire
from streams.avro.encode import ColumnEncoder
from streams.privacy import boundary, keyring
from streams.privacy.boundary import Crossing
from streams.privacy.inventory import output_topic
from streams.privacy.permission import SUBJECT
from streams.privacy.policy import Policy
from streams.privacy.pseudonyms import pseudonyms
from streams.rows import ARROW
from streams.settings import Settings
from streams.topics import LISTENS, PLAYS, REJECTED, Topic
from streams.transport.batch import RecordBatch
from streams.transport.reader import end_offsets

_PLACE = "place"

log = logs.get(__name__)


class _Run(NamedTuple):
    """Listens of one partition, encoded, in order of position."""

    topic: str
    partition: int
    keys: pa.LargeBinaryArray
    values: pa.LargeBinaryArray


class Gate:
    """The role. What it knows it reads from topics, so it scales with partitions."""

    inputs = (PLAYS, *Steward.inputs)
    reads = (PLAYS, *Steward.reads, *Catalogue.topics, *Consents.topics, *Deliveries.topics)

    def __init__(self, settings: Settings, codecs: Codecs, policy: Policy) -> None:
        """Load the key ring.

        Raises:
            KeyMaterialError, PolicyError, SchemaError: the gate must not start.
        """
        self._settings, self._codecs, self._policy = settings, codecs, policy
        self._outputs = {name: output_topic(name, policy) for name in policy.audiences}
        self._steward = Steward(settings, codecs, policy)
        self._catalogue = Catalogue(codecs)
        self._deliveries = Deliveries(settings, codecs, policy)
        self._rekeying = Rekeying(codecs, policy)
        self._writers = Writers(codecs.registry)
        self._share = RejectedShare(settings.rejected_share, settings.rejected_window)
        self._writing: asyncio.Task[None] | None = None
        self._reading = asyncio.Lock()
        self._turn()
        self._consents = Consents(codecs, policy, self._ring.subjects())
        self.writes = self.writes_under(policy)

    @staticmethod
    def writes_under(policy: Policy) -> tuple[Topic, ...]:
        """The topics it writes, which the policy's audiences decide."""
        outputs = (output_topic(name, policy) for name in policy.audiences)
        return (REJECTED, *outputs, *Steward.writes, *Deliveries.topics, *Rekeying.topics)

    async def start(self, sender: Sender, reader: AIOKafkaConsumer) -> None:
        """Schemas of what it writes, what topics hold that it must know, and their partitions."""
        self._sender, self._reader = sender, reader
        self._encoders: dict[str, ColumnEncoder] = {
            name: await self._codecs.columns(topic) for name, topic in self._outputs.items()
        }
        self._rejected = await self._codecs.records(REJECTED)
        self._partitions = len(await end_offsets(reader, LISTENS.name))
        self._rejected_partitions = len(await end_offsets(reader, REJECTED.name))
        await self._deliveries.start(sender, reader, self._partitions)
        await self._rekeying.start(sender, self._partitions)
        await self._steward.start(sender, reader, self._partitions)
        await self._catalogue.refresh(reader)
        await self._consents.refresh(reader)

    async def resume(self, assigned: set[Place], generation: int) -> Mapping[Place, int]:
        """Read on from the committed offsets."""
        self._share.forget()
        async with self._reading:
            await self._steward.resume(assigned)
        return {}

    async def take(self, batch: RecordBatch, done: Done) -> None:
        """Pass a batch on; it is acknowledged once the broker has all that came of it.

        While one batch is being written the next is worked out, and written only after it: a
        reader that goes by position would skip for good what comes later than its successor.

        Raises:
            RegistryError: a schema cannot be had for as long as `writers.WAIT_S`.
            TooManyRejected: of the batch or the ones before it; nothing of the batch is written.
        """
        metrics.BATCH_RECORDS.labels(batch.topic).observe(len(batch))
        if self._ring_changed():
            await self._written()
            self._turn()
        async with self._reading:
            if batch.topic != PLAYS.name:
                await self._steward.take(batch, self._ring)
                done()
                return
            await self._catalogue.refresh(self._reader)
            # To the end: a decision that was there before its play decides about it.
            await self._consents.refresh(self._reader)
        split = wire.split(batch.values)
        await self._writers.open(self._boundary, split.groups)
        crossing, runs = await asyncio.to_thread(self._work_out, batch, split)
        await self._written()
        self._share.check(batch.partition, len(batch), crossing.rejections)
        self._writing = asyncio.create_task(self._write(batch, crossing, runs, done))

    async def checkpoint(self) -> None:
        """Wait until the batch under way is durable; sign receipts that have become due.

        Raises:
            BrokerError: it was not taken.
        """
        await self._written()
        async with self._reading:
            await self._steward.settle(self._ring)

    async def _written(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def stop(self) -> None:
        """Let go of the registry."""
        await self._codecs.close()

    def _ring_changed(self) -> bool:
        ends = self._ring.overlap_ends_ms
        over = ends is not None and time.time() * 1_000 >= ends
        return over or keyring.stamp(self._settings) != self._stamp

    def _turn(self) -> None:
        """Go on with the key ring as it is now; nothing keeps keys that it no longer has."""
        pseudonyms.cache_clear()
        self._stamp = keyring.stamp(self._settings)
        self._ring = keyring.load(self._settings)
        self._boundary = boundary.from_settings(
            self._settings, self._codecs.schemas, self._policy, self._ring
        )
        self._rekeying.turn(self._ring, self._codecs.schemas)

    def _work_out(self, batch: RecordBatch, split: wire.Split) -> tuple[Crossing, list[_Run]]:
        crossing = self._boundary.cross(
            batch, split, self._consents.permissions, now_ms=int(time.time() * 1_000)
        )
        runs = [
            run
            for audience, listens in crossing.listens.items()
            if len(listens)
            for run in self._runs(audience, self._catalogue.fill(listens))
        ]
        return crossing, runs

    def _runs(self, audience: str, listens: pl.DataFrame) -> Iterator[_Run]:
        placed = listens.with_columns(self._placement()).sort(_PLACE, maintain_order=True)
        keys = placed["listener"].cast(pl.Binary).to_arrow(compat_level=ARROW)
        values = self._encoders[audience].column(placed)
        topic = self._outputs[audience].name
        partitions, first = np.unique(placed[_PLACE].to_numpy(), return_index=True)
        bounds = pairwise([*first.tolist(), len(placed)])
        for partition, (begin, end) in zip(partitions.tolist(), bounds, strict=True):
            yield _Run(topic, partition, keys[begin:end], values[begin:end])

    def _placement(self) -> pl.Expr:
        """`standing.placement` of every row."""
        head = pl.col(SUBJECT).str.head(8).str.to_integer(base=16, dtype=pl.Int64)
        return (head % self._partitions).alias(_PLACE)

    async def _write(
        self, batch: RecordBatch, crossing: Crossing, runs: Sequence[_Run], done: Done
    ) -> None:
        await self._rekeying.write(crossing.people)
        await self._deliveries.note(crossing.listens, batch.partition)
        await asyncio.gather(*map(self._write_run, runs), self._write_rejected(batch, crossing))
        _count(batch, crossing)
        done()

    async def _write_run(self, run: _Run) -> None:
        end = await self._sender.send_records(run.topic, run.partition, run.keys, run.values)
        metrics.LISTENS_WRITTEN.labels(run.topic, run.partition).inc(len(run.values))
        metrics.WRITTEN_OFFSET.labels(run.topic, run.partition).set(end)

    async def _write_rejected(self, batch: RecordBatch, crossing: Crossing) -> None:
        if not crossing.rejections:
            return
        now_ms = int(time.time() * 1_000)
        rejected = [rejection(batch, each, now_ms) for each in crossing.rejections]
        await self._sender.send_records(
            REJECTED.name,
            batch.partition % self._rejected_partitions,
            [key.encode() for key, _ in rejected],
            self._rejected.encode(record for _, record in rejected),
        )


def _count(batch: RecordBatch, crossing: Crossing) -> None:
    metrics.PLAYS_READ.labels(batch.partition).inc(len(batch))
    for rule, plays in crossing.filtered.items():
        metrics.FILTERED.labels(rule).inc(plays)
    for each in crossing.rejections:
        metrics.REJECTED.labels(str(each.reason)).inc()
    for labels, fields in crossing.treated.items():
        metrics.TREATED.labels(*labels).inc(fields)
    if crossing.unknown_fields:
        metrics.UNKNOWN_FIELDS.inc(crossing.unknown_fields)
        log.warning("fields the committed schema does not know were dropped", topic=batch.topic)
    if crossing.fallback:
        metrics.FALLBACK_BATCHES.labels(batch.topic).inc()
