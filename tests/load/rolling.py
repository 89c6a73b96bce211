"""``python -m tests.load.rolling``: the longest pause of each partition while all workers restart.

Real Apache Kafka, two gates and two tastes on 8 partitions, plays at a steady rate into each. Then
every worker in turn is stopped with SIGTERM and started again; the next follows once it is ready.
A pause of a partition is the time between two commits of its group that were seen (the broker is
asked 20 times a second); what it is without any restart is measured first. Both ways are tried: as
members that come and go, and as static members (``SOTTOVOCE_INSTANCE``). Prints a table and writes
``var/load/rolling.json``.

A program, not a test: the times are those of the machine and what else runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from streams.brokers.process import free_port
from streams.cli.processes import Worker, Workers
from streams.privacy import keys, policy
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import LISTENS, PLAYS
from streams.transport.admin import admin_client, create_topics
from streams.transport.producer import open_producer, send_records
from tests.brokers.cluster import Cluster
from tests.load.flood import prepare

OUT = Path("var/load/rolling.json")
JARS = Path("var/kafka")
LIMIT_S = 5.0
"""No pause may be longer."""
GROUPS = {"gate": PLAYS.name, "taste": LISTENS.name}
WORKERS = [(role, number) for role in GROUPS for number in range(2)]
_SLICE_S, _ASK_S, _READY_S = 0.1, 0.05, 60.0
err = Console(stderr=True)
Pauses = dict[tuple[str, int], float]


@dataclass(slots=True)
class Way:
    """What one way of restarting came to; times in seconds."""

    name: str
    undisturbed_s: dict[str, float] = field(default_factory=dict)
    pause_s: dict[str, list[float]] = field(default_factory=dict)
    restart_s: dict[str, float] = field(default_factory=dict)
    stop_s: dict[str, float] = field(default_factory=dict)


class Commits:
    """When each partition of each group was last seen to commit something new, and the pauses."""

    def __init__(self) -> None:
        self._moved: dict[tuple[str, int], tuple[int, float]] = {}
        self.pauses: Pauses = {}

    async def watch(self, admin: AIOKafkaAdminClient) -> None:
        """Ask until cancelled."""
        while True:
            due = time.monotonic() + _ASK_S
            for role, topic in GROUPS.items():
                try:
                    offsets = await admin.list_consumer_group_offsets(f"sottovoce-{role}")
                except KafkaError:
                    continue
                for tp, each in offsets.items():
                    if tp.topic == topic:
                        self.note((role, tp.partition), each.offset, time.monotonic())
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def note(self, place: tuple[str, int], offset: int, now: float) -> None:
        """Take in where a partition's group is."""
        before, at = self._moved.get(place, (-1, now))
        if offset > before:
            self._moved[place] = offset, now
        self.pauses[place] = max(self.pauses.get(place, 0.0), now - at)

    def of(self, role: str) -> list[float]:
        """The longest pause of each partition since `reset`."""
        return [round(self.pauses[place], 2) for place in sorted(self.pauses) if place[0] == role]

    def reset(self) -> None:
        """Forget pauses; how long the last commit is ago stays known."""
        self.pauses.clear()


@dataclass(slots=True)
class Group:
    """The workers of all roles, by role and number."""

    workers: Workers
    folder: Path
    static: bool
    ports: dict[tuple[str, int], int] = field(default_factory=dict)
    running: dict[tuple[str, int], Worker] = field(default_factory=dict)

    async def start(self, role: str, number: int) -> None:
        """Start one, and wait until it is ready."""
        port = self.ports.setdefault((role, number), free_port())
        own = {"SOTTOVOCE_INSTANCE": f"{role}-{number}"} if self.static else {}
        if role == "gate":
            own["SOTTOVOCE_KEY_FILE"] = str(self.folder / "key.hex")
        log = self.folder / f"{role}-{number}.log"
        self.running[role, number] = await self.workers.start(role, port, log, own)
        async with asyncio.timeout(_READY_S), aiohttp.ClientSession() as session:
            while not await _ready(session, port):
                await asyncio.sleep(_ASK_S)

    async def stop(self, role: str, number: int) -> None:
        """SIGTERM, and wait until it is gone."""
        worker = self.running.pop((role, number))
        worker.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(worker.process.wait(), _READY_S)
        self.workers.running.remove(worker)
        if code:
            raise SystemExit(f"{role} {number} ended with code {code}: {worker.log}")


async def _ready(session: aiohttp.ClientSession, port: int) -> bool:
    try:
        async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False


async def flow(settings: Settings, values: list[bytes], rate: int) -> None:
    """Send ``rate`` plays a second, evenly over all partitions, until cancelled."""
    share = max(1, round(rate * _SLICE_S / settings.partitions))
    async with open_producer(settings.kafka, idempotent=True) as producer:
        sent = 0
        while True:
            due = time.monotonic() + _SLICE_S
            for partition in range(settings.partitions):
                part = [values[(sent + each) % len(values)] for each in range(share)]
                await send_records(producer, PLAYS.name, partition, [None] * share, part)
                sent += share
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def roll(way: Way, group: Group, commits: Commits, calm_s: float) -> None:
    """Measure without, then with a restart of every worker."""
    for role, number in WORKERS:
        await group.start(role, number)
    await asyncio.sleep(calm_s)
    commits.reset()
    await asyncio.sleep(calm_s)
    way.undisturbed_s = {role: max(commits.of(role)) for role in GROUPS}
    commits.reset()
    for role, number in WORKERS:
        began = time.monotonic()
        await group.stop(role, number)
        stopped = time.monotonic()
        await group.start(role, number)
        way.stop_s[f"{role}-{number}"] = round(stopped - began, 2)
        way.restart_s[f"{role}-{number}"] = round(time.monotonic() - began, 2)
        err.print(f"{role} {number} restarted, {way.name}: {max(commits.of(role)):.1f} s")
        await asyncio.sleep(calm_s)
    way.pause_s = {role: commits.of(role) for role in GROUPS}


@asynccontextmanager
async def flowing(
    folder: Path, static: bool, cluster: Cluster, options: argparse.Namespace
) -> AsyncIterator[tuple[Group, Commits]]:
    """Topics and plays that flow; no worker yet."""
    keys.create(folder / "key.hex")
    common = {"partitions": options.partitions, "replication": min(3, options.nodes)}
    settings = load(brokers=cluster.address, data=folder, key_file=folder / "key.hex", **common)
    await create_topics(
        settings.kafka,
        policy.topics(policy.load(settings.policy)),
        settings.partitions,
        settings.replication,
    )
    simulation = Simulation(end=date(2026, 6, 1), listeners=options.listeners, plays=20_000)
    flood = await prepare(settings, simulation)
    environment = {
        "SOTTOVOCE_BROKERS": cluster.address,
        "SOTTOVOCE_DATA": str(folder),
        "SOTTOVOCE_CHECKPOINT_S": str(options.checkpoint_s),
        "SOTTOVOCE_DUPLICATE_HORIZON": "0",  # the same plays come again and again, and count
        "SOTTOVOCE_SESSION_TIMEOUT_S": "45" if static else "10",
    }
    commits = Commits()
    async with Workers(environment) as workers, admin_client(settings.kafka) as admin:
        tasks = [
            asyncio.create_task(flow(settings, flood.values, options.rate)),
            asyncio.create_task(commits.watch(admin)),
        ]
        try:
            yield Group(workers, folder, static), commits
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def shown(ways: list[Way]) -> Table:
    """The table."""
    table = Table(title="Longest pause between two commits of a partition, seconds")
    for column in ("members", "role", "undisturbed", "rolling restart", "stop", "stop to ready"):
        table.add_column(column)
    for way in ways:
        for role in GROUPS:
            of_role = [name for name in way.restart_s if name.startswith(role)]
            table.add_row(
                way.name,
                role,
                f"{way.undisturbed_s[role]:.1f}",
                " ".join(f"{each:.1f}" for each in way.pause_s[role]),
                " ".join(f"{way.stop_s[name]:.1f}" for name in of_role),
                " ".join(f"{way.restart_s[name]:.1f}" for name in of_role),
            )
    return table


async def measure(options: argparse.Namespace) -> list[Way]:
    """Both ways, each on a fresh Kafka."""
    ways = []
    for name in options.ways:
        way = Way(name)
        with tempfile.TemporaryDirectory(prefix="sottovoce-rolling-") as folder:
            async with Cluster(JARS, options.nodes) as cluster:
                static = name == "static"
                async with flowing(Path(folder), static, cluster, options) as (group, commits):
                    await roll(way, group, commits, options.calm_s)
        ways.append(way)
    return ways


def written(ways: list[Way], options: argparse.Namespace) -> Mapping[str, object]:
    """What goes into the file."""
    load_1, _, _ = os.getloadavg()
    return {"options": vars(options), "load": round(load_1, 1), "ways": [asdict(x) for x in ways]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.rolling")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--rate", type=int, default=800, help="plays a second")
    parser.add_argument("--listeners", type=int, default=2_000)
    parser.add_argument("--nodes", type=int, default=1, help="of Kafka")
    parser.add_argument("--checkpoint-s", type=float, default=1.0)
    parser.add_argument("--calm-s", type=float, default=8.0, help="between two restarts")
    parser.add_argument("--ways", nargs="+", default=["dynamic", "static"])
    options = parser.parse_args()
    ways = asyncio.run(measure(options))
    Console().print(shown(ways))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(written(ways, options), indent=1) + "\n")
    longest = max(pause for way in ways for pauses in way.pause_s.values() for pause in pauses)
    sys.exit(f"A pause of {longest:.1f} s is over {LIMIT_S:g} s." if longest > LIMIT_S else 0)


if __name__ == "__main__":
    main()
