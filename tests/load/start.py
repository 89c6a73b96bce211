"""``python -m tests.load.start``: how long a worker takes to its first batch, and for what.

Real Apache Kafka with plays, listens and states of earlier rounds. In every round plays are added,
and a gate, then a taste, then a report worker is started as a process, traced by
`tests.load.traced` until its first commit, and stopped with SIGTERM. A group without members waits
for ``group.initial.rebalance.delay.ms`` of the broker, 3,000 by default: measured apart, in one
more round on a Kafka that has it. Prints medians by stage, and what stopping takes; writes
``var/load/start.json``.

A program, not a test: the times are those of the machine and what else runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from streams.brokers.apache import ApacheBroker
from streams.brokers.process import free_port
from streams.cli.processes import Worker, Workers
from streams.privacy import keys
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import ALL, PLAYS
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from tests.load.flood import Flood, prepare
from tests.load.traced import COMMITTED, FIRST_BATCH

OUT = Path("var/load/start.json")
JARS = Path("var/kafka")
ROLES = ("gate", "taste", "report")
LIMIT_S = 3.0
"""What a first batch is held against."""
DELAY = "group.initial.rebalance.delay.ms"
WAITS_MS = 3_000
"""Kafka's default of it."""
_LOOK_S, _CALM_S, _LONGEST_S = 0.02, 1.0, 60.0
err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a worker got; seconds since it was started or told to stop, and of CPU until there."""

    name: str
    at_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Life:
    """A worker that was started and stopped."""

    role: str
    start: list[Mark]
    stop: list[Mark]
    stop_s: float

    def at(self, name: str) -> float:
        """When it got there, seconds since it was started."""
        return next(mark.at_s for mark in self.start if mark.name == name)


async def live(workers: Workers, role: str, settings: Settings, number: int) -> Life:
    """Start a worker, wait for its first commit, and stop it.

    Raises:
        TimeoutError: it committed nothing within `_LONGEST_S`.
    """
    marks = settings.data / f"{role}-{number}.jsonl"
    marks.touch()
    own = {"TRACED_MARKS": str(marks)}
    if role == "gate":
        own["SOTTOVOCE_KEY_FILE"] = str(settings.key_file)
    began = time.monotonic()
    log = settings.data / f"{role}-{number}.log"
    worker = await workers.start(role, free_port(), log, own, ("tests.load.traced",))
    async with asyncio.timeout(_LONGEST_S):
        while all(mark.name != COMMITTED for mark in _read(marks, began)):
            await asyncio.sleep(_LOOK_S)
    await asyncio.sleep(_CALM_S)
    told = time.monotonic()
    await _stopped(worker)
    ended = time.monotonic()
    workers.running.remove(worker)
    start = [mark for mark in _read(marks, began) if mark.at_s < told - began]
    stop = [mark for mark in _read(marks, told) if mark.at_s > 0]
    return Life(role, start, stop, ended - told)


async def _stopped(worker: Worker) -> None:
    worker.process.send_signal(signal.SIGTERM)
    code = await asyncio.wait_for(worker.process.wait(), _LONGEST_S)
    if code:
        raise SystemExit(f"{worker.role} ended with code {code}: {worker.log}")


def _read(file: Path, began: float) -> list[Mark]:
    lines = file.read_text("utf-8").splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return [Mark(name, round(at - began, 3), round(cpu_s, 3)) for name, at, cpu_s in rows]


async def rounds(options: argparse.Namespace, delay_ms: int, count: int) -> list[Life]:
    """So many rounds on a Kafka of their own, after one that is not counted."""
    lives = []
    with tempfile.TemporaryDirectory(prefix="sottovoce-start-") as name:
        folder = Path(name)
        keys.create(folder / "key.hex")
        async with ApacheBroker(JARS, {DELAY: str(delay_ms)}) as broker:
            settings = load(
                brokers=broker.address,
                data=folder,
                key_file=folder / "key.hex",
                partitions=options.partitions,
            )
            await create_topics(settings.kafka, ALL, settings.partitions, 1)
            plays = options.plays * (count + 1)
            simulation = Simulation(end=date(2026, 6, 1), listeners=options.listeners, plays=plays)
            flood = await prepare(settings, simulation)
            async with Workers(_environment(settings)) as workers:
                for number in range(count + 1):
                    await _send(settings, flood, options.plays)
                    for role in ROLES:
                        life = await live(workers, role, settings, number)
                        err.print(f"{role}: first batch after {life.at(FIRST_BATCH):.2f} s")
                        lives += [life] if number else []
    return lives


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "SOTTOVOCE_BROKERS": settings.brokers,
        "SOTTOVOCE_DATA": str(settings.data),
        # Installed packages are compiled; what the first round compiles, the others find.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(settings.data / "bytecode"),
    }


async def _send(settings: Settings, flood: Flood, count: int) -> None:
    """The next ``count`` plays, evenly over all partitions."""
    share = count // settings.partitions
    async with open_producer(settings.kafka, idempotent=True) as producer:
        for partition in range(settings.partitions):
            values = flood.values[flood.sent : flood.sent + share]
            await send_records(producer, PLAYS.name, partition, [None] * share, values)
            flood.sent += share


def stages(lives: Sequence[Life], role: str) -> dict[str, tuple[float, float]]:
    """Medians of each stage of a start: seconds, CPU seconds; in order."""
    found: dict[str, list[tuple[float, float]]] = {}
    for life in lives:
        at_s, cpu_s = 0.0, 0.0
        for mark in life.start if life.role == role else ():
            found.setdefault(mark.name, []).append((mark.at_s - at_s, mark.cpu_s - cpu_s))
            at_s, cpu_s = mark.at_s, mark.cpu_s
    return {
        name: (statistics.median(s for s, _ in each), statistics.median(cpu for _, cpu in each))
        for name, each in found.items()
    }


def shown(lives: Sequence[Life], title: str) -> Table:
    """The medians of all roles, side by side."""
    table = Table("stage, seconds (of CPU)", *ROLES, title=title, box=None)
    found = {role: stages(lives, role) for role in ROLES}
    for name in dict.fromkeys(name for each in found.values() for name in each):
        cells = (found[role].get(name) for role in ROLES)
        table.add_row(name, *(f"{cell[0]:.2f} ({cell[1]:.2f})" if cell else "" for cell in cells))
    for name in (FIRST_BATCH, COMMITTED):
        table.add_row(f"to the {name}, all", *(_spread(lives, role, name) for role in ROLES))
    stops = ([life.stop_s for life in lives if life.role == role] for role in ROLES)
    table.add_row("stop, all", *(f"{statistics.median(each):.2f}" for each in stops))
    return table


def _spread(lives: Sequence[Life], role: str, name: str) -> str:
    times = [life.at(name) for life in lives if life.role == role]
    return f"{statistics.median(times):.2f}, at most {max(times):.2f}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.start")
    parser.add_argument("--starts", type=int, default=5, help="of each role")
    parser.add_argument("--plays", type=int, default=20_000, help="that wait at each start")
    parser.add_argument("--listeners", type=int, default=2_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--no-delay", action="store_true", help=f"leave out the round with {DELAY}")
    options = parser.parse_args()
    plain = asyncio.run(rounds(options, 0, options.starts))
    Console().print(shown(plain, f"median of {options.starts} starts"))
    delayed = [] if options.no_delay else asyncio.run(rounds(options, WAITS_MS, 1))
    if delayed:
        Console().print(shown(delayed, f"{DELAY}={WAITS_MS}, one start"))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    load_1, _, _ = os.getloadavg()
    written = {"plain": plain, "delayed": delayed}
    OUT.write_text(
        json.dumps(
            {"options": vars(options), "load": round(load_1, 1)}
            | {name: [asdict(life) for life in lives] for name, lives in written.items()},
            indent=1,
        )
        + "\n"
    )
    for role in ROLES:
        if (slowest := max(life.at(FIRST_BATCH) for life in plain if life.role == role)) > LIMIT_S:
            err.print(f"{role}: {slowest:.1f} s is more than {LIMIT_S:g} s")


if __name__ == "__main__":
    main()
