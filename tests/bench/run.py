"""``make bench``: each role, the whole path and the peers, side by side on one broker.

Lets each role drain simulated plays alone from a full topic, then each peer as many as it takes in
a minute, then all three roles together. Prints a table and writes
``var/bench/results.json``: a list of {name, role, events, events_per_s, cpu_s_per_million,
peak_rss_mb, guarantee}. Drained means from the first batch to the commit behind the last: output
written and acknowledged, checkpoints on.

A program, not a test: a busy machine changes its numbers, so compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import aiohttp
from rich.console import Console

from streams import topics
from streams.brokers.process import free_port
from streams.cli import produce
from streams.cli.arrival import READS, Page, Pages
from streams.cli.choose import local_broker
from streams.cli.processes import Workers
from streams.privacy import keys
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import PLAYS
from streams.transport.admin import create_topics
from tests.bench import results
from tests.bench.peers import harness
from tests.bench.peers.harness import EMIT_EVERY_S, Peer
from tests.bench.results import Result

ROLES = {"gate": PLAYS.name, **READS}
POLL_S = 0.1
PIPED_WIDTH = 160
GUARANTEE = "exactly once by position, state in checkpoints"
err = Console(stderr=True)


@dataclass(slots=True)
class Drain:
    """Samples of a worker's page while it drains ``events`` records."""

    events: int
    began: tuple[float, float] | None = None
    ended: tuple[float, float] | None = None
    peak_bytes: float = 0.0

    def sample(self, page: Page, topic: str) -> bool:
        """Take a sample; True once everything is committed."""
        done = sum(page.offsets("sottovoce_committed_offset", topic).values())
        cpu_s = page.value("process_cpu_seconds_total")
        self.peak_bytes = max(self.peak_bytes, page.value("process_resident_memory_bytes"))
        if not page.samples:
            return False
        if not page.by("sottovoce_batch_records_count", "topic").get((topic,)):
            self.began = time.monotonic(), cpu_s
        if done >= self.events:
            self.ended = time.monotonic(), cpu_s
        return self.ended is not None

    def result(self, name: str, role: str) -> Result:
        """Rates between the last sample before the first batch and the first with all done."""
        assert self.began is not None
        assert self.ended is not None
        seconds, cpu_s = (end - start for start, end in zip(self.began, self.ended, strict=True))
        peak_mb = self.peak_bytes / 2**20
        return Result.of(name, role, self.events, seconds, cpu_s, peak_mb, GUARANTEE)


async def drain(pages: Pages, role: str, events: int) -> Result:
    """Follow a worker until it has committed ``events`` records."""
    watched = Drain(events)
    while not watched.sample(await pages.read(role), ROLES[role]):
        await asyncio.sleep(POLL_S)
    return watched.result(role, role)


async def role_alone(settings: Settings, role: str, events: int) -> tuple[Result, Page]:
    """One worker on a full topic; also its metrics at the end."""
    err.print(f"{role}: {events:,} records")
    port = free_port()
    async with aiohttp.ClientSession() as session, Workers(environment(settings)) as workers:
        pages = Pages({role: port}, session)
        await workers.start(role, port, settings.data / f"{role}.log", key(settings))
        result = await drain(pages, role, events)
        return result, await pages.read(role)


async def whole_path(settings: Settings, sent: Mapping[int, int]) -> Result:
    """All three workers at once on a full `plays`: until profiles and facts have everything."""
    ports = {role: free_port() for role in ROLES}
    events = sum(sent.values())
    err.print(f"whole path: {events:,} plays")
    async with aiohttp.ClientSession() as session, Workers(environment(settings)) as workers:
        pages = Pages(ports, session)
        for role in ("taste", "report", "gate"):
            await workers.start(role, ports[role], settings.data / f"{role}.log", key(settings))
        while not (await pages.read("gate")).offsets("sottovoce_committed_offset", PLAYS.name):
            await asyncio.sleep(POLL_S)
        before = time.monotonic(), await _cpu_s(pages)
        await pages.arrived(sent, lambda *_: None)
        seconds, cpu_s = time.monotonic() - before[0], await _cpu_s(pages) - before[1]
        memory = [(await pages.read(role)).value("process_resident_memory_bytes") for role in ROLES]
        peak_mb = sum(memory) / 2**20
        return Result.of("whole-path", "all", events, seconds, cpu_s, peak_mb, GUARANTEE)


async def _cpu_s(pages: Pages) -> float:
    return sum([(await pages.read(role)).value("process_cpu_seconds_total") for role in ROLES])


def environment(settings: Settings) -> dict[str, str]:
    """What the workers need to know, the key apart."""
    return {
        "SOTTOVOCE_BROKERS": settings.brokers,
        "SOTTOVOCE_DATA": str(settings.data),
        "SOTTOVOCE_IDEMPOTENCE": str(settings.idempotence),
        "SOTTOVOCE_SESSION_TIMEOUT_S": "6",
        "SOTTOVOCE_CHECKPOINT_S": str(EMIT_EVERY_S),
        "SOTTOVOCE_RELEASE_S": "86400",
    }


def key(settings: Settings) -> dict[str, str]:
    """The key, where the settings have one."""
    return {"SOTTOVOCE_KEY_FILE": str(settings.key_file)}


async def run(args: argparse.Namespace, peers: Sequence[Peer], folder: Path) -> list[Result]:
    """All measurements, in order: the roles alone with the peers, the gate with profiles and no
    reporting, then the whole path."""
    keys.create(folder / "key.hex")
    found = []
    async with prepared(args, folder, "alone") as (settings, sent):
        result, gate = await role_alone(settings, "gate", sent.plays)
        found.append(result)
        for role, topic in READS.items():
            listens = sum(gate.offsets("sottovoce_written_offset", topic).values())
            result, _ = await role_alone(settings, role, listens)
            found.append(result)
        found += await harness.measure(settings, peers, simulation(args))
    async with prepared(args, folder, "profiles", ["personalization"]) as (settings, sent):
        result, _ = await role_alone(settings, "gate", sent.plays)
        found.insert(1, replace(result, name="gate, profiles only"))
    async with prepared(args, folder, "together") as (settings, sent):
        found.append(await whole_path(settings, sent.ends))
    return found


def simulation(args: argparse.Namespace) -> Simulation:
    """The plays that the arguments ask for."""
    return Simulation(
        end=date(2026, 1, 1), listeners=args.listeners, days=28, plays=args.plays, seed=1
    )


@asynccontextmanager
async def prepared(
    args: argparse.Namespace,
    folder: Path,
    name: str,
    grant: Sequence[str] = produce.OWN_PURPOSES,
) -> AsyncIterator[tuple[Settings, produce.Sent]]:
    """A broker that holds plays of people who consent to ``grant``, and settings for workers."""
    plays = simulation(args)
    async with local_broker(apache=not args.embedded) as broker:
        settings = load(
            brokers=broker.address,
            data=folder / name,
            key_file=folder / "key.hex",
            idempotence=not args.embedded,
        )
        settings.data.mkdir()
        await create_topics(settings.kafka, topics.ALL, settings.partitions, 1)
        await produce.send_catalogue(settings, plays.catalogue())
        err.print(f"{args.plays:,} plays of {args.listeners:,} listeners, {broker.name}, {name}")
        yield (
            settings,
            await produce.send_plays(settings, plays.chunks(), lambda _: None, grant=grant),
        )


def main() -> None:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plays", type=int, default=1_000_000)
    parser.add_argument("--listeners", type=int, default=50_000)
    parser.add_argument("--peers", default="all", metavar="A,B", help="which; `none`: no peers")
    parser.add_argument(
        "--peer-scale",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="times the plays that each peer gets by default, at most --plays",
    )
    parser.add_argument("--embedded", action="store_true", help="not on Apache Kafka")
    args = parser.parse_args()
    try:
        peers = list(harness.sized(harness.chosen(args.peers), args.peer_scale, args.plays))
    except ValueError as error:
        parser.error(str(error))
    os.environ["RUST_BACKTRACE"] = "0"
    with tempfile.TemporaryDirectory(prefix="sottovoce-bench-") as folder:
        found = asyncio.run(run(args, peers, Path(folder)))
    results.write(found)
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(results.table(found))
    err.print(f"{results.OUT}")


if __name__ == "__main__":
    main()
