"""What drills need: roles stopped and caught up again, stores destroyed, and all that there is."""

from __future__ import annotations

import asyncio
import shutil
from datetime import date
from typing import Any

from streams.cli import restoring
from streams.cli.survey import INPUTS, survey
from streams.sources.play import Play
from streams.sources.simulate import Simulation
from streams.taste.state import Bounds, TasteState
from tests.whole.system import LIMIT_S, System
from tests.whole.test_lifecycle import profiles, published, state

STORES = ("taste", "report")
Outcome = tuple[Any, ...]


def simulated() -> list[list[Play]]:
    simulation = Simulation(end=date(2026, 6, 1), listeners=40, plays=3_000, seed=5)
    return list(simulation.chunks())


async def settled(system: System) -> None:
    """Until every role has done all there is."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            wanted = {topic.name: topic for topics in INPUTS.values() for topic in topics}
            found = await survey(system.settings.kafka, wanted.values())
            if not any(found.lags(role) for role in INPUTS):
                return
            await asyncio.sleep(0.3)


async def outcome(system: System) -> Outcome:
    """State, profiles and marts."""
    await settled(system)
    return await held(system), await profiles(system), await published(system)


async def held(system: System) -> dict[str, Any]:
    """What the state in Kafka says of each listener."""
    newest = await state(system)
    bodies = (await system.codecs.decode(list(newest.values()), ("body",)))["body"].to_list()
    restored = TasteState(Bounds(system.settings.top_artists, system.settings.top_genres))
    restored.load_many(list(newest), bodies)
    return {listener: restored.held(listener) for listener in newest}


async def stop(system: System, *roles: str) -> None:
    """Stop roles, and wait until their groups know."""
    for role in roles:
        assert await system.terminate(role) == 0
    async with asyncio.timeout(LIMIT_S):
        while True:
            found = await survey(system.settings.kafka, [], roles)
            if not any(found.groups[role].members for role in roles):
                return
            await asyncio.sleep(0.2)


async def lose(system: System, *roles: str) -> None:
    """Destroy what stopped roles remember."""
    if "report" in roles:
        shutil.rmtree(system.settings.warehouse.parent)
    for role in roles:
        await restoring.rebuild(system.settings, role, ask=False)


async def regained(system: System, *roles: str) -> Outcome:
    """What there is once roles that were stopped have caught up; then stop taste and report."""
    await system.start(*roles)
    found = await outcome(system)
    await stop(system, *STORES)
    return found
