"""What both peers in Faust share: the app and its output."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import faust

from tests.bench.peers.job import Job


def build(job: Job) -> faust.App:
    """An app without agents."""
    return faust.App(
        job.group,
        broker=f"kafka://{job.brokers}",
        store="memory://",
        datadir=str(job.folder),
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=4,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=2.0,
    )


class Output:
    """Sends profiles and cells as JSON and waits until the broker has them.

    One call at a time, so that no older profile of a listener follows a newer one.
    """

    def __init__(self, app: faust.App, job: Job) -> None:
        self._profiles = app.topic(job.profiles, key_type=str, value_serializer="json")
        self._cells = app.topic(job.cells, key_type=str, value_serializer="json")
        self._one = asyncio.Lock()

    async def profiles(self, records: Iterable[tuple[str, Any]]) -> None:
        """Send profiles by listener."""
        await self._send(self._profiles, records)

    async def cells(self, records: Iterable[tuple[str, int]]) -> None:
        """Send counts by cell."""
        await self._send(self._cells, records)

    async def _send(self, topic: Any, records: Iterable[tuple[str, Any]]) -> None:
        async with self._one:
            pending = [await topic.send(key=key, value=value) for key, value in records]
            await asyncio.gather(*pending)


async def finish(app: faust.App) -> None:
    """Wait for what is still on its way to the changelogs, then commit all that was read."""
    await app.producer.flush()
    await app.consumer.wait_empty()
    await app.consumer.commit()
