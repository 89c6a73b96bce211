"""The Faust app of a role: what of its settings reaches Kafka's client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, cast

import faust
import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaTimeoutError

from streams.agents.taste import Taste
from streams.app.factory import alive, create_app, explained, seen_of
from streams.app.progress import Progress
from streams.app.roles import codecs_of
from streams.errors import AccessError, BrokerError, InternalError, StateError
from streams.settings import Settings, load
from streams.transport.driver import BatchConsumer

SETTINGS = load(instance="taste-0", session_timeout_s=45.0)


@pytest.fixture
async def app() -> Any:
    return made(SETTINGS)


def made(settings: Settings) -> faust.App:
    role = Taste(settings, codecs_of(settings))
    return create_app(settings, "taste", role, Progress(60.0, 300.0, time.monotonic))


@pytest.fixture
async def consumer(app: faust.App) -> AsyncIterator[Any]:
    """aiokafka's consumer, not started."""
    thread = cast("BatchConsumer", app.consumer)._thread
    made = cast("Any", thread)._create_worker_consumer(app.transport)
    yield made
    await made.stop()
    thread.thread_loop.close()


async def test_a_worker_is_the_member_that_its_settings_name(consumer: Any) -> None:
    assert consumer._group_instance_id == "taste-0"
    assert consumer._session_timeout_ms == 45_000
    assert consumer._heartbeat_interval_ms == 500


async def test_restoring_may_take_longer_than_a_request(app: faust.App, consumer: Any) -> None:
    # Faust bounds what restores by the time of a request, and gives up for good after it.
    assert app.conf.broker_request_timeout > 3_600
    assert consumer._client._request_timeout_ms == 90_000
    assert consumer._request_timeout_ms == 90_000
    assert consumer._rebalance_timeout_ms < 90_000  # a request to join waits for all members


async def test_nothing_is_known_of_an_app_that_does_not_run(app: faust.App) -> None:
    assert seen_of(app) == {}
    assert alive(app)


def test_a_fault_is_told_as_ours() -> None:
    own = StateError("It differs.")
    assert explained(own) is own
    assert isinstance(explained(GroupAuthorizationFailedError("group")), AccessError)
    assert "KafkaTimeoutError" in str(explained(KafkaTimeoutError()))
    assert isinstance(explained(KafkaTimeoutError()), BrokerError)
    unexpected = explained(ValueError("a value of a record"))
    assert isinstance(unexpected, InternalError)
    assert "a value of a record" not in str(unexpected)


async def test_nothing_waits_for_tables_where_there_are_none(
    app: faust.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    async def step(name: str) -> None:
        done.append(name)

    tables: Any = app.tables
    monkeypatch.setattr(tables, "_update_channels", lambda: step("channels"))
    monkeypatch.setattr(tables.recovery, "start", lambda: step("recovery"))
    monkeypatch.setattr(tables, "sleep", lambda _: step("asleep"))
    await tables.on_start()
    assert done == ["channels", "recovery"]
