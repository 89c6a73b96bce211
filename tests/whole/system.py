"""The running system for tests: a broker, the three workers, and what they leave."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from streams.app.roles import codecs_of
from streams.brokers.process import free_port
from streams.cli.arrival import Pages
from streams.cli.processes import Worker, Workers
from streams.privacy import keys, policy
from streams.settings import Settings, load
from streams.topics import PRIVACY_RECEIPTS, PRIVACY_REQUESTS
from streams.transport.admin import create_topics
from streams.transport.batch import RecordBatch
from streams.transport.producer import open_producer
from streams.transport.reader import end_offsets, partition_reader, read_span

ROLES = ("gate", "taste", "report")
LIMIT_S = 300.0


class System:
    """Workers on one broker. Settings are passed by environment, as in a deployment."""

    def __init__(
        self, settings: Settings, workers: Workers, session: aiohttp.ClientSession
    ) -> None:
        self.settings = settings
        self.codecs = codecs_of(settings)
        self.ports = {role: free_port() for role in ROLES}
        self.pages = Pages(self.ports, session)
        self._workers = workers
        self._running: dict[str, Worker] = {}

    async def start(
        self, *roles: str, program: Sequence[str] = ("streams",), **settings: str
    ) -> None:
        """Workers of these roles, or of all; ``settings`` are for them alone."""
        for role in roles or ROLES:
            own = {f"SOTTOVOCE_{name.upper()}": value for name, value in settings.items()}
            if role == "gate":
                own["SOTTOVOCE_KEY_FILE"] = str(self.settings.key_file)
            log = self.settings.data / "logs" / f"{role}.log"
            self._running[role] = await self._workers.start(
                role, self.ports[role], log, own, program
            )

    async def another(self, role: str) -> Worker:
        """One more worker of a role; its page goes by the name `role`-2."""
        name = f"{role}-2"
        self.ports[name] = free_port()
        log = self.settings.data / "logs" / f"{name}.log"
        return await self._workers.start(role, self.ports[name], log)

    def forget(self, worker: Worker) -> None:
        """Note that a worker ended."""
        self._workers.running.remove(worker)

    async def kill(self, role: str) -> None:
        """SIGKILL, and wait until the process is gone."""
        worker = self._running.pop(role)
        worker.process.send_signal(signal.SIGKILL)
        await worker.process.wait()
        self._workers.running.remove(worker)

    def process_id(self, role: str) -> int:
        return self._running[role].process.pid

    def runs(self, role: str) -> bool:
        return self._running[role].process.returncode is None

    async def ended(self, role: str, limit_s: float) -> int:
        """The exit code of a worker that ends by itself."""
        worker = self._running[role]
        code = await asyncio.wait_for(worker.process.wait(), limit_s)
        self._workers.running.remove(self._running.pop(role))
        return code

    async def terminate(self, role: str) -> int:
        """SIGTERM, and the exit code."""
        worker = self._running.pop(role)
        worker.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(worker.process.wait(), 10)
        self._workers.running.remove(worker)
        return code

    async def arrived(self, ends: dict[int, int]) -> None:
        """All plays before ``ends`` are in profiles and facts; a dead worker ends the wait."""
        watch = asyncio.create_task(self._workers.watch())
        wait = asyncio.create_task(self.pages.arrived(ends, lambda *_: None))
        try:
            async with asyncio.timeout(LIMIT_S):
                await asyncio.wait({watch, wait}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                watch.result()
            wait.result()
        finally:
            watch.cancel()
            wait.cancel()

    async def until_committed(self, role: str, topic: str, records: int) -> None:
        """Until a role has committed at least so many records."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                page = await self.pages.read(role)
                if sum(page.offsets("sottovoce_committed_offset", topic).values()) >= records:
                    return
                await asyncio.sleep(0.02)

    async def ask(self, user: str, action: str, **fields: Any) -> str:
        """A privacy request, as any client would send it; its identifier."""
        request = str(uuid.uuid4())
        record = {
            "request_id": request,
            "user_id": user,
            "action": action,
            "requested_at": int(time.time() * 1_000),
            **fields,
        }
        encoder = await self.codecs.records(PRIVACY_REQUESTS)
        async with open_producer(
            self.settings.kafka, idempotent=self.settings.idempotence
        ) as producer:
            await producer.send_and_wait(
                PRIVACY_REQUESTS.name, encoder.encode([record])[0], key=user.encode()
            )
        return request

    async def receipts(self, *requests: str) -> dict[str, dict[str, Any]]:
        """The receipts of these requests, by identifier, as soon as they are all there."""
        found: dict[str, dict[str, Any]] = {}
        async with asyncio.timeout(LIMIT_S):
            while not found.keys() >= set(requests):
                for batch in await self.records(PRIVACY_RECEIPTS.name):
                    values = [value for value in batch.values if value is not None]
                    for record in await self.codecs.decode_records(values):
                        found[record["request_id"]] = record
                await asyncio.sleep(0.3)
        return found

    async def records(self, topic: str) -> list[RecordBatch]:
        """Everything in a topic."""
        found = []
        async with partition_reader(self.settings.kafka) as reader:
            for partition in await end_offsets(reader, topic):
                async for batch in read_span(reader, topic, partition):
                    found.append(batch)
        return found


@asynccontextmanager
async def running(
    brokers: str,
    data: Path,
    *,
    idempotence: bool,
    key_file: Path | None = None,
    **own: str,
) -> AsyncIterator[System]:
    """A system with topics, no worker started; all workers are gone afterwards.

    ``own`` are settings for the workers, as in the environment, without prefix.
    """
    (data / "logs").mkdir(parents=True)
    if key_file is None:
        key_file = data / "key.hex"
        keys.create(key_file)
    environment = {
        "SOTTOVOCE_BROKERS": brokers,
        "SOTTOVOCE_DATA": str(data),
        "SOTTOVOCE_IDEMPOTENCE": str(idempotence),
        "SOTTOVOCE_SESSION_TIMEOUT_S": "6",
        "SOTTOVOCE_CHECKPOINT_S": "1",
        "SOTTOVOCE_RELEASE_S": "86400",
        "SOTTOVOCE_TOP_GENRES": "256",  # no listener has more: nothing is pruned
        **{f"SOTTOVOCE_{name.upper()}": value for name, value in own.items()},
    }
    settings = load(brokers=brokers, data=data, idempotence=idempotence, key_file=key_file, **own)
    wanted = policy.topics(policy.load(settings.policy))
    await create_topics(settings.kafka, wanted, settings.partitions, 1)
    async with aiohttp.ClientSession() as session, Workers(environment) as workers:
        yield System(settings, workers, session)
