"""``python -m tests.load.scale``: what more workers gain, and what of it is theirs and Kafka's.

Real Apache Kafka, 16 partitions that hold plays. For each number of workers, on a Kafka of its own:
so many gates drain `plays`, then so many tastes drain `listens`; with one of each also a report.
The group waits for all of them before it begins, so that they begin together. Counted from there to
the commit behind the last record: CPU seconds of the workers and of Kafka's JVM, the machine's idle
share, bytes over Kafka's connections and on its disk, and memory. Prints a table and
writes ``var/load/scale.json``.

A program, not a test. All of it shares one machine, so events a second stop rising once its cores
are busy; what scaling out costs is what CPU seconds per million do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from streams.brokers.apache import ApacheBroker
from streams.brokers.process import free_port
from streams.cli import produce
from streams.cli.arrival import READS, Page, Pages
from streams.cli.processes import Workers
from streams.privacy import keys
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import ALL, PLAYS
from streams.transport.admin import create_topics
from streams.transport.reader import end_offsets, partition_reader

OUT = Path("var/load/scale.json")
JARS = Path("var/kafka")
INPUTS = {"gate": PLAYS.name, **READS}
GATHER_MS = 6_000
"""How long a group waits for one more member, after each."""
_POLL_S, _LONGEST_S = 0.25, 1_200.0
_TICKS = os.sysconf("SC_CLK_TCK")
_BYTES = re.compile(r"bytes_(?:acked|received):(\d+)")
err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Drain:
    """What so many workers of a role took for ``events`` records."""

    role: str
    workers: int
    events: int
    seconds: float
    worker_cpu_s: float
    broker_cpu_s: float
    idle_share: float
    network_mb: float
    peak_rss_mb: float
    """Of all workers together."""

    def per_million(self, cpu_s: float) -> float:
        """CPU seconds for a million records."""
        return cpu_s / self.events * 1e6


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters at one moment; they only rise."""

    at_s: float
    worker_cpu_s: float
    broker_cpu_s: float
    idle_s: float
    machine_s: float
    network_bytes: Mapping[str, int]
    """In and out, by connection; without those that are closed."""

    @classmethod
    async def take(cls, workers: Sequence[int], broker: ApacheBroker) -> Reading:
        """Of processes by id, of the machine, and of the connections that Kafka has now."""
        idle_s, machine_s = _machine_s()
        return cls(
            time.monotonic(),
            sum(map(_cpu_s, workers)),
            sum(map(_cpu_s, _descendants(_guard(broker)))),
            idle_s,
            machine_s,
            await _network(broker.port),
        )


def _machine_s() -> tuple[float, float]:
    """Seconds that the machine's cores were idle, and all of theirs."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (ticks[3] + ticks[4]) / _TICKS, sum(ticks[:8]) / _TICKS


def _guard(broker: ApacheBroker) -> int:
    assert broker._process is not None
    return broker._process.pid


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    return sum(map(int, _stat(pid)[11:13])) / _TICKS


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _descendants(int(child)))]


def _peak_mb(pid: int) -> float:
    return int(_status(pid)["VmHWM"].split()[0]) / 1024


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


async def _network(port: int) -> dict[str, int]:
    """Bytes in and out over the connections to a port; none where there is no ``ss``."""
    try:
        process = await asyncio.create_subprocess_exec(
            "ss", "-tinHO", f"sport = :{port}", stdout=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        return {}
    lines = (await process.communicate())[0].decode().splitlines()
    return {line.split()[4]: sum(map(int, _BYTES.findall(line))) for line in lines}


async def drain(
    settings: Settings, broker: ApacheBroker, role: str, count: int, events: int
) -> tuple[Drain, list[Page]]:
    """Let ``count`` workers drain their topic; also their pages at the end.

    Raises:
        TimeoutError: they have not after `_LONGEST_S`.
    """
    ports = {f"{role} {number}": free_port() for number in range(count)}
    environment = {"SOTTOVOCE_BROKERS": settings.brokers, "SOTTOVOCE_DATA": str(settings.data)}
    own = {"SOTTOVOCE_KEY_FILE": str(settings.key_file)} if role == "gate" else {}
    async with aiohttp.ClientSession() as session, Workers(environment) as workers:
        pages = Pages(ports, session)
        for name, port in ports.items():
            await workers.start(role, port, settings.data / f"{name}.log", own)
        pids = [worker.process.pid for worker in workers.running]
        async with asyncio.timeout(_LONGEST_S):
            found: list[Page] = []
            while not any(page.by("sottovoce_batch_records_count", "topic") for page in found):
                begin = await Reading.take(pids, broker)
                await asyncio.sleep(_POLL_S)
                found = [await pages.read(name) for name in ports]
            while sum(furthest(found, "sottovoce_committed_offset", INPUTS[role])) < events:
                await asyncio.sleep(_POLL_S)
                found = [await pages.read(name) for name in ports]
        end = await Reading.take(pids, broker)
        peak_mb = sum(map(_peak_mb, pids))
    drained = _difference(begin, end, role, count, events, peak_mb)
    cpu_s = drained.per_million(drained.worker_cpu_s)
    err.print(f"{count} {role}: {events / drained.seconds:,.0f}/s, {cpu_s:.1f} CPU s per million")
    return drained, found


def furthest(pages: Sequence[Page], metric: str, topic: str) -> list[int]:
    """The highest offset that any of the workers has of each partition of ``topic``."""
    found: dict[int, int] = {}
    for page in pages:
        for number, offset in page.offsets(metric, topic).items():
            found[number] = max(offset, found.get(number, 0))
    return list(found.values())


def _difference(
    begin: Reading, end: Reading, role: str, count: int, events: int, peak_mb: float
) -> Drain:
    network = sum(
        each - begin.network_bytes.get(peer, 0) for peer, each in end.network_bytes.items()
    )
    return Drain(
        role,
        count,
        events,
        round(end.at_s - begin.at_s, 2),
        round(end.worker_cpu_s - begin.worker_cpu_s, 2),
        round(end.broker_cpu_s - begin.broker_cpu_s, 2),
        round((end.idle_s - begin.idle_s) / (end.machine_s - begin.machine_s), 3),
        round(network / 1e6, 1),
        round(peak_mb),
    )


@asynccontextmanager
async def filled(
    options: argparse.Namespace, folder: Path
) -> AsyncIterator[tuple[Settings, ApacheBroker]]:
    """A Kafka whose `plays` are full, evenly over all partitions."""
    async with ApacheBroker(JARS, {"group.initial.rebalance.delay.ms": str(GATHER_MS)}) as broker:
        settings = load(
            brokers=broker.address,
            data=folder,
            key_file=folder / "key.hex",
            partitions=options.partitions,
        )
        settings.data.mkdir()
        keys.create(folder / "key.hex")
        await create_topics(settings.kafka, ALL, settings.partitions, 1)
        plays = Simulation(end=date(2026, 6, 1), listeners=options.listeners, plays=options.plays)
        await produce.send_catalogue(settings, plays.catalogue())
        await produce.send_plays(settings, plays.chunks(), lambda _: None)
        yield settings, broker


async def stored(settings: Settings, broker: ApacheBroker) -> dict[str, dict[str, float]]:
    """By topic that holds any: records, and bytes of each on disk, without indexes."""
    assert broker._folder is not None
    found = {}
    async with partition_reader(settings.kafka) as reader:
        for topic in ALL:
            files = (broker._folder / "data").glob(f"{topic.name}-[0-9]*/*.log")
            records = sum((await end_offsets(reader, topic.name)).values())
            if records:
                size = sum(file.stat().st_size for file in files)
                found[topic.name] = {"records": records, "bytes": round(size / records, 1)}
    return found


async def measure(
    options: argparse.Namespace, folder: Path
) -> tuple[list[Drain], dict[str, dict[str, float]]]:
    """All numbers of workers; also what is on disk after the last."""
    found, disk = [], {}
    for count in options.workers:
        async with filled(options, folder / str(count)) as (settings, broker):
            err.print(f"{options.plays:,} plays are there, {count} of each role follow")
            drained, pages = await drain(settings, broker, "gate", count, options.plays)
            found.append(drained)
            for role, topic in READS.items():
                if role == "report" and count > 1:
                    continue  # one writes a warehouse
                listens = sum(furthest(pages, "sottovoce_written_offset", topic))
                drained, _ = await drain(settings, broker, role, count, listens)
                found.append(drained)
            disk = await stored(settings, broker)
    return found, disk


def shown(found: Sequence[Drain]) -> Table:
    """The table, by role and number of workers."""
    columns = (
        "role", "workers", "events", "events/s", "CPU s per million: workers", "Kafka",
        "machine idle", "network MB", "peak RSS MB, all",
    )  # fmt: skip
    table = Table(*columns, box=None)
    for each in sorted(found, key=lambda each: (list(INPUTS).index(each.role), each.workers)):
        table.add_row(
            each.role,
            str(each.workers),
            f"{each.events:,}",
            f"{each.events / each.seconds:,.0f}",
            f"{each.per_million(each.worker_cpu_s):.1f}",
            f"{each.per_million(each.broker_cpu_s):.1f}",
            f"{each.idle_share:.0%}",
            f"{each.network_mb:,.0f}",
            f"{each.peak_rss_mb:,.0f}",
        )
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.scale")
    parser.add_argument("--plays", type=int, default=1_000_000)
    parser.add_argument("--listeners", type=int, default=50_000)
    parser.add_argument("--partitions", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="of each role")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sottovoce-scale-") as folder:
        found, disk = asyncio.run(measure(options, Path(folder)))
    Console().print(shown(found))
    for topic, each in disk.items():
        Console().print(f"{topic}: {each['records']:,} records of {each['bytes']:g} bytes")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    load_1, _, _ = os.getloadavg()
    written = {
        "options": vars(options),
        "load": round(load_1, 1),
        "drains": [asdict(each) for each in found],
        "disk": disk,
    }
    OUT.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
