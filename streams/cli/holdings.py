"""Finds what is held about a person: by account in the raw zone, elsewhere by stores' answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer

from streams.agents.cases import ANSWER_FIELDS
from streams.agents.codecs import Codecs
from streams.agents.people import Standings
from streams.agents.reading import RowReader
from streams.avro import wire
from streams.avro.single import decode_record
from streams.errors import StateError, UnknownSchemaId
from streams.privacy import requests
from streams.privacy.keyring import Keyring
from streams.privacy.policy import Policy
from streams.privacy.requests import Request
from streams.privacy.standing import placement
from streams.topics import (
    CONSENT,
    DELIVERIES,
    PLAYS,
    PRIVACY_ANSWERS,
    PRIVACY_REQUESTS,
    PRIVACY_STANDING,
    REJECTED,
    Topic,
)
from streams.transport.reader import end_offsets, read_span

Record = dict[str, Any]
"""A record as JSON knows it."""


class Holdings:
    """Reads topics for one account. Each method reads its topic whole."""

    def __init__(self, codecs: Codecs, reader: AIOKafkaConsumer, user: str) -> None:
        self._codecs, self._reader, self._user = codecs, reader, user
        self._needle = user.encode()

    async def decisions(self) -> list[Record]:
        """The decisions on purposes that stand."""
        newest: dict[tuple[int, bytes | None], Record] = {}
        async for partition, key, value in self._records(CONSENT):
            record = await self._own(value)
            if record is not None:
                newest[partition, key] = record
            elif value is None:
                newest.pop((partition, key), None)
        return sorted(newest.values(), key=lambda each: str(each.get("purpose")))

    async def requests(self) -> list[Record]:
        """What was asked for, as far as it has not expired."""
        return [each async for each in self._every(PRIVACY_REQUESTS)]

    async def plays(self) -> list[Record]:
        """The plays that have not expired, as they came."""
        return [each async for each in self._every(PLAYS)]

    async def rejected(self) -> list[Record]:
        """The records that could not be processed but can be read, and why."""
        found = []
        async for _, _, value in self._records(REJECTED):
            if value is not None and self._needle in value:
                (rejected,) = await self._codecs.decode_records([value])
                record = await self._own(rejected["value"])
                if record is not None:
                    why = {name: rejected[name] for name in ("topic", "reason", "detail")}
                    found.append({**why, "record": record})
        return found

    async def standing(self, keyring: Keyring) -> Record:
        """What holds until further notice."""
        subject = keyring.subjects().hex(self._user)
        partitions = len(await end_offsets(self._reader, PRIVACY_STANDING.name))
        standings = Standings(self._codecs)
        await standings.follow(self._reader, placement(subject, partitions))
        return standings.of(subject).to_record()

    async def deliveries(self, keyring: Keyring) -> list[Record]:
        """Which recipients received data, of which categories, since when."""
        subject = keyring.subjects().hex(self._user)
        newest: dict[bytes | None, Record] = {}
        async for _, key, value in self._records(DELIVERIES):
            if value is not None and subject.encode() in value:
                (entry,) = await self._codecs.decode_records([value])
                if entry["subject"] == subject:
                    newest[key] = plain(entry)
        return list(newest.values())

    async def answers(self, request: Request, policy: Policy, keyring: Keyring) -> list[Record]:
        """What the stores answered to an export: audience, store, and what it holds as text.

        A store that holds much answers in parts, each an answer of its own.
        """
        addressed = requests.addresses(policy, self._codecs.schemas, keyring)
        digests = {each.request for each in requests.commands(request, addressed, keyring)}
        rows = RowReader(self._codecs.registry, (*ANSWER_FIELDS, "held"))
        newest: dict[tuple[str, str, int], Record] = {}
        for partition in await end_offsets(self._reader, PRIVACY_ANSWERS.name):
            async for batch in read_span(self._reader, PRIVACY_ANSWERS.name, partition):
                for _, row in (await rows.read(batch.values))[0]:
                    if row["request"] in digests:
                        part = json.loads(row["held"]).get("part", 1) if row["held"] else 1
                        newest[row["request"], row["store"], part] = row
        return [newest[key] for key in sorted(newest)]

    async def _every(self, topic: Topic) -> AsyncIterator[Record]:
        async for _, _, value in self._records(topic):
            record = await self._own(value)
            if record is not None:
                yield record

    async def _records(self, topic: Topic) -> AsyncIterator[tuple[int, bytes | None, bytes | None]]:
        for partition in await end_offsets(self._reader, topic.name):
            async for batch in read_span(self._reader, topic.name, partition):
                for key, value in zip(batch.keys, batch.values, strict=True):
                    yield partition, key, value

    async def _own(self, value: bytes | None) -> Record | None:
        """The record in ``value`` if it is of this account; only one that mentions it is read."""
        if value is None or self._needle not in value:
            return None
        for schema_id, group in wire.split([value]).groups.items():
            try:
                record = decode_record(await self._codecs.registry.get(schema_id), group.bodies[0])
            except (StateError, UnknownSchemaId):
                return None
            if record.get("user_id") == self._user:
                return plain(record)
        return None


def plain(record: Record) -> Record:
    """Times as ISO 8601 and bytes as hexadecimal digits."""
    return {name: _plain(value) for name, value in record.items()}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return value.hex()
        case dict():
            return plain(value)
        case list():
            return [_plain(each) for each in value]
    return value
