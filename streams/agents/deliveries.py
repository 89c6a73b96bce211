"""The recipient ledger: which third party received what kind of data of whom, since when.

An entry is written before the first play goes out, and again on each later UTC day on which one
does. A crash in between leaves an entry too many, never one too few.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.role import Sender
from streams.avro.encode import RecordEncoder
from streams.privacy import inventory
from streams.privacy.inventory import Use
from streams.privacy.permission import SUBJECT
from streams.privacy.policy import Policy
from streams.privacy.standing import placement
from streams.settings import Settings
from streams.topics import DAY_MS, DELIVERIES, Topic

_COLUMNS = ("subject", "audience", "first_at", "last_at")


class Deliveries:
    """Writes `deliveries`; does nothing where the policy has no third party."""

    topics: tuple[Topic, ...] = (DELIVERIES,)

    def __init__(self, settings: Settings, codecs: Codecs, policy: Policy) -> None:
        self._codecs = codecs
        self._recipients: dict[str, Use] = {}
        if any(audience.third_party for audience in policy.audiences.values()):
            uses = inventory.take(codecs.schemas, policy, settings).uses
            self._recipients = {use.audience: use for use in uses if use.third_party}
        self._noted: dict[bytes, tuple[int, int]] = {}
        """First and last delivery by key, ms."""

    async def start(self, sender: Sender, reader: AIOKafkaConsumer, partitions: int) -> None:
        """Schema of what it writes, and what was noted before."""
        self._sender, self._partitions = sender, partitions
        if not self._recipients:
            return
        self._encoder: RecordEncoder = await self._codecs.records(DELIVERIES)
        async for batch in Following(DELIVERIES).added(reader):
            kept = [
                (key, value)
                for key, value in zip(batch.keys, batch.values, strict=True)
                if key is not None and value is not None
            ]
            if kept:
                entries = await self._codecs.decode([value for _, value in kept], _COLUMNS)
                spans = entries.select("first_at", "last_at").iter_rows()
                self._noted.update(zip((key for key, _ in kept), spans, strict=True))

    async def note(self, listens: Mapping[str, pl.DataFrame], source: int) -> None:
        """Note that ``listens`` (by audience, column ``subject``) of partition ``source`` go out.

        Raises:
            BrokerError: Kafka did not take the entries; the listens must not go out.
        """
        now_ms = int(time.time() * 1_000)
        today = now_ms // DAY_MS * DAY_MS
        for audience in self._recipients:
            rows: dict[int, list[tuple[bytes, bytes]]] = {}
            noted: dict[bytes, tuple[int, int]] = {}
            for subject in listens[audience][SUBJECT].unique().to_list():
                key = f"{subject}/{audience}/{source}".encode()
                first, last = self._noted.get(key, (now_ms, -1))
                if last < today:
                    noted[key] = first, today
                    entry = self._entry(subject, audience, first, today)
                    rows.setdefault(placement(subject, self._partitions), []).append((key, entry))
            for partition, records in rows.items():
                keys, values = zip(*records, strict=True)
                await self._sender.send_records(DELIVERIES.name, partition, keys, values)
            self._noted |= noted

    def _entry(self, subject: str, audience: str, first_ms: int, last_ms: int) -> bytes:
        entry = {
            "subject": subject,
            "audience": audience,
            "recipient": self._recipients[audience].recipient,
            "categories": list(self._recipients[audience].categories),
            "first_at": first_ms,
            "last_at": last_ms,
        }
        return self._encoder.encode([entry])[0]
