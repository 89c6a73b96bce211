"""Sends a request, waits for what comes of it, and finds what became of earlier ones."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer

from streams.agents.cases import ANSWER_FIELDS
from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.reading import RowReader
from streams.app.roles import open_codecs
from streams.cli import console, receipt
from streams.errors import BrokerError, SourceError
from streams.privacy import keyring, policy, receipts, requests
from streams.privacy.keyring import Keyring
from streams.privacy.requests import Refusal, Request
from streams.privacy.standing import placement
from streams.settings import Settings
from streams.topics import PRIVACY_ANSWERS, PRIVACY_RECEIPTS, PRIVACY_REQUESTS, Topic
from streams.transport.producer import open_producer, send_keyed
from streams.transport.reader import end_offsets, partition_reader

_POLL_S = 0.25

Record = dict[str, Any]


def prepared(action: str, user: str, **fields: str | int | None) -> Request:
    """A request that the gate will take, asked now, under a random identifier.

    Raises:
        SourceError: it would be refused; names the field.
    """
    now_ms = _now_ms()
    asked = {"request_id": str(uuid4()), "user_id": user, "action": action, "requested_at": now_ms}
    request = requests.parse({**dict.fromkeys(requests.FIELDS), **asked, **fields}, now_ms)
    if isinstance(request, Refusal):
        raise SourceError(f"The request cannot be made: {request.detail}.")
    return request


async def ask(
    settings: Settings, request: Request, timeout_s: float | None, *, as_json: bool
) -> bool:
    """Send a request, say its identifier, and show its receipt once there is one.

    Args:
        settings: with the key ring.
        request: what `prepared` made.
        timeout_s: longest wait; None waits for nothing.
        as_json: whether the receipt is shown as JSON.

    Returns:
        Whether it was fulfilled, or need not be waited for.

    Raises:
        KeyMaterialError: the settings give no key ring.
        BrokerError: Kafka cannot be reached, or a topic is missing.
    """
    ring = keyring.load(settings)
    async with open_codecs(settings) as codecs, partition_reader(settings.brokers) as reader:
        wait = await _Wait.begin(settings, codecs, reader, ring, request)
        await _send(settings, codecs, request)
        if timeout_s is None:
            console.out.print(request.request_id, markup=False)
            return True
        console.err.print(f"[dim]request {request.request_id}[/]")
        record = await wait.receipt(timeout_s)
    if record is None:
        console.fail(
            f"There is no receipt after {timeout_s:.0f} s.",
            f"Gate, taste and report must run; `sottovoce privacy status {request.request_id}` "
            "shows it once it is there.",
        )
        return False
    receipt.emit(record, as_json=as_json)
    if not receipt.complete(json.loads(record["body"])):
        console.fail("Not everything is gone.", "The receipt says what remains where.")
        return False
    return True


async def status(settings: Settings, request_id: str, *, as_json: bool) -> None:
    """Show the receipt of a request, or since when it is under way.

    Raises:
        SourceError: nothing is known of it.
    """
    async with open_codecs(settings) as codecs, partition_reader(settings.brokers) as reader:
        record = None
        for partition in await end_offsets(reader, PRIVACY_RECEIPTS.name):
            found = await newest_receipt(
                Following(PRIVACY_RECEIPTS), codecs, reader, partition, request_id
            )
            record = found or record
        if record is not None:
            receipt.emit(record, as_json=as_json)
            return
        rows = RowReader(codecs.registry, requests.FIELDS)
        for partition in await end_offsets(reader, PRIVACY_REQUESTS.name):
            async for batch in Following(PRIVACY_REQUESTS).news(reader, partition):
                for _, row in (await rows.read(batch.values))[0]:
                    if row["request_id"] == request_id:
                        _under_way(row, as_json=as_json)
                        return
    raise SourceError(
        "Nothing is known of such a request.",
        "It may have expired, or was refused: `sottovoce rejected list`.",
    )


async def newest_receipt(
    follower: Following,
    codecs: Codecs,
    reader: AIOKafkaConsumer,
    partition: int,
    request_id: str,
) -> Record | None:
    """The last receipt of a request among what was added to a partition."""
    found: bytes | None = None
    async for batch in follower.news(reader, partition):
        for key, value in zip(batch.keys, batch.values, strict=True):
            if key == request_id.encode():
                found = value
    return None if found is None else (await codecs.decode_records([found]))[0]


async def _send(settings: Settings, codecs: Codecs, request: Request) -> None:
    encoder = await codecs.records(PRIVACY_REQUESTS)
    values = encoder.encode([requests.to_record(request)])
    async with open_producer(settings.brokers, idempotent=settings.idempotence) as producer:
        await send_keyed(producer, PRIVACY_REQUESTS.name, [(request.user.encode(), values[0])])


@dataclass(frozen=True, slots=True)
class _Wait:
    """Follows the answers and the receipt of one request, from before it is sent."""

    request_id: str
    partition: int
    wanted: frozenset[tuple[str, str]]
    """Digest and store of each answer."""
    codecs: Codecs
    reader: AIOKafkaConsumer
    answers: Following
    receipts: Following

    @classmethod
    async def begin(
        cls,
        settings: Settings,
        codecs: Codecs,
        reader: AIOKafkaConsumer,
        ring: Keyring,
        request: Request,
    ) -> _Wait:
        """Note where the topics end."""
        addressed = requests.addresses(policy.load(settings.policy), codecs.schemas, ring)
        ends = await _ends(reader, PRIVACY_ANSWERS)
        return cls(
            request.request_id,
            placement(ring.subjects().hex(request.user), len(ends)),
            frozenset(
                (command.request, store)
                for command in requests.commands(request, addressed, ring)
                for store in receipts.STORES[command.action].get(command.audience, ())
            ),
            codecs,
            reader,
            Following(PRIVACY_ANSWERS, ends),
            Following(PRIVACY_RECEIPTS, await _ends(reader, PRIVACY_RECEIPTS)),
        )

    async def receipt(self, timeout_s: float) -> Record | None:
        """The receipt, once it is there; None if it takes longer."""
        deadline = time.monotonic() + timeout_s
        missing = set(self.wanted)
        rows = RowReader(self.codecs.registry, ANSWER_FIELDS)
        with console.progress("waiting for the stores", len(missing), "answers") as advance:
            while True:
                found = await newest_receipt(
                    self.receipts, self.codecs, self.reader, self.partition, self.request_id
                )
                if found is not None or time.monotonic() >= deadline:
                    return found
                given = await self._given(rows) & missing
                missing -= given
                advance(len(given))
                await asyncio.sleep(_POLL_S)

    async def _given(self, rows: RowReader) -> set[tuple[str, str]]:
        found = set()
        async for batch in self.answers.news(self.reader, self.partition):
            for _, row in (await rows.read(batch.values))[0]:
                found.add((row["request"], row["store"]))
        return found


async def _ends(reader: AIOKafkaConsumer, topic: Topic) -> dict[int, int]:
    ends = dict(await end_offsets(reader, topic.name))
    if not ends:
        raise BrokerError(
            f"Topic {topic.name} does not exist.", "`sottovoce topics create` makes it."
        )
    return ends


def _under_way(row: Record, *, as_json: bool) -> None:
    seconds = (_now_ms() - row["requested_at"]) / 1_000
    if as_json:
        state = {"request_id": row["request_id"], "action": row["action"], "state": "under way"}
        console.out.print(json.dumps({**state, "seconds": round(seconds, 1)}), markup=False)
    else:
        console.out.print(f"{row['action']} is under way since {seconds:.0f} s")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
