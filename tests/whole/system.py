"""The running system for tests: a broker, the three workers, and what they leave."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from streams import topics
from streams.app.roles import codecs_of
from streams.brokers.process import free_port
from streams.cli.arrival import Pages
from streams.cli.processes import Worker, Workers
from streams.privacy import keys
from streams.settings import Settings, load
from streams.transport.admin import create_topics
from streams.transport.batch import RecordBatch
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

    async def start(self, *roles: str) -> None:
        for role in roles or ROLES:
            own = {"SOTTOVOCE_KEY_FILE": str(self.settings.key_file)} if role == "gate" else {}
            log = self.settings.data / "logs" / f"{role}.log"
            self._running[role] = await self._workers.start(role, self.ports[role], log, own)

    async def kill(self, role: str) -> None:
        """SIGKILL, and wait until the process is gone."""
        worker = self._running.pop(role)
        worker.process.send_signal(signal.SIGKILL)
        await worker.process.wait()
        self._workers.running.remove(worker)

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

    async def records(self, topic: str) -> list[RecordBatch]:
        """Everything in a topic."""
        found = []
        async with partition_reader(self.settings.brokers) as reader:
            for partition in await end_offsets(reader, topic):
                async for batch in read_span(reader, topic, partition):
                    found.append(batch)
        return found


@asynccontextmanager
async def running(brokers: str, data: Path, *, idempotence: bool) -> AsyncIterator[System]:
    """A system with topics, no worker started; all workers are gone afterwards."""
    (data / "logs").mkdir(parents=True)
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
    }
    settings = load(brokers=brokers, data=data, idempotence=idempotence, key_file=key_file)
    await create_topics(brokers, topics.ALL, settings.partitions, 1)
    async with aiohttp.ClientSession() as session, Workers(environment) as workers:
        yield System(settings, workers, session)
