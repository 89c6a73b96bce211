"""Builds the Faust app of one role. Nothing happens at import, and nothing runs before `start`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ConsumerNotStarted
from faust.tables import TableManager
from faust.types import TP
from faust.utils import venusian

from streams import logs
from streams.agents.role import Claimant, Place, Role
from streams.app.progress import Progress
from streams.errors import InternalError, SottoVoceError
from streams.settings import Settings
from streams.transport.driver import (
    RESTORE_S,
    BatchConsumer,
    BatchProducer,
    BatchSchema,
    Seen,
    Transport,
)
from streams.transport.flow import Held
from streams.transport.member import told
from streams.transport.producer import BATCH_BYTES, REQUEST_BYTES
from streams.transport.security import addresses, credentials

_FETCH_BYTES = 4 * 1024 * 1024
_HEARTBEAT_S = 0.5
"""A member learns with a heartbeat that the group rebalances, and all wait for the last one."""
_BATCHES_WAITING = 1_000_000
"""What bounds the batches waiting is their size, see `streams.transport.flow`."""


class Tables(TableManager):
    """Tells of partitions, as in Faust, which waits a second for tables. There are none."""

    async def on_start(self) -> None:
        """Let the consumer subscribe."""
        await self._update_channels()
        await self.recovery.start()


def create_app(settings: Settings, name: str, role: Role, progress: Progress) -> faust.App:
    """The app of ``role``: one agent over batches, one checkpoint timer."""
    # Faust notes agents for a scan that nobody makes, and looks at every module to do so.
    venusian.attach = lambda *_, **__: None
    app = faust.App(
        f"sottovoce-{name}",
        broker=[f"kafka://{address}" for address in addresses(settings.kafka)],
        broker_credentials=credentials(settings.kafka),
        store="memory://",
        datadir=str(Path(tempfile.gettempdir()) / "sottovoce-faust"),  # it wants one; stays empty
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        stream_buffer_maxsize=_BATCHES_WAITING,
        broker_max_poll_records=settings.batch_records,
        broker_commit_interval=0.5,
        broker_request_timeout=RESTORE_S,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=min(_HEARTBEAT_S, settings.session_timeout_s / 4),
        consumer_group_instance_id=settings.instance,
        TableManager=Tables,
        consumer_max_fetch_size=_FETCH_BYTES,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=REQUEST_BYTES,
    )
    transport = _transport(app, settings, role, progress)
    app.transport = app.producer_transport = transport

    inputs = app.topic(*(topic.name for topic in role.inputs), schema=BatchSchema())

    @app.agent(inputs, name=f"sottovoce.{name}")
    async def batches(stream: faust.StreamT[Any]) -> None:
        async for event in cast("faust.Stream[Any]", stream).noack().events():
            try:
                transport.held.take(event.value)
                await role.take(event.value, event.ack)
                if transport.held.pressing:
                    await role.checkpoint()
            except Exception as error:
                await _give_up(app, error)

    @app.timer(interval=settings.checkpoint_s, name="checkpoint")  # type: ignore[untyped-decorator]
    async def checkpoint() -> None:
        try:
            await role.checkpoint()
        except Exception as error:
            await _give_up(app, error)

    @app.on_partitions_revoked.connect
    async def revoked(*_: Any, **__: Any) -> None:
        progress.unassign()

    return app


def sender_of(app: faust.App) -> Claimant:
    """The app's producer, which runs once the app does."""
    producer = app.producer
    assert isinstance(producer, BatchProducer)
    return producer


def seen_of(app: faust.App) -> Mapping[Place, Seen]:
    """How far the assigned partitions are; empty before the app runs and during a rebalance."""
    if not app.started:
        return {}
    with suppress(ConsumerNotStarted):
        seen = cast("BatchConsumer", app.consumer).seen()
        return {(tp.topic, tp.partition): each for tp, each in seen.items()}
    return {}


def alive(app: faust.App) -> bool:
    """Whether what must run runs; true before the app starts."""
    return not app.started or cast("BatchConsumer", app.consumer).alive


def give_up(app: faust.App, error: BaseException) -> None:
    """Have the worker stop from outside its agents; nothing more is written meanwhile."""
    app.add_future(_crash(app, error))


def _transport(app: faust.App, settings: Settings, role: Role, progress: Progress) -> Transport:
    inputs = frozenset(topic.name for topic in role.inputs)

    async def resume(assigned: set[TP]) -> Mapping[TP, int]:
        places = {(tp.topic, tp.partition) for tp in assigned if tp.topic in inputs}
        try:
            offsets = await role.resume(places, app.consumer_generation_id)
        except Exception as error:
            await _give_up(app, error)
        progress.assign(places)
        return {TP(*place): offset for place, offset in offsets.items()}

    async def drain() -> None:
        try:
            await role.checkpoint()
        except Exception as error:
            await _crash(app, error)

    transport = Transport(url=app.conf.broker_consumer, app=app)
    transport.batched = inputs
    transport.held = Held(settings.held_mb * 2**20)
    transport.idempotent = settings.idempotence
    transport.resume = resume
    transport.drain = drain
    transport.on_committed = progress.committed
    transport.on_fault = lambda problem: give_up(app, problem)
    return transport


async def _give_up(app: faust.App, error: Exception) -> None:
    """Stop the worker and never return: going on past a failed batch would lose it for good.

    Consumers of ``listens`` skip positions that are not higher than the last, so nothing of a
    source partition may be written after a batch of it failed, and state that took in half a batch
    must not be written either. The next worker resumes from the batch.
    """
    await _crash(app, error)
    await asyncio.Event().wait()


async def _crash(app: faust.App, error: BaseException) -> None:
    """Have the worker stop, and nothing more be written meanwhile."""
    error = explained(error)
    transport = app.transport
    assert isinstance(transport, Transport)
    transport.failed = True
    await app.crash(error)


def explained(error: BaseException) -> SottoVoceError:
    """``error`` as an operator is told of it."""
    if isinstance(error, SottoVoceError):
        return error
    if isinstance(error, KafkaError):
        return told(error)
    return InternalError(
        f"Unexpected {logs.place(error)}.",
        "The worker stops and resumes from its last commit; please report the place.",
    )
