"""Workers on Apache Kafka that stand still exit with the reason, and two share the partitions.

The whole of what was tried is in ``python -m tests.whole.silent``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.brokers.apache import ApacheBroker
from streams.topics import TASTE_STATE
from tests.whole.silent import PARTITIONS, Scene, scene

STALL_EXIT_S = 8.0
"""Longer than the group waits for a member that ended without a word."""
LIMIT_S = 30.0
WAYS = {
    "work-hangs": "a batch was fetched and is not finished",
    "loop-blocked": "sabotage.py",
    "group-refused": "consumer group",
}


@pytest.fixture(scope="module")
def kafka(kafka_cache: Path) -> Iterator[ApacheBroker]:
    with ApacheBroker(kafka_cache) as broker:
        yield broker


@pytest.mark.slow
async def test_a_worker_that_stands_still_exits_with_the_reason(
    kafka: ApacheBroker, tmp_path: Path
) -> None:
    async with scene(kafka.address, tmp_path / "data", 1, STALL_EXIT_S) as stage:
        for way, reason in WAYS.items():
            outcome = await stage.sabotaged(way)
            assert outcome.well, outcome
            assert reason in outcome.result


@pytest.mark.slow
async def test_a_worker_writes_no_more_for_partitions_that_another_has(
    kafka: ApacheBroker, tmp_path: Path
) -> None:
    async with scene(kafka.address, tmp_path / "data", 1, LIMIT_S) as stage:
        await stage.system.start("taste")
        await stage.moves()
        assert await written(stage, "taste") == set(range(PARTITIONS))
        await stage.system.another("taste")
        async with asyncio.timeout(LIMIT_S):
            while not await written(stage, "taste-2"):
                await asyncio.sleep(0.2)
        first, second = await asyncio.gather(written(stage, "taste"), written(stage, "taste-2"))
        assert first | second == set(range(PARTITIONS))
        assert len(first) == len(second) == PARTITIONS // 2


@pytest.mark.slow
async def test_the_older_of_two_workers_with_one_instance_stops(
    kafka: ApacheBroker, tmp_path: Path
) -> None:
    async with scene(kafka.address, tmp_path / "data", 1, LIMIT_S, instance="one") as stage:
        await stage.system.start("taste")
        await stage.moves()
        newer = await stage.system.another("taste")
        assert await stage.system.ended("taste", LIMIT_S) == 1
        assert "SOTTOVOCE_INSTANCE" in stage.faults()[-1] or "taken over" in stage.faults()[-1]
        await stage.moves()
        assert newer.process.returncode is None


async def written(stage: Scene, name: str) -> set[int]:
    """Partitions for which a worker writes its state now."""

    async def offsets() -> dict[int, int]:
        page = await stage.system.pages.read(name)
        return page.offsets("sottovoce_written_offset", TASTE_STATE.name)

    before = await offsets()
    await asyncio.sleep(3)
    after = await offsets()
    return {number for number, offset in after.items() if offset > before.get(number, -1)}
