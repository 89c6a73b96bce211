"""Sends a request, waits for what comes of it, and finds what became of earlier ones."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer

from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.agents.reading import RowReader
from streams.app.roles import open_codecs
from streams.cli import console, receipt
from streams.errors import BrokerError, SourceError
from streams.privacy import requests
from streams.privacy.requests import Refusal, Request
from streams.settings import Settings
from streams.topics import PRIVACY_RECEIPTS, PRIVACY_REQUESTS, Topic
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

    Nothing of it needs the key.

    Args:
        settings: how to reach Kafka, among others.
        request: what `prepared` made.
        timeout_s: longest wait; None waits for nothing.
        as_json: whether the receipt is shown as JSON.

    Returns:
        Whether it was fulfilled, or need not be waited for.

    Raises:
        BrokerError: Kafka cannot be reached, or a topic is missing.
    """
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        receipts = Following(PRIVACY_RECEIPTS, await _ends(reader, PRIVACY_RECEIPTS))
        await _send(settings, codecs, request)
        if timeout_s is None:
            console.out.print(request.request_id, markup=False)
            return True
        console.err.print(f"[dim]request {request.request_id}[/]")
        record = await _receipt(receipts, codecs, reader, request.request_id, timeout_s)
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
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
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
    async with open_producer(settings.kafka, idempotent=settings.idempotence) as producer:
        await send_keyed(producer, PRIVACY_REQUESTS.name, [(request.user.encode(), values[0])])


async def _receipt(
    follower: Following,
    codecs: Codecs,
    reader: AIOKafkaConsumer,
    request_id: str,
    timeout_s: float,
) -> Record | None:
    """The receipt, once it is there; None if it takes longer."""
    deadline = time.monotonic() + timeout_s
    partitions = await end_offsets(reader, PRIVACY_RECEIPTS.name)
    with console.err.status("waiting for the stores"):
        while True:
            for partition in partitions:
                found = await newest_receipt(follower, codecs, reader, partition, request_id)
                if found is not None:
                    return found
            if time.monotonic() >= deadline:
                return None
            await asyncio.sleep(_POLL_S)


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
