"""A worker that was stopped for too long wakes up: it must not write over its successor's state."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from streams.brokers.apache import ApacheBroker
from streams.cli import produce
from streams.privacy.policy import PRODUCT
from streams.sources.detect import open_history
from streams.sources.rate import paced
from streams.topics import LISTENS, PLAYS
from tests.taste.recount import recount
from tests.whole.compare import differences
from tests.whole.history import expand
from tests.whole.system import System, running
from tests.whole.test_exactly_once import Pseudonyms, profiles

CHECKPOINT_S = 4
PER_SECOND = 2_500
COMMITTED = "sottovoce_committed_offset"


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_woken_worker_writes_nothing_and_stops(
    kafka_cache: Path, shared_data: Path, tmp_path: Path
) -> None:
    history = expand(shared_data, tmp_path / "history", 30_000)
    async with (
        ApacheBroker(kafka_cache) as broker,
        running(
            broker.address, tmp_path / "data", idempotence=True, checkpoint_s=str(CHECKPOINT_S)
        ) as system,
    ):
        catalogue = list(produce.read_catalogue(history.catalogue))
        await produce.send_catalogue(system.settings, catalogue)
        await system.start("gate", "taste")
        zombie = await system.another("taste")
        chunks = paced(open_history([history.plays]).chunks(), PER_SECOND)
        feeding = asyncio.create_task(produce.send_plays(system.settings, chunks, lambda _: None))
        await _holding(system)
        zombie.process.send_signal(signal.SIGSTOP)
        await _caught_up(system, (await feeding).ends)
        zombie.process.send_signal(signal.SIGCONT)
        assert await asyncio.wait_for(zombie.process.wait(), 60) == 1
        assert zombie.log is not None
        assert "another worker has taken over" in zombie.log.read_text()
        system.forget(zombie)
        found = await profiles(system)
    pseudonyms = Pseudonyms(system.settings, PRODUCT)
    expected = recount(
        {**listen, "listener": pseudonyms.of(listen["listener"])} for listen in history.listens()
    )
    assert found.keys() == expected.keys()
    assert [
        each
        for listener, profile in expected.items()
        for each in differences(found[listener], profile, listener)
    ] == []


async def _holding(system: System) -> None:
    """Until the second worker holds listens that it has not written."""
    held = False
    while not held:
        before = await system.pages.read("taste-2")
        await asyncio.sleep(0.1)
        now = await system.pages.read("taste-2")
        held = (
            now.total("sottovoce_checkpoint_seconds_count")
            == before.total("sottovoce_checkpoint_seconds_count")
            > 0
        ) and now.total("sottovoce_listens_folded_total") > before.total(
            "sottovoce_listens_folded_total"
        )


async def _caught_up(system: System, ends: dict[int, int]) -> None:
    """Until the worker that is left has all there is of every partition."""
    async with asyncio.timeout(90):
        done = False
        while not done:
            await asyncio.sleep(0.2)
            gate, taste = await system.pages.read("gate"), await system.pages.read("taste")
            read = gate.offsets(COMMITTED, PLAYS.name)
            written = gate.offsets("sottovoce_written_offset", LISTENS.name)
            done = all(read.get(number, 0) >= end for number, end in ends.items()) and all(
                taste.offsets(COMMITTED, LISTENS.name).get(number, 0) >= end
                for number, end in written.items()
            )
