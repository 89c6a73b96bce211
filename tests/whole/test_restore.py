"""The drill: stores are lost and come back, and nothing is different."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.agents.role import Place
from streams.brokers.apache import ApacheBroker
from streams.cli import backups, restoring, resuming
from streams.cli.survey import INPUTS, Survey, survey
from streams.errors import BrokerError, WarehouseError
from streams.privacy.boundary import pseudonym_of
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.topics import TASTE_STATE
from tests.whole.drill import STORES, lose, outcome, regained, simulated, stop
from tests.whole.system import System, running
from tests.whole.test_lifecycle import facts, send, users_of


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_what_was_lost_comes_back_as_if_it_had_never_gone(
    kafka_cache: Path, tmp_path: Path
) -> None:
    chunks = simulated()
    forgotten = users_of(chunks)[3]
    early = [play for chunk in chunks for play in chunk][:1_500]
    late = [play for chunk in chunks for play in chunk][1_500:]
    async with (
        ApacheBroker(kafka_cache) as broker,
        running(
            broker.address,
            tmp_path / "data",
            idempotence=True,
            min_listeners="3",
            top_artists="1000",
            rewrite_s="1",
        ) as system,
    ):
        settings, folder = system.settings, tmp_path / "backup"
        await system.start()
        await system.arrived(await send(system, [early]))
        await backups.make(settings, folder, STORES, 60)
        await system.receipts(await system.ask(forgotten, "erase"))
        await system.arrived(await send(system, [late]))
        expected = await outcome(system)

        await stop(system, *STORES)
        expected_facts = facts(system)
        names = {pseudonym_of(settings, forgotten, each) for each in (PRODUCT, ANALYTICS)}
        for each in ("report", "taste"):
            with pytest.raises((BrokerError, WarehouseError), match=r"warehouse|not empty"):
                await restoring.restore(settings, folder, [each])

        await lose(system, "report", "taste")  # then from Kafka alone
        assert await regained(system, "report", "taste") == expected
        assert facts(system) == expected_facts

        for role in STORES:  # from the backup and Kafka, while the other one runs
            await system.start(*({*STORES} - {role}))
            await lose(system, role)
            await restoring.restore(settings, folder, [role])
            assert await regained(system, role) == expected
            assert facts(system) == expected_facts

        await lose(system, "report", "taste")
        await restoring.restore(settings, folder, STORES)
        assert await resuming.stored_by_taste(settings, await at_rest(system)) == seen(folder)
        assert await regained(system, "report", "taste") == expected
        assert facts(system) == expected_facts
        kept = settings.warehouse.read_bytes()
        assert not any(name.encode() in kept for name in names)
        assert not names & expected[0].keys()
        copied = (folder / backups.WAREHOUSE).read_bytes()
        assert any(name.encode() in copied for name in names), "an erasure reaches no backup"
        await stop(system, "gate")


def seen(folder: Path) -> dict[Place, int]:
    """What the taste role's backup includes."""
    places = backups.read_manifest(folder).seen["taste"].items()
    named = ((key.rsplit("/", 1), offset) for key, offset in places)
    return {(topic, int(number)): offset for (topic, number), offset in named}


async def at_rest(system: System) -> Survey:
    wanted = {topic.name: topic for role in STORES for topic in INPUTS[role]}
    return await survey(system.settings.kafka, [*wanted.values(), TASTE_STATE], STORES)
