"""HttpRegistry against a real registry, and the gate when schemas change or it is gone."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streams.avro.encode import RecordEncoder
from streams.avro.registry import HttpRegistry
from streams.avro.schemas import load as load_schemas
from streams.brokers.apache import ApacheBroker
from streams.cli import produce
from streams.errors import RegistryError, UnknownSchemaId
from streams.settings import load
from streams.sources.play import Play
from streams.sources.simulate import Simulation
from streams.topics import LISTENS, PLAYS, REJECTED
from streams.transport.producer import open_producer, send_records
from tests.brokers.apicurio import ApicurioRegistry
from tests.whole.system import System, running

PLAY = load_schemas(load().schemas)["play"]
SUBJECT = f"{PLAYS.name}-value"
MOOD = "mood of a listener"


@pytest.fixture
async def registry(registry_server: ApicurioRegistry) -> AsyncIterator[HttpRegistry]:
    opened = HttpRegistry(registry_server.url)
    yield opened
    await opened.close()


def record(*names: str, **more: Any) -> dict[str, Any]:
    fields = [{"name": name, "type": "string", "confluent:tags": ["PII"]} for name in names]
    return {"type": "record", "name": "R", "namespace": "x", "fields": fields, **more}


def upgraded(**field: Any) -> dict[str, Any]:
    schema = copy.deepcopy(PLAY)
    schema["fields"].append(field)
    return schema


def new_subject() -> str:
    return f"test-{uuid.uuid4()}-value"


@pytest.mark.slow
async def test_what_is_registered_comes_back_with_its_tags(
    registry: HttpRegistry, registry_server: ApicurioRegistry
) -> None:
    subject = new_subject()
    number = await registry.register(subject, PLAY)
    assert await registry.register(subject, PLAY) == number
    another = HttpRegistry(registry_server.url)
    assert await another.get(number) == PLAY
    assert await another.register(subject, PLAY) == number
    await another.close()


@pytest.mark.slow
async def test_an_id_that_nobody_gave_is_unknown(registry: HttpRegistry) -> None:
    with pytest.raises(UnknownSchemaId):
        await registry.get(2**31 - 1)


@pytest.mark.slow
async def test_a_schema_that_does_not_fit_earlier_ones_is_refused(
    registry: HttpRegistry, registry_server: ApicurioRegistry
) -> None:
    subject = new_subject()
    await registry.register(subject, record("a"))
    async with (
        aiohttp.ClientSession() as session,
        session.put(
            f"{registry_server.url}/config/{subject}", json={"compatibility": "BACKWARD"}
        ) as answer,
    ):
        assert answer.status == 200
    with pytest.raises(RegistryError, match="does not fit"):
        await registry.register(subject, record("a", "b"))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_killed_registry_is_an_error_and_remembers_when_it_is_back(
    registry: HttpRegistry, registry_server: ApicurioRegistry
) -> None:
    number = await registry.register(new_subject(), PLAY)
    assert await registry.get(number) == PLAY
    another = HttpRegistry(registry_server.url)
    registry_server.kill()
    try:
        assert await registry.get(number) == PLAY  # known already
        with pytest.raises(RegistryError, match="cannot be reached"):
            await another.get(number)
        with pytest.raises(RegistryError, match="cannot be reached"):
            await registry.get(2**31 - 1)
    finally:
        await registry_server.restart()
    assert await another.get(number) == PLAY
    await another.close()


class Stream:
    """A gate at work on real Kafka, and what was sent to it."""

    def __init__(self, system: System, registry: HttpRegistry) -> None:
        self.system, self.registry = system, registry
        self.sent = 0

    async def send(self, values: list[bytes], partition: int = 0) -> None:
        async with open_producer(self.system.settings.kafka, idempotent=True) as producer:
            nothing: list[bytes | None] = [None] * len(values)
            await send_records(producer, PLAYS.name, partition, nothing, values)
        self.sent += len(values)

    async def send_plays(self, schema: dict[str, Any], plays: list[Any]) -> None:
        number = await self.registry.register(SUBJECT, schema)
        await self.send(list(RecordEncoder(schema, number).encode(plays)))

    async def taken(self) -> None:
        """Until the gate has finished all that was sent."""
        await self.system.until_committed("gate", PLAYS.name, self.sent)

    async def count(self, topic: str) -> int:
        return sum(map(len, await self.system.records(topic)))

    async def logged(self, text: str) -> str:
        """The gate's log, once ``text`` is in it."""
        log = self.system.settings.data / "logs" / "gate.log"
        async with asyncio.timeout(120):
            while text not in (said := log.read_text()):
                await asyncio.sleep(0.1)
        return said

    async def restart_if_it_ended(self) -> None:
        if self.system._running["gate"].process.returncode is not None:
            self.system.forget(self.system._running.pop("gate"))
            await self.system.start("gate")


def plays() -> Iterator[list[Play]]:
    simulation = Simulation(end=date(2026, 6, 1), listeners=30, plays=900, seed=7)
    every = [play for chunk in simulation.chunks() for play in chunk]
    public = [play for play in every if not play["private_session"]]
    for first in range(0, 400, 200):
        yield public[first : first + 200]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_gate_when_schemas_change_and_the_registry_is_gone(
    kafka_cache: Path, registry: HttpRegistry, registry_server: ApicurioRegistry, tmp_path: Path
) -> None:
    first, second = plays()
    async with (
        ApacheBroker(kafka_cache) as broker,
        running(
            broker.address, tmp_path / "run", idempotence=True, registry_url=registry_server.url
        ) as system,
    ):
        stream = Stream(system, registry)
        stream.sent = (await produce.send_plays(system.settings, [first], lambda _: None)).plays
        # produce grants consent to everybody it sends plays of
        stream.sent += (await produce.send_plays(system.settings, [second], lambda _: None)).plays
        await system.start("gate")
        await stream.taken()
        known = await stream.count(LISTENS.name)

        mood = {"name": "mood", "type": ["null", "string"], "default": None}
        tagged = upgraded(**mood, **{"confluent:tags": ["FREE_TEXT"]})
        await stream.send_plays(tagged, [{**play, "mood": MOOD} for play in first])
        await stream.taken()
        page = await system.pages.read("gate")
        assert page.total("sottovoce_unknown_fields_dropped_total") == len(first)
        assert await stream.count(LISTENS.name) == known + len(first)
        assert await stream.count(REJECTED.name) == 0
        for batch in await system.records(LISTENS.name):
            assert not any(MOOD.encode() in (value or b"") for value in batch.values)

        later = upgraded(**{**mood, "name": "weather"})
        number = await registry.register(SUBJECT, later)
        registry_server.kill()
        try:
            await stream.send(list(RecordEncoder(later, number).encode(second)))
            await stream.logged("waiting for the registry")
            assert await stream.count(REJECTED.name) == 0
        finally:
            await registry_server.restart()
        await stream.restart_if_it_ended()
        await stream.taken()
        assert await stream.count(LISTENS.name) == known + len(first) + len(second)
        assert await stream.count(REJECTED.name) == 0

        await poison_is_rejected_or_stops_the_gate(stream, first)


async def poison_is_rejected_or_stops_the_gate(stream: Stream, sound: list[Any]) -> None:
    system, nested = stream.system, "int"
    for _ in range(200):
        nested = {"type": "array", "items": nested}  # type: ignore[assignment]
    deep = upgraded(name="deep", type=nested, default=[])
    number = await stream.registry.register(new_subject(), deep)
    known = await stream.count(LISTENS.name)
    strange = [
        b"\x00\x7f\xff\xff\xff\x00",
        b"\x00" + number.to_bytes(4, "big") + b"\x00",
        b"nonsense",
    ]
    values = list(RecordEncoder(PLAY, await stream.registry.register(SUBJECT, PLAY)).encode(sound))
    await stream.send([*values[:50], *strange, *values[50:]])
    await stream.taken()
    assert await stream.count(LISTENS.name) == known + len(sound)
    assert await stream.count(REJECTED.name) == len(strange)

    process = system._running["gate"].process
    await stream.send([b"nonsense"] * 1_200)
    for again in (False, True):
        if again:
            await system.start("gate")
            process = system._running["gate"].process
        async with asyncio.timeout(120):
            assert await process.wait() == 1
        system.forget(system._running.pop("gate"))
        assert await stream.count(REJECTED.name) == len(strange)
    said = (await stream.logged("SOTTOVOCE_REJECTED_SHARE")).splitlines()
    assert "malformed" in next(line for line in said if "SOTTOVOCE_REJECTED_SHARE" in line)
    system._workers._environment["SOTTOVOCE_REJECTED_SHARE"] = "1"
    await system.start("gate")
    await stream.taken()
    assert await stream.count(REJECTED.name) == len(strange) + 1_200
