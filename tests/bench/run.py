"""``make bench``: each role, the whole path and a plain Faust agent, side by side on one broker.

Generates its plays once per run, lets each role drain them alone from a full topic, then all three
together, then the peer on the same plays. Prints a table and writes ``var/bench/results.json``: a
list of {name, role, events, events_per_s, cpu_s_per_million, peak_rss_mb}. Drained means from the
first batch to the commit behind the last: output written and acknowledged, checkpoints on.

A program, not a test: a busy machine changes its numbers, so compare within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from streams import topics
from streams.brokers.process import free_port
from streams.cli import produce
from streams.cli.arrival import READS, Page, Pages
from streams.cli.choose import local_broker
from streams.cli.processes import Workers
from streams.privacy import keys
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import PLAYS, Topic, Zone
from streams.transport.admin import create_topics

OUT = Path("var/bench/results.json")
ROLES = {"gate": PLAYS.name, **READS}
POLL_S = 0.1
EMIT_EVERY_S = 5.0
"""Changed profiles go out this often, ours and the peer's."""
PEER_PROFILES = Topic("bench-profiles", Zone.PUBLISHED, "", "listener", "profiles of the peer")
err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement."""

    name: str
    role: str
    events: int
    events_per_s: float
    cpu_s_per_million: float
    peak_rss_mb: float


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
        return Result(
            name,
            role,
            self.events,
            round(self.events / seconds),
            round(cpu_s / self.events * 1e6, 2),
            round(self.peak_bytes / 2**20),
        )


async def drain(pages: Pages, role: str, events: int) -> Result:
    """Follow a worker until it has committed ``events`` records."""
    watched = Drain(events)
    while not watched.sample(await pages.read(role), ROLES[role]):
        await asyncio.sleep(POLL_S)
    return watched.result(role, role)


async def role_alone(settings: Settings, role: str, events: int) -> tuple[Result, Page]:
    """One worker on a full topic; also its metrics at the end."""
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
        return Result(
            "whole-path",
            "all",
            events,
            round(events / seconds),
            round(cpu_s / events * 1e6, 2),
            round(sum(memory) / 2**20),
        )


async def _cpu_s(pages: Pages) -> float:
    return sum([(await pages.read(role)).value("process_cpu_seconds_total") for role in ROLES])


async def faust_table(settings: Settings, events: int) -> Result:
    """The plain Faust agent."""
    out = settings.data / "faust-table.json"
    peer = Path(__file__).with_name("peer_faust_table.py")
    with (settings.data / "faust-table.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(peer),
            settings.brokers,
            str(out),
            str(events),
            str(EMIT_EVERY_S),
            stderr=log,
            stdout=log,
        )
        await process.wait()
    measured = json.loads(out.read_text())
    return Result(
        "faust-table",
        "gate+taste",
        events,
        round(events / measured["seconds"]),
        round(measured["cpu_s"] / events * 1e6, 2),
        round(measured["peak_rss_mb"]),
    )


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


async def run(args: argparse.Namespace, folder: Path) -> list[Result]:
    """All measurements, in order: the roles alone with the peer, the gate with what the peer does
    (profiles and no reporting), then the whole path."""
    keys.create(folder / "key.hex")
    results = []
    async with prepared(args, folder, "alone") as (settings, sent):
        result, gate = await role_alone(settings, "gate", sent.plays)
        results.append(result)
        for role, topic in READS.items():
            listens = sum(gate.offsets("sottovoce_written_offset", topic).values())
            result, _ = await role_alone(settings, role, listens)
            results.append(result)
        results.append(await faust_table(settings, args.peer_plays))
    async with prepared(args, folder, "profiles", ["personalization"]) as (settings, sent):
        result, _ = await role_alone(settings, "gate", sent.plays)
        results.insert(1, replace(result, name="gate, profiles only"))
    async with prepared(args, folder, "together") as (settings, sent):
        results.append(await whole_path(settings, sent.ends))
    return results


@asynccontextmanager
async def prepared(
    args: argparse.Namespace,
    folder: Path,
    name: str,
    grant: Sequence[str] = produce.OWN_PURPOSES,
) -> AsyncIterator[tuple[Settings, produce.Sent]]:
    """A broker that holds plays of people who consent to ``grant``, and settings for workers."""
    simulation = Simulation(
        end=date(2026, 1, 1), listeners=args.listeners, days=28, plays=args.plays, seed=1
    )
    async with local_broker(apache=not args.embedded) as broker:
        settings = load(
            brokers=broker.address,
            data=folder / name,
            key_file=folder / "key.hex",
            idempotence=not args.embedded,
        )
        settings.data.mkdir()
        wanted = (*topics.ALL, PEER_PROFILES)
        await create_topics(settings.kafka, wanted, settings.partitions, 1)
        await produce.send_catalogue(settings, simulation.catalogue())
        err.print(f"{args.plays:,} plays of {args.listeners:,} listeners, {broker.name}, {name}")
        yield (
            settings,
            await produce.send_plays(settings, simulation.chunks(), lambda _: None, grant=grant),
        )


def table(results: list[Result]) -> Table:
    """For a terminal."""
    shown = Table(
        "name", "role", "events", "events/s", "CPU s per million", "peak RSS MB", box=None
    )
    for column in shown.columns[2:]:
        column.justify = "right"
    for each in results:
        shown.add_row(
            each.name,
            each.role,
            f"{each.events:,}",
            f"{each.events_per_s:,.0f}",
            f"{each.cpu_s_per_million:,.1f}",
            f"{each.peak_rss_mb:,.0f}",
        )
    return shown


def main() -> None:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--plays", type=int, default=1_000_000)
    parser.add_argument("--listeners", type=int, default=50_000)
    parser.add_argument("--peer-plays", type=int, default=30_000)
    parser.add_argument("--embedded", action="store_true", help="not on Apache Kafka")
    args = parser.parse_args()
    os.environ["RUST_BACKTRACE"] = "0"
    with tempfile.TemporaryDirectory(prefix="sottovoce-bench-") as folder:
        results = asyncio.run(run(args, Path(folder)))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps([asdict(each) for each in results], indent=2) + "\n")
    Console().print(table(results))
    err.print(f"{OUT}")


if __name__ == "__main__":
    main()
