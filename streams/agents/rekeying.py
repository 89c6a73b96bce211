"""During the overlap of two key epochs: whoever appears goes on under the new pseudonym.

Written before the listens that bring the new one, once per person and worker; a repetition changes
nothing. People who do not appear are moved on request, see `sottovoce keys rotate --rekey-all`.
"""

from __future__ import annotations

import time

import polars as pl

from streams.agents.codecs import Codecs
from streams.agents.role import Sender
from streams.avro.encode import RecordEncoder
from streams.avro.schemas import Schemas
from streams.privacy.boundary import USER, listener_names
from streams.privacy.keyring import Keyring
from streams.privacy.permission import SUBJECT
from streams.privacy.policy import INTERNAL, Policy
from streams.privacy.pseudonyms import Pseudonyms
from streams.privacy.standing import placement
from streams.topics import PRIVACY_REKEYS, Topic


class Rekeying:
    """Writes `privacy-rekeys`. Third parties are not told: their pseudonyms just change."""

    topics: tuple[Topic, ...] = (PRIVACY_REKEYS,)

    def __init__(self, codecs: Codecs, policy: Policy) -> None:
        self._codecs, self._policy = codecs, policy
        self._epoch = 0
        self._names: dict[str, tuple[Pseudonyms, Pseudonyms]] = {}
        self._moved: set[str] = set()

    async def start(self, sender: Sender, partitions: int) -> None:
        """Schema of what it writes."""
        self._sender, self._partitions = sender, partitions
        self._encoder: RecordEncoder = await self._codecs.records(PRIVACY_REKEYS)

    def turn(self, ring: Keyring, schemas: Schemas) -> None:
        """Go on with ``ring``; without an overlap there is nothing to do."""
        self._epoch, self._moved = ring.current, set()
        self._names = {}
        if len(ring.usable) > 1:
            epochs = ring.usable[-2:]
            for audience in INTERNAL:
                old, new = (
                    listener_names(self._policy, schemas, ring.key(audience, epoch))
                    for epoch in epochs
                )
                self._names[audience] = old, new

    async def write(self, people: pl.DataFrame) -> None:
        """Move those of ``people`` (columns ``user_id`` and ``subject``) who were not yet.

        Raises:
            BrokerError: Kafka did not take the records.
        """
        if not self._names:
            return
        rows: dict[int, list[tuple[bytes, bytes]]] = {}
        moving = [
            (user, subject)
            for user, subject in people.select(USER, SUBJECT).iter_rows()
            if subject not in self._moved
        ]
        for user, subject in moving:
            records = [self._record(audience, user) for audience in self._names]
            rows.setdefault(placement(subject, self._partitions), []).extend(records)
        for partition, records in rows.items():
            keys, values = zip(*records, strict=True)
            await self._sender.send_records(PRIVACY_REKEYS.name, partition, keys, values)
        self._moved.update(subject for _, subject in moving)

    def _record(self, audience: str, user: str) -> tuple[bytes, bytes]:
        old, new = (names.hex(user) for names in self._names[audience])
        record = {
            "audience": audience,
            "old": old,
            "new": new,
            "epoch": self._epoch,
            "issued_at": int(time.time() * 1_000),
        }
        return new.encode(), self._encoder.encode([record])[0]
