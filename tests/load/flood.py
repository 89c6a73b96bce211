"""Plays made beforehand and sent at a rate that changes, with the counts that must come of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streams.app.roles import open_codecs
from streams.cli import produce
from streams.settings import Settings
from streams.sources.play import Play
from streams.sources.simulate import Simulation
from streams.topics import CONSENT, PLAYS
from streams.transport.producer import open_producer, partitions_of, send_records

_SLICE_S = 0.1

Event = tuple[str, str, str]
"""User, artist and id."""


def event_of(play: Play) -> Event | None:
    """What counts of a play; None for a private session."""
    if play["private_session"]:
        return None
    return play["user_id"], play["artist"]["name"], play["event_id"]


def count(events: Iterable[Event | None]) -> Counter[tuple[str, str]]:
    """Plays by user and artist: an event counts once, however often it was sent."""
    once = {each for each in events if each is not None}
    return Counter((user, artist) for user, artist, _ in once)


@dataclass(slots=True)
class Flood:
    """Encoded plays, so that sending takes next to no time, and the event of each."""

    values: list[bytes] = field(default_factory=list)
    events: list[Event | None] = field(default_factory=list)
    listeners: int = 0
    sent: int = 0
    ends: dict[int, int] = field(default_factory=dict)

    def expected(self) -> Counter[tuple[str, str]]:
        """Plays by user and artist, of what was sent."""
        return count(self.events[: self.sent])

    async def send(self, settings: Settings, rate: Callable[[], float]) -> None:
        """Send to one partition after another, ``rate()`` plays a second, until that is 0.

        What a broker that does not answer kept from being sent is not caught up with.
        """
        async with open_producer(settings.kafka, idempotent=settings.idempotence) as producer:
            partitions = await partitions_of(producer, PLAYS.name)
            number = 0
            while (now := rate()) and self.sent < len(self.values):
                due = time.monotonic() + _SLICE_S
                values = self.values[self.sent : self.sent + max(1, round(now * _SLICE_S))]
                partition = partitions[number % len(partitions)]
                self.ends[partition] = await send_records(
                    producer, PLAYS.name, partition, [None] * len(values), values
                )
                self.sent += len(values)
                number += 1
                await asyncio.sleep(max(0.0, due - time.monotonic()))


async def prepare(settings: Settings, simulation: Simulation) -> Flood:
    """Encode a simulation's plays; send its catalogue and the consent of all its listeners."""
    flood, users = Flood(), set()
    await produce.send_catalogue(settings, simulation.catalogue())
    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        encoder = await codecs.records(PLAYS)
        for chunk in simulation.chunks():
            flood.values += encoder.encode(chunk)
            for play in chunk:
                users.add(play["user_id"])
                flood.events.append(event_of(play))
            await asyncio.sleep(0)
        granting = produce.Granting(await codecs.records(CONSENT), producer, produce.OWN_PURPOSES)
        await granting.send(users)
    flood.listeners = len(users)
    return flood
