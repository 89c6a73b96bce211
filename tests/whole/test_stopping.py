"""A worker stops in time, also when Kafka is gone."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path

import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.cli import produce
from streams.cli.arrival import READS
from streams.sources.simulate import Simulation
from tests.whole.system import ROLES, running


@pytest.mark.slow
@pytest.mark.usefixtures("_embedded_is_here")
async def test_a_worker_exits_within_ten_seconds_though_kafka_is_gone(
    tmp_path: Path,
) -> None:
    simulation = Simulation(end=date(2026, 6, 1), listeners=20, plays=500, seed=3)
    broker = EmbeddedBroker()
    await broker.start()
    try:
        async with running(broker.address, tmp_path / "data", idempotence=False) as system:
            await produce.send_plays(system.settings, simulation.chunks(), lambda _: None)
            await system.start()
            await system.until_committed("report", READS["report"], 1)
            await broker.stop()
            codes = await asyncio.gather(*map(system.terminate, ROLES))
    finally:
        await broker.stop()
    assert set(codes) <= {0, 1}


@pytest.mark.slow
@pytest.mark.usefixtures("_embedded_is_here")
async def test_the_last_word_of_a_worker_is_that_it_stopped(tmp_path: Path) -> None:
    simulation = Simulation(end=date(2026, 6, 1), listeners=20, plays=500, seed=3)
    async with (
        EmbeddedBroker() as broker,
        running(broker.address, tmp_path / "data", idempotence=False) as system,
    ):
        await produce.send_plays(system.settings, simulation.chunks(), lambda _: None)
        await system.start()
        for role, topic in READS.items():
            await system.until_committed(role, topic, 1)
        codes = {role: await system.terminate(role) for role in ROLES}
        folder = system.settings.data / "logs"
        logs = [(folder / f"{role}.log").read_text().splitlines() for role in ROLES]
    assert set(codes.values()) == {0}
    assert [json.loads(lines[-1])["event"] for lines in logs] == ["worker stopped"] * len(ROLES)
