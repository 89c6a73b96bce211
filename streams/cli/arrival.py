"""Waits until everything sent has arrived: by the positions the workers report, never by time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from streams.topics import ANALYTICS_LISTENS, LISTENS, PLAYS

READS = {"taste": LISTENS.name, "report": ANALYTICS_LISTENS.name}
"""What each role takes of what the gate writes."""

_POLL_S = 0.1

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The samples of a worker's ``/metrics``."""

    samples: Mapping[tuple[str, Labels], float]

    def total(self, name: str) -> int:
        """Sum over all labels."""
        return int(sum(value for (each, _), value in self.samples.items() if each == name))

    def value(self, name: str) -> float:
        """The sample without labels; 0 if there is none."""
        return self.samples.get((name, ()), 0.0)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], int]:
        """Value by the named labels."""
        found: dict[tuple[str, ...], int] = {}
        for (each, pairs), value in self.samples.items():
            if each == name:
                key = tuple(dict(pairs)[label] for label in labels)
                found[key] = found.get(key, 0) + int(value)
        return found

    def offsets(self, name: str, topic: str) -> dict[int, int]:
        """Value by partition of ``topic``."""
        return {
            int(partition): value
            for (of, partition), value in self.by(name, "topic", "partition").items()
            if of == topic
        }


def parse(text: str) -> Page:
    """A page in Prometheus' text format."""
    return Page(
        {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


class Pages:
    """Health pages of the three workers."""

    def __init__(self, ports: Mapping[str, int], session: aiohttp.ClientSession) -> None:
        self._ports = ports
        self._session = session

    async def read(self, role: str) -> Page:
        """The worker's metrics; without samples while it does not answer yet."""
        return parse(await self.text(role))

    async def text(self, role: str) -> str:
        """The page as it is; empty while the worker does not answer yet."""
        url = f"http://127.0.0.1:{self._ports[role]}/metrics"
        with suppress(aiohttp.ClientError, OSError):
            async with self._session.get(url) as response:
                return await response.text()
        return ""

    async def arrived(
        self, sent: Mapping[int, int], moved: Callable[[str, int, int], None]
    ) -> None:
        """Return once all plays before ``sent`` (partition to offset) are in profiles and facts.

        ``moved`` gets role, records done and records to do, as they change.
        """
        await self._committed("gate", PLAYS.name, sent, moved)
        gate = await self.read("gate")
        await asyncio.gather(
            *(
                self._committed(role, topic, gate.offsets("sottovoce_written_offset", topic), moved)
                for role, topic in READS.items()
            )
        )

    async def _committed(
        self,
        role: str,
        topic: str,
        wanted: Mapping[int, int],
        moved: Callable[[str, int, int], None],
    ) -> None:
        goal = sum(wanted.values())
        while True:
            offsets = (await self.read(role)).offsets("sottovoce_committed_offset", topic)
            done = sum(min(offsets.get(number, 0), end) for number, end in wanted.items())
            moved(role, done, goal)
            if done >= goal:
                return
            await asyncio.sleep(_POLL_S)
