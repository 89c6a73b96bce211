"""Steward: the part of the gate that hears requests and sees them through.

A request becomes, in this order: what holds from now on (`privacy-standing`), tombstones for the
person's decisions and at third parties, and commands to the stores. Only when the commands stand is
the request done with: a worker that dies before does all of it again, which changes nothing, and
one that finds them standing does nothing. The stores' answers are collected by whoever has the
partition they come in, until the receipt can be signed.

Requests of one person must come in one partition, and so must decisions on one purpose, as they do
by their keys: the later one counts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer

from streams import logs, metrics
from streams.agents.cases import Cases, CommandLog, Due
from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.people import Decisions, Standings
from streams.agents.reading import Row, RowReader, rejection
from streams.agents.role import Place, Sender
from streams.privacy import receipts, requests
from streams.privacy.boundary import Rejection
from streams.privacy.keyring import Keyring
from streams.privacy.policy import Policy
from streams.privacy.requests import Address, Refusal, Request
from streams.privacy.standing import Standing, after, changes, placement
from streams.settings import Settings
from streams.topics import (
    CONSENT,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_RECEIPTS,
    PRIVACY_REKEYS,
    PRIVACY_REQUESTS,
    PRIVACY_STANDING,
    REJECTED,
    Topic,
    shared,
)
from streams.transport.batch import RecordBatch
from streams.transport.reader import end_offsets

Entry = tuple[int, bytes, bytes | None]
"""Partition, key and value of a record to be written."""

log = logs.get(__name__)


class Steward:
    """Hears requests and decisions, commands the stores, signs receipts.

    Uses the reader it was given from one call at a time, and may not be called while anything else
    uses that reader.
    """

    inputs: tuple[Topic, ...] = (CONSENT, PRIVACY_REQUESTS, PRIVACY_ANSWERS)
    reads: tuple[Topic, ...] = (*inputs, PRIVACY_STANDING, PRIVACY_COMMANDS, PRIVACY_RECEIPTS)
    writes: tuple[Topic, ...] = (
        CONSENT, PRIVACY_STANDING, PRIVACY_COMMANDS, PRIVACY_REKEYS, PRIVACY_RECEIPTS, REJECTED,
    )  # fmt: skip
    """Besides the topics of third parties."""

    def __init__(self, settings: Settings, codecs: Codecs, policy: Policy) -> None:
        registry = codecs.registry
        self._tolerance_ms = settings.future_tolerance_s * 1_000
        self._codecs = codecs
        self._policy = policy
        self._rows = RowReader(registry, requests.FIELDS)
        self._requests = Following(PRIVACY_REQUESTS)
        self._standings = Standings(codecs)
        self._decisions = Decisions(registry)
        self._commands = CommandLog(registry)
        self._cases: dict[int, Cases] = {}
        self._known: list[Request] = []
        self._digests: dict[str, Request] = {}
        self._keyring: Keyring | None = None
        self._addresses: tuple[Address, ...] = ()
        self._lock = asyncio.Lock()

    async def start(self, sender: Sender, reader: AIOKafkaConsumer, partitions: int) -> None:
        """Prepare to write. ``partitions`` is how many the topics about persons have, each."""
        self._sender, self._reader, self._partitions = sender, reader, partitions
        self._encoders = {
            topic.name: await self._codecs.records(topic)
            for topic in (
                PRIVACY_STANDING, PRIVACY_COMMANDS, PRIVACY_REKEYS, PRIVACY_RECEIPTS, REJECTED,
            )
        }  # fmt: skip
        self._rejected_partitions = len(await end_offsets(reader, REJECTED.name))

    async def resume(self, assigned: set[Place]) -> None:
        """Take over the answers in ``assigned``: read what was commanded, answered and receipted
        there, and let go of the other partitions."""
        async with self._lock:
            mine = {number for topic, number in assigned if topic == PRIVACY_ANSWERS.name}
            for gone in self._cases.keys() - mine:
                del self._cases[gone]
            for number in sorted(mine):
                cases = self._cases.setdefault(number, Cases(number, self._codecs.registry))
                await cases.catch_up(self._reader)

    async def take(self, batch: RecordBatch, keyring: Keyring) -> None:
        """Do what a batch of an input asks. Durable when it returns; the same, done twice.

        Raises:
            BrokerError, RegistryError: it could not be done; take the batch again.
        """
        async with self._lock:
            self._hold(keyring)
            match batch.topic:
                case PRIVACY_REQUESTS.name:
                    await self._take_requests(batch, keyring)
                case CONSENT.name:
                    await self._take_decisions(batch, keyring)
                case PRIVACY_ANSWERS.name:
                    cases = self._cases.get(batch.partition)
                    if cases is not None:  # else it was given up on the way
                        await cases.take(batch)
                        await self._settle(cases, keyring)

    async def settle(self, keyring: Keyring) -> None:
        """Write the receipts that are due. `take` does too; this, at a checkpoint, makes up for a
        command or request that could not be seen yet when its last answer came."""
        async with self._lock:
            self._hold(keyring)
            for cases in self._cases.values():
                if cases.waiting:
                    await self._settle(cases, keyring)

    async def _take_requests(self, batch: RecordBatch, keyring: Keyring) -> None:
        heard, faults = await self._parsed(batch)
        await self._reject(batch, faults)
        news = await self._unheard(heard, keyring)
        await self._write_standings([each for each in news if changes(each)], keyring)
        erasures = [each for each in news if each.action == "erase"]
        await self._withdraw_decisions(erasures)
        await self._delete_shared(((each.user, None) for each in erasures), keyring)
        now, commands, rekeys = _now_ms(), [], []
        for request in news:
            at = self._placed(request.user, keyring)
            for command in requests.commands(request, self._addresses, keyring):
                commands.append((at, command.listener, command.to_record(now)))
            for rekey in requests.rekeys(request, self._addresses, keyring):
                rekeys.append((at, rekey.new, rekey.to_record(now)))
        await self._write(PRIVACY_REKEYS, rekeys)
        await self._write(PRIVACY_COMMANDS, commands)
        for action, count in Counter(each.action for each in news).items():
            metrics.PRIVACY_REQUESTS.labels(action).inc(count)

    async def _parsed(self, batch: RecordBatch) -> tuple[list[Request], list[Rejection]]:
        rows, faults = await self._rows.read(batch.values)
        heard: list[Request] = []
        latest = _now_ms() + self._tolerance_ms
        for row, record in rows:
            found = requests.parse(record, latest)
            if isinstance(found, Refusal):
                faults.append(Rejection(row, found.reason, found.detail))
            else:
                heard.append(found)
        return heard, faults

    async def _unheard(self, heard: Sequence[Request], keyring: Keyring) -> list[Request]:
        """Each request once, without those whose commands stand already."""
        for partition in {self._placed(each.user, keyring) for each in heard}:
            await self._commands.follow(self._reader, partition)
        found = []
        for request in dict.fromkeys(heard):
            at = self._placed(request.user, keyring)
            asked = requests.commands(request, self._addresses, keyring)
            if not asked or not all(self._commands.has(at, each) for each in asked):
                found.append(request)
        return found

    async def _write_standings(self, news: Sequence[Request], keyring: Keyring) -> None:
        subjects = {each.user: keyring.subjects().hex(each.user) for each in news}
        for partition in {placement(each, self._partitions) for each in subjects.values()}:
            await self._standings.follow(self._reader, partition)
        changed: dict[str, Standing] = {}
        for request in news:
            subject = subjects[request.user]
            known = changed.get(subject) or self._standings.of(subject)
            if (new := after(known, request)) != known:
                changed[subject] = new
        await self._write(
            PRIVACY_STANDING,
            [
                (placement(subject, self._partitions), subject, standing.to_record())
                for subject, standing in changed.items()
            ],
        )
        for standing in changed.values():
            self._standings.note(standing)

    async def _withdraw_decisions(self, erasures: Sequence[Request]) -> None:
        """Tombstones for the decisions that erased persons had made by then, where these stand."""
        if erasures:
            found = await self._decisions.of(self._reader, _until(erasures))
            await self._send(CONSENT, [(each.partition, each.key, None) for each in found])

    # Decisions

    async def _take_decisions(self, batch: RecordBatch, keyring: Keyring) -> None:
        withdrawn, faults = await self._decisions.withdrawn(batch, _now_ms())
        await self._reject(batch, faults)
        asked = [
            (self._placed(each.user, keyring), command)
            for each in dict.fromkeys(withdrawn)
            for command in requests.revocations(
                each.user, each.purpose, each.before, self._addresses
            )
        ]
        for partition in {at for at, _ in asked}:
            await self._commands.follow(self._reader, partition)
        await self._delete_shared(((each.user, each.purpose) for each in withdrawn), keyring)
        now = _now_ms()
        await self._write(
            PRIVACY_COMMANDS,
            [
                (at, each.listener, each.to_record(now))
                for at, each in asked
                if not self._commands.has(at, each)
            ],
        )

    async def _delete_shared(
        self, people: Iterable[tuple[str, str | None]], keyring: Keyring
    ) -> None:
        """Tombstones at third parties, for each account at those of a purpose, or at all."""
        by_audience: dict[str, list[Entry]] = defaultdict(list)
        for user, purpose in people:
            at = self._placed(user, keyring)
            for audience, listener in requests.deletions(user, self._addresses, purpose):
                by_audience[audience].append((at, listener.encode(), None))
        for audience, entries in by_audience.items():
            await self._send(shared(audience), entries)

    # Answers

    async def _settle(self, cases: Cases, keyring: Keyring) -> None:
        await self._commands.follow(self._reader, cases.partition)
        if cases.unknown(self._digests):
            await self._follow_requests(keyring)
        due = cases.due(self._digests, self._commands)
        if not due:
            return
        await cases.follow_receipts(self._reader)
        due = cases.due(self._digests, self._commands)
        erased = [each.request for each in due if each.request.action == "erase"]
        left: Counter[str] = Counter()
        if erased:
            decisions = await self._decisions.of(self._reader, _until(erased))
            left.update(each.user for each in decisions)
        await self._write(
            PRIVACY_RECEIPTS,
            [
                (cases.partition, each.request.request_id, self._receipt(each, left, keyring))
                for each in due
            ],
        )
        for each in due:
            cases.close(each)
            seconds = max(0.0, (_now_ms() - each.request.requested_at) / 1_000)
            metrics.PRIVACY_REQUEST_SECONDS.labels(each.request.action).observe(seconds)
            log.info("request finished", action=each.request.action, seconds=round(seconds, 3))

    def _receipt(self, due: Due, left: Mapping[str, int], keyring: Keyring) -> Row:
        third = {each.audience for each in self._addresses if each.third_party}
        body = receipts.body(
            due.request, due.issued.values(), due.answers, left.get(due.request.user, 0), third
        )
        return receipts.sign(body, keyring)

    async def _follow_requests(self, keyring: Keyring) -> None:
        async for batch in self._requests.added(self._reader):
            heard, _ = await self._parsed(batch)
            for request in heard:
                self._note(request, keyring)

    def _hold(self, keyring: Keyring) -> None:
        if keyring is not self._keyring:
            self._keyring = keyring
            self._addresses = requests.addresses(self._policy, self._codecs.schemas, keyring)
            known, self._known, self._digests = self._known, [], {}
            for request in known:
                self._note(request, keyring)

    def _note(self, request: Request, keyring: Keyring) -> None:
        commands = requests.commands(request, self._addresses, keyring)
        self._digests |= {command.request: request for command in commands}
        if commands:
            self._known.append(request)

    # Writing

    def _placed(self, user: str, keyring: Keyring) -> int:
        return placement(keyring.subjects().hex(user), self._partitions)

    async def _write(self, topic: Topic, records: Sequence[tuple[int, str, Row]]) -> None:
        values = self._encoders[topic.name].encode(record for _, _, record in records)
        entries = [
            (partition, key.encode(), value)
            for (partition, key, _), value in zip(records, values, strict=True)
        ]
        await self._send(topic, entries)

    async def _send(self, topic: Topic, entries: Iterable[Entry]) -> None:
        by_partition: dict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            by_partition[entry[0]].append(entry)
        await asyncio.gather(
            *(
                self._sender.send_records(
                    topic.name, partition, [key for _, key, _ in its], [value for *_, value in its]
                )
                for partition, its in by_partition.items()
            )
        )

    async def _reject(self, batch: RecordBatch, faults: Sequence[Rejection]) -> None:
        if not faults:
            return
        now, partition = _now_ms(), batch.partition % self._rejected_partitions
        rejected = [rejection(batch, each, now) for each in faults]
        await self._write(REJECTED, [(partition, key, record) for key, record in rejected])
        for each in faults:
            metrics.REJECTED.labels(str(each.reason)).inc()
        log.warning("records refused", topic=batch.topic, count=len(faults))


def _until(erasures: Iterable[Request]) -> dict[str, int]:
    """By account the moment of its last erasure."""
    latest: dict[str, int] = {}
    for each in erasures:
        latest[each.user] = max(each.requested_at, latest.get(each.user, 0))
    return latest


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
