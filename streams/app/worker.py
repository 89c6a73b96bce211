"""One worker process: a role, its app and its health page, until SIGTERM or a fault."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from streams import logs, metrics
from streams.agents.role import Role
from streams.app import faults
from streams.app.factory import alive, create_app, explained, give_up, seen_of, sender_of
from streams.app.health import HealthPage
from streams.app.progress import Progress
from streams.app.watchdog import Watchdog
from streams.errors import BrokerError, SottoVoceError, Stalled
from streams.settings import Settings
from streams.topics import Topic
from streams.transport.reader import end_offsets, partition_reader

STOP_S = 9.0
"""How long a worker may take to stop before it exits as it is, seconds."""

_ALLOCATIONS = 200_000
_LOOK_EVERY_S = 2.0
_ANSWER_S = 10.0
"""Kafka is unreachable when it takes longer to say where partitions end."""
_PATIENCE_S = 86_400.0
"""A Kafka that has gone is no reason to stop: the next worker would not find it either."""
_ANEW = "The worker exits to be started anew, and resumes from its last commit."

log = logs.get(__name__)


class _End:
    """How the worker ends: asked to, or by a fault; in `STOP_S` either way."""

    def __init__(self, settings: Settings, role: str) -> None:
        self._settings, self._role = settings, role
        self._stop = asyncio.Event()
        self._late = threading.Timer(STOP_S, _exit_late)
        self._late.daemon = True
        self.asked = self._stop.is_set
        self.wait = self._stop.wait
        self.cancel = self._late.cancel

    def ask(self) -> None:
        """Begin to stop; from now on the time runs."""
        if not self._stop.is_set():
            self._stop.set()
            self._late.start()

    def note(self, error: BaseException) -> None:
        """Say why the worker stops while that can be said for sure: stopping may hang, too."""
        reason = str(error) if isinstance(error, SottoVoceError) else logs.place(error)
        log.error("worker fails", role=self._role, reason=reason)
        faults.note(self._settings, self._role, error)

    def at_once(self, places: str) -> None:
        """Exit from any thread: the event loop stands still."""
        self.note(Stalled(f"The event loop stands still at {places}.", _ANEW))
        os._exit(1)


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Have Python look for garbage in cycles after many allocations, and not in what is there now.

    For a process that is a worker. A record is two objects that Python keeps track of: by default
    it goes through all that there are several times a batch, which was a fifth of a takeover's CPU
    time. Hardly any of them are in a cycle. When the process ends Python would go through all of
    them once more, for half a second in which nobody has the worker's partitions.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(_ALLOCATIONS, 20, 100)
    try:
        yield
    finally:
        gc.freeze()
        if "duckdb" in sys.modules:
            gc.unfreeze()  # else DuckDB takes what is in there for leaked, and says so


async def run(settings: Settings, name: str, role: Role, port: int) -> None:
    """Work until SIGTERM or SIGINT, then finish the batch, write state, commit and return.

    Raises:
        SottoVoceError: the worker cannot start, or stopped on a fault; nothing was lost.
    """
    end = _End(settings, name)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end.ask)
    progress = Progress(settings.stall_s, settings.stall_exit_s, time.monotonic)
    page = HealthPage(settings.web_host, port, progress)
    app = create_app(settings, name, role, progress)
    async with AsyncExitStack() as stack:
        stack.enter_context(Watchdog(settings.stall_exit_s, end.at_once))
        await page.start()
        stack.push_async_callback(page.stop)
        reader = await stack.enter_async_context(partition_reader(settings.kafka, _PATIENCE_S))
        await require_topics(reader, (*role.reads, *role.writes))
        watch = asyncio.create_task(_watch(settings, role.inputs, progress, app))
        watch.add_done_callback(_when_failed(app, end))
        stack.push_async_callback(_cancelled, watch)
        stack.push_async_callback(role.stop)
        await role.start(sender_of(app), reader)
        log.info("worker starts", role=name, health=f"http://{settings.web_host}:{page.port}")
        stack.push_async_callback(app.stop)
        await app.start()
        await app.wait(end.wait())
        log.info("worker stops", role=name, asked=end.asked())
        fault = None if app.crash_reason is None else explained(app.crash_reason)
        if fault is not None:
            end.note(fault)
        end.ask()
    end.cancel()
    if fault is not None:
        raise fault
    log.info("worker stopped", role=name)


def _exit_late() -> None:
    # Kafka is gone, or too slow: what is not committed is read again by the next worker.
    log.error("not stopped in time; the next worker resumes from the last commit", limit_s=STOP_S)
    os._exit(1)


async def require_topics(reader: AIOKafkaConsumer, topics: Iterable[Topic]) -> None:
    """Check that ``topics`` are there.

    Raises:
        BrokerError: one is not.
    """
    names = list(dict.fromkeys(topic.name for topic in topics))
    found = await asyncio.gather(*(end_offsets(reader, name) for name in names))
    for name, partitions in zip(names, found, strict=True):
        if not partitions:
            raise BrokerError(
                f"Topic {name} does not exist.", "`sottovoce topics create` makes it."
            )


async def _watch(
    settings: Settings, topics: tuple[Topic, ...], progress: Progress, app: faust.App
) -> None:
    """Look at the worker's progress until it fails.

    Through a connection of its own: a consumer that has stopped fetching must not look idle.

    Raises:
        Stalled: it stands still for longer than it may, or a part of it has ended.
    """
    silent = False
    async with partition_reader(settings.kafka) as reader:
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    ends = {
                        (topic.name, partition): end
                        for topic in topics
                        for partition, end in (await end_offsets(reader, topic.name)).items()
                    }
            except (KafkaError, TimeoutError) as error:
                progress.unreachable(type(error).__name__)
                if not silent:
                    log.warning("Kafka does not answer", cause=type(error).__name__)
                silent = True
            else:
                progress.look(ends, seen_of(app), metrics.read_back())
                silent = False
            if not alive(app):
                raise Stalled("The thread that consumes has ended.", _ANEW)
            if (reason := progress.fault()) is not None:
                raise Stalled(reason, _ANEW)
            await asyncio.sleep(_LOOK_EVERY_S)


def _when_failed(app: faust.App, end: _End) -> Callable[[asyncio.Task[None]], None]:
    def failed(watch: asyncio.Task[None]) -> None:
        if watch.cancelled() or (error := watch.exception()) is None or end.asked():
            return
        if app.started:
            give_up(app, error)
        else:  # what is stuck is the start, and nobody waits for the app yet
            end.note(explained(error))
            end.ask()

    return failed


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, SottoVoceError):
        await task
