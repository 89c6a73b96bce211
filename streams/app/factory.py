"""Builds the Faust app of one role. Nothing happens at import, and nothing runs before `start`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import faust
from faust.types import TP

from streams import logs
from streams.agents.role import Role, Sender
from streams.app.progress import Progress
from streams.errors import InternalError, SottoVoceError
from streams.settings import Settings
from streams.transport.driver import BatchProducer, BatchSchema, Transport, nothing_held
from streams.transport.producer import BATCH_BYTES, REQUEST_BYTES

_FETCH_BYTES = 4 * 1024 * 1024
_BATCHES_WAITING = 4


def create_app(settings: Settings, name: str, role: Role, progress: Progress) -> faust.App:
    """The app of ``role``: one agent over batches, one checkpoint timer."""
    app = faust.App(
        f"sottovoce-{name}",
        broker=[f"kafka://{address.strip()}" for address in settings.brokers.split(",")],
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
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 4,
        consumer_max_fetch_size=_FETCH_BYTES,
        producer_max_batch_size=BATCH_BYTES,
        producer_max_request_size=REQUEST_BYTES,
    )
    app.transport = app.producer_transport = _transport(app, settings, role, progress)

    inputs = app.topic(*(topic.name for topic in role.inputs), schema=BatchSchema())

    @app.agent(inputs, name=f"sottovoce.{name}")
    async def batches(stream: faust.StreamT[Any]) -> None:
        async for event in cast("faust.Stream[Any]", stream).noack().events():
            try:
                await role.take(event.value, event.ack)
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


def sender_of(app: faust.App) -> Sender:
    """The app's producer, which runs once the app does."""
    producer = app.producer
    assert isinstance(producer, BatchProducer)
    return producer


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

    transport = Transport(url=app.conf.broker_consumer, app=app)
    transport.batched = inputs
    transport.idempotent = settings.idempotence
    transport.resume = resume
    transport.drain = role.checkpoint
    transport.on_committed = progress.committed
    return transport


async def _give_up(app: faust.App, error: Exception) -> None:
    """Stop the worker and never return: going on past a failed batch would lose it for good.

    Consumers of ``listens`` skip positions that are not higher than the last, so nothing of a
    source partition may be written after a batch of it failed, and state that took in half a batch
    must not be written either. The next worker resumes from the batch.
    """
    if not isinstance(error, SottoVoceError):
        error = InternalError(
            f"Unexpected {logs.place(error)}.",
            "The worker stops and resumes from its last commit; please report the place.",
        )
    transport = app.transport
    assert isinstance(transport, Transport)
    transport.drain = nothing_held
    await app.crash(error)
    await asyncio.Event().wait()
