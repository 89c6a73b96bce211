"""Follows `consent` and `privacy-standing`: what the gate may do with whose plays."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer

from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.people import decision_problem
from streams.agents.reading import RowReader
from streams.privacy.permission import Permissions, since
from streams.privacy.policy import PURPOSES, Policy
from streams.privacy.pseudonyms import Pseudonyms
from streams.privacy.standing import Standing
from streams.topics import CONSENT, PRIVACY_STANDING, Topic
from streams.transport.batch import RecordBatch

_COLUMNS = ("user_id", "purpose", "granted", "decided_at", "effective_from")


class Consents:
    """Keeps `Permissions` up to date with both topics."""

    topics: tuple[Topic, ...] = (CONSENT, PRIVACY_STANDING)

    def __init__(self, codecs: Codecs, policy: Policy, subjects: Pseudonyms) -> None:
        self._codecs = codecs
        self._rows = RowReader(codecs.registry, _COLUMNS)
        self._subjects = subjects
        self._consent, self._standing = Following(CONSENT), Following(PRIVACY_STANDING)
        self.permissions = Permissions(policy.consent)

    async def refresh(self, reader: AIOKafkaConsumer) -> None:
        """Take in all that was decided until now.

        Raises:
            StateError: a record does not decode: someone else wrote it.
        """
        async for batch in self._consent.added(reader):
            await self._decisions(batch)
        async for batch in self._standing.added(reader):
            values = [value for value in batch.values if value is not None]
            for record in await self._codecs.decode_records(values):
                self.permissions.note(Standing.from_record(record))

    async def _decisions(self, batch: RecordBatch) -> None:
        # In the order of the log: what was withdrawn may have been granted in the same batch. What
        # is no decision changes none; the steward rejects it.
        rows, _ = await self._rows.read(batch.values)
        decided = {row: decision for row, decision in rows if not decision_problem(decision)}
        for row, (key, value) in enumerate(zip(batch.keys, batch.values, strict=True)):
            if row in decided:
                decision = decided[row]
                subject = self._subjects.hex(decision["user_id"])
                self.permissions.decided(subject, decision["purpose"], since(decision))
            elif value is None and key is not None:
                user, _, purpose = key.decode(errors="replace").rpartition("/")
                if purpose in PURPOSES:
                    self.permissions.withdrawn(self._subjects.hex(user), purpose)
