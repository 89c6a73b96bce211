"""The taste role when partitions come and go: what it keeps, drops and writes."""

from __future__ import annotations

from streams.agents.taste import Taste
from streams.topics import LISTENS, PROFILES, TASTE_STATE
from tests.agents.test_taste import PEOPLE, World, expect, listen

PLACES = {(topic.name, 0) for topic in Taste.inputs}


async def told(world: World) -> tuple[int, int]:
    """How many records the stores' topics have."""
    return len(world.topics.records(TASTE_STATE)), len(world.topics.records(PROFILES))


async def test_a_lost_partition_is_dropped_and_written_no_more() -> None:
    world = await World.of()
    await world.play([listen(PEOPLE[0], 0)])
    await world.run()
    await world.play([listen(PEOPLE[0], 1), listen(PEOPLE[1], 2)])
    await world.take(LISTENS)  # included in memory, and not written
    before = await told(world)

    assert await world.taste.resume(set(), 2) == {}

    await world.play([listen(PEOPLE[2], 3)])
    batch = world.topics.batch(LISTENS, 3, 10)
    assert batch is not None
    done: list[bool] = []
    await world.taste.take(batch, lambda: done.append(True))  # it was on its way
    await world.taste.checkpoint()
    assert await told(world) == before
    assert done == []
    assert world.taste._partitions == {}


async def test_its_successor_has_it_all_and_so_has_it_when_it_comes_back() -> None:
    world = await World.of()
    await world.play([listen(PEOPLE[0], 0)])
    await world.run()
    lost, kept = world.taste, dict(world.next)
    await world.play([listen(PEOPLE[0], 1)])
    await world.take(LISTENS)
    await lost.resume(set(), 2)

    await world.start()
    await world.run()
    await expect(world, dict(enumerate(world.played)))

    world.taste = lost  # two generations later it has the partition again
    world.next = dict(await lost.resume(PLACES, 4))
    assert world.next["listens", 0] == 2 > kept["listens", 0]
    await world.play([listen(PEOPLE[1], 2)])
    await world.run()
    await expect(world, dict(enumerate(world.played)))


async def test_state_is_kept_only_while_nobody_can_have_been_in_between() -> None:
    world = await World.of()
    await world.play([listen(PEOPLE[0], 0)])
    await world.run()
    for generation, kept in ((2, True), (2, True), (4, False), (5, True)):
        before = world.taste._partitions[0]
        await world.taste.resume(PLACES, generation)
        assert (world.taste._partitions[0] is before) is kept
