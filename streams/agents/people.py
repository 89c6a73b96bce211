"""What the compacted topics of the raw zone say of a person: what holds, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.reading import Row, RowReader
from streams.avro.registry import Registry
from streams.errors import Reason
from streams.privacy.boundary import Rejection
from streams.privacy.policy import PURPOSES
from streams.privacy.standing import Standing, merged, minute_up
from streams.topics import CONSENT, PRIVACY_STANDING
from streams.transport.batch import RecordBatch
from streams.transport.reader import end_offsets, read_span

DECISION_FIELDS = ("user_id", "purpose", "granted", "decided_at")


class Standings:
    """What holds for each person, by partition, read on as far as somebody asks."""

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs
        self._follower = Following(PRIVACY_STANDING)
        self._known: dict[str, Standing] = {}

    async def follow(self, reader: AIOKafkaConsumer, partition: int) -> None:
        """Take in what was added to the partition.

        Raises:
            StateError: a record does not decode: something else wrote it.
        """
        async for batch in self._follower.news(reader, partition):
            values = [value for value in batch.values if value is not None]
            for record in await self._codecs.decode_records(values):
                self.note(Standing.from_record(record))

    def note(self, standing: Standing) -> None:
        """Add to what is known of a person."""
        earlier = self._known.get(standing.subject, standing)
        self._known[standing.subject] = merged(earlier, standing)

    def of(self, subject: str) -> Standing:
        """What holds for a person, as far as their partition was followed."""
        return self._known.get(subject) or Standing(subject)


@dataclass(frozen=True, slots=True, repr=False)
class Revocation:
    """A consent that is withdrawn: plays that began before ``before`` go, a whole minute."""

    user: str
    purpose: str
    before: int


@dataclass(frozen=True, slots=True, repr=False)
class Decision:
    """Where a decision of a person stands."""

    partition: int
    key: bytes
    user: str


class Decisions:
    """Reads the topic ``consent``."""

    def __init__(self, registry: Registry) -> None:
        self._rows = RowReader(registry, DECISION_FIELDS)

    async def withdrawn(
        self, batch: RecordBatch, now_ms: int
    ) -> tuple[list[Revocation], list[Rejection]]:
        """Refusals and tombstones of a batch, in order, and the records that are neither these nor
        grants.

        What goes is what began before the record was written, not only before the decision: until
        the gate has the record, plays pass as they did. A clock that is fast takes nothing from
        what comes after ``now_ms``.
        """
        rows, faults = await self._rows.read(batch.values)
        found = {}
        for row, decision in rows:
            problem = decision_problem(decision)
            if problem:
                faults.append(Rejection(row, Reason.INVALID_VALUE, problem))
            elif not decision["granted"]:
                found[row] = decision["user_id"], decision["purpose"], decision["decided_at"]
        for row, value in enumerate(batch.values):
            if value is None:
                user, _, purpose = (batch.keys[row] or b"").decode(errors="replace").rpartition("/")
                if user and purpose in PURPOSES:
                    found[row] = user, purpose, 0
        revocations = [
            Revocation(
                user, purpose, minute_up(min(max(decided_at, int(batch.timestamps[row])), now_ms))
            )
            for row, (user, purpose, decided_at) in sorted(found.items())
        ]
        return revocations, faults

    async def of(self, reader: AIOKafkaConsumer, until: Mapping[str, int]) -> list[Decision]:
        """The decisions of each account in ``until`` that were made at or before its moment and
        stand. Reads the whole topic, but decodes only what mentions one of the accounts."""
        mentions = [user.encode() for user in until]
        found: list[Decision] = []
        for partition in await end_offsets(reader, CONSENT.name):
            newest: dict[bytes, tuple[str, int] | None] = {}
            async for batch in read_span(reader, CONSENT.name, partition):
                values = [
                    value if value is not None and any(each in value for each in mentions) else None
                    for value in batch.values
                ]
                rows, _ = await self._rows.read(values)
                mentioned = {row: _made(decision) for row, decision in rows}
                for row, key in enumerate(batch.keys):
                    if key is not None and (row in mentioned or key in newest):
                        newest[key] = mentioned.get(row)
            found += [
                Decision(partition, key, made[0])
                for key, made in newest.items()
                if made is not None and made[1] <= until.get(made[0], -1)
            ]
        return found


def decision_problem(decision: Row) -> str:
    """What keeps a record of ``consent`` from being a decision; empty if nothing does."""
    user, decided_at = decision["user_id"], decision["decided_at"]
    if not isinstance(user, str) or not user:
        return "user_id is no text"
    if decision["purpose"] not in PURPOSES:
        return "purpose is none there is"
    if not isinstance(decision["granted"], bool):
        return "granted is neither true nor false"
    if not isinstance(decided_at, int) or decided_at < 0:
        return "decided_at is no time"
    return ""


def _made(decision: Row) -> tuple[str, int] | None:
    return None if decision_problem(decision) else (decision["user_id"], decision["decided_at"])
