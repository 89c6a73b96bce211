"""More than the workers can take: memory stays in its bound, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import resource
from datetime import date
from pathlib import Path

import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.cli import produce
from streams.cli.arrival import READS
from streams.sources.simulate import Simulation
from tests.load.flood import count, event_of
from tests.load.pressure import people, press
from tests.whole.system import System, running
from tests.whole.test_exactly_once import facts

ROOM = 256 * 1024
"""What the disk still takes, bytes."""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_bursts_slow_disks_and_stopped_brokers(kafka_cache: Path, tmp_path: Path) -> None:
    settings = {"held_mb": "1", "stall_s": "1"}
    run = await press(
        kafka_cache, tmp_path, unit_s=1.5, rate=1_000, settings=settings, listeners=300
    )
    assert run.problems == []
    name, begin, end = run.phases[1]
    assert name.startswith("disk hangs")
    hung = [each for each in run.watch.of("report") if begin < each.at_s < end]
    assert any(each.paused for each in hung)
    assert any(not each.ready for each in hung)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_full_disk_stops_the_report_and_costs_nothing(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    """Until it is full no timer writes: what is held does, by its size."""
    simulation = Simulation(end=date(2026, 6, 1), listeners=60, plays=12_000, seed=9)
    chunks = list(simulation.chunks())
    async with running(fresh_broker.address, tmp_path / "data", idempotence=False) as system:
        await system.start("gate", "report", held_mb="1", checkpoint_s="3600")
        await produce.send_plays(system.settings, chunks[:3], lambda _: None)
        await system.until_committed("report", READS["report"], 1)
        await _fill(system)
        await produce.send_plays(system.settings, chunks[3:], lambda _: None)
        assert await system.ended("report", 60) == 1
        log = (system.settings.data / "logs" / "report.log").read_text()
        assert "Could not append to the warehouse: its disk is full." in log
        assert log.count("SOTTOVOCE_DATA") >= 1
        await system.start("report")
        gate = await system.pages.read("gate")
        written = gate.offsets("sottovoce_written_offset", READS["report"])
        await system.until_committed("report", READS["report"], sum(written.values()))
        for role in ("gate", "report"):
            assert await system.terminate(role) == 0
        assert people(facts(system)) == people(
            count(event_of(play) for chunk in chunks for play in chunk)
        )


async def _fill(system: System) -> None:
    """Let no file of the report worker grow by more than ``ROOM``: to it, the disk is full."""
    folder = system.settings.warehouse.parent
    largest = max(file.stat().st_size for file in await asyncio.to_thread(_files, folder))
    limit = resource.RLIMIT_FSIZE
    resource.prlimit(system.process_id("report"), limit, (largest + ROOM, resource.RLIM_INFINITY))


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]
