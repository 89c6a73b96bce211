"""One worker process: a role, its app and its health page, until SIGTERM or a fault."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import AsyncExitStack, suppress

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams import logs
from streams.agents.role import Role
from streams.app.factory import create_app, sender_of
from streams.app.health import HealthPage
from streams.app.progress import Progress
from streams.errors import BrokerError, SottoVoceError
from streams.settings import Settings
from streams.topics import Topic
from streams.transport.reader import end_offsets, partition_reader

STOP_S = 9.0
"""How long a worker may take to stop before it exits as it is, seconds."""

_ENDS_EVERY_S = 2.0

log = logs.get(__name__)


async def run(settings: Settings, name: str, role: Role, port: int) -> None:
    """Work until SIGTERM or SIGINT, then finish the batch, write state, commit and return.

    Raises:
        SottoVoceError: the worker cannot start, or stopped on a fault; nothing was lost.
    """
    stop = asyncio.Event()
    late = threading.Timer(STOP_S, _exit_late)
    late.daemon = True

    def asked() -> None:
        if not stop.is_set():
            stop.set()
            late.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked)
    progress = Progress(settings.stall_s, time.monotonic)
    page = HealthPage(settings.web_host, port, progress)
    app = create_app(settings, name, role, progress)
    async with AsyncExitStack() as stack:
        await page.start()
        stack.push_async_callback(page.stop)
        reader = await stack.enter_async_context(partition_reader(settings.brokers))
        await require_topics(reader, role.topics)
        stack.push_async_callback(role.stop)
        await role.start(sender_of(app), reader)
        watch = asyncio.create_task(_watch_ends(settings, role.inputs, progress))
        stack.push_async_callback(_cancelled, watch)
        log.info("worker starts", role=name, health=f"http://{settings.web_host}:{page.port}")
        stack.push_async_callback(app.stop)
        await app.start()
        await app.wait(stop.wait())
        log.info("worker stops", role=name, asked=stop.is_set())
        asked()
    late.cancel()
    if app.crash_reason is not None:
        raise app.crash_reason
    log.info("worker stopped", role=name)


def _exit_late() -> None:
    # Kafka is gone, or too slow: what is not committed is read again by the next worker.
    log.error("not stopped in time; the next worker resumes from the last commit", limit_s=STOP_S)
    os._exit(1)


async def require_topics(reader: AIOKafkaConsumer, topics: tuple[Topic, ...]) -> None:
    """Check that ``topics`` are there.

    Raises:
        BrokerError: one is not.
    """
    for topic in topics:
        if not await end_offsets(reader, topic.name):
            raise BrokerError(
                f"Topic {topic.name} does not exist.", "`sottovoce topics create` makes it."
            )


async def _watch_ends(settings: Settings, topics: tuple[Topic, ...], progress: Progress) -> None:
    # Through a connection of its own: a consumer that has stopped fetching must not look idle.
    async with partition_reader(settings.brokers) as reader:
        while True:
            try:
                for topic in topics:
                    progress.ends(topic.name, await end_offsets(reader, topic.name))
            except KafkaError as error:
                log.warning("end offsets not known", cause=type(error).__name__)
            await asyncio.sleep(_ENDS_EVERY_S)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, SottoVoceError):
        await task
