"""``make load``: more than the workers can take, and what becomes of their memory.

Real Apache Kafka and the three workers. Plays come at a steady rate; then ten times as many; then
the warehouse's disk hangs; then the broker stands still (SIGSTOP), then it limps (stopped for most
of every half second). Twice a second memory, what is held, and lag are read from the workers' own
pages. At the end nothing may be missing or doubled, all memory must have stayed in its bound, and
no lag may be left. Writes ``var/load/pressure.json`` and draws ``var/load/pressure.svg``.

A program, not a test: see ``tests/whole/test_pressure.py`` for its short form.
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
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.brokers.apache import ApacheBroker
from streams.sources.simulate import Simulation
from streams.topics import REJECTED
from tests.load import slow
from tests.load.curve import Watch, draw
from tests.load.flood import Flood, prepare
from tests.whole.system import ROLES, System, running
from tests.whole.test_exactly_once import facts, profiles

OUT = Path("var/load")
JARS = Path("var/kafka")
START_S, DRAIN_S = 60.0, 300.0
BATCH_MB = 2
"""The most that one batch of a producer of ours takes in memory, MB."""
HANG_S = 60.0
"""How much longer the disk hangs until the report worker has as much as it may hold, at most."""
LIMP_S = 0.5
LIMP_STOPPED = 0.8
"""Share of the time that a limping broker stands still."""
STEADY = "steady"
WORKER_MB = {"gate": 260, "taste": 260, "report": 320}
"""Memory of a worker beside what it holds: Python and the libraries, at work."""
LISTENER_KB = {"taste": 8.0}
"""State of a listener, and what writing it takes."""
PER_HELD = 2.5
"""Memory a worker takes for each byte held: the records as they came, and decoded."""
err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time and what is wrong in it."""

    name: str
    seconds: float
    factor: float = 1.0
    disk_hangs: bool = False
    broker: str = "runs"
    """``runs``, ``stopped`` or ``limps``."""


def plan(unit_s: float) -> list[Phase]:
    """The phases; ``unit_s`` is how long a fault lasts."""
    return [
        Phase(STEADY, unit_s),
        Phase("burst", unit_s, factor=10),
        Phase(STEADY, unit_s / 2),
        Phase("disk hangs, burst", unit_s * 2, factor=5, disk_hangs=True),
        Phase(STEADY, unit_s / 2),
        Phase("broker stopped", unit_s, broker="stopped"),
        Phase(STEADY, unit_s / 2),
        Phase("limps", unit_s, broker="limps"),
        Phase(STEADY, unit_s / 2),
    ]


@dataclass(slots=True)
class Run:
    """What was measured, and what was found wrong: nothing, if all is well."""

    held_mb: int
    listeners: int
    watch: Watch
    phases: list[tuple[str, float, float]] = field(default_factory=list)
    sent: int = 0
    drained_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def bounds(self) -> dict[str, float]:
        """MB of memory that a worker must not pass."""
        return {
            role: mb + PER_HELD * self.held_mb + LISTENER_KB.get(role, 0) * self.listeners / 1_024
            for role, mb in WORKER_MB.items()
        }

    def peaks(self) -> dict[str, dict[str, float]]:
        """The most that each worker had of each, and in how many samples it was paused."""
        return {
            role: {
                "rss_mb": max(each.rss_mb for each in self.watch.of(role)),
                "held_mb": max(each.held_mb for each in self.watch.of(role)),
                "ahead_mb": max(each.ahead_mb for each in self.watch.of(role)),
                "lag": max(each.lag for each in self.watch.of(role)),
                "paused": sum(each.paused for each in self.watch.of(role)),
            }
            for role in ROLES
        }

    def judge(self, batch_mb: float) -> None:
        """Note what is not as promised. ``batch_mb`` is the most that one batch can take."""
        for role, peak in self.peaks().items():
            if peak["rss_mb"] > self.bounds[role]:
                self.problems.append(f"{role}: {peak['rss_mb']:.0f} MB of memory")
            if peak["held_mb"] > self.held_mb + batch_mb:
                self.problems.append(f"{role}: {peak['held_mb']:.1f} MB held")
            if peak["lag"] <= 0:
                self.problems.append(f"{role}: no lag was ever seen")
            last = list(self.watch.of(role))[-1]
            if last.lag or not last.ready or last.paused:
                self.problems.append(f"{role}: not as before at the end")


async def pressed(
    system: System, broker: ApacheBroker, flood: Flood, phases: list[Phase], rate: float
) -> Run:
    """Send ``flood`` through all phases, wait until everything has arrived, compare."""
    stuck = system.settings.data / "stuck"
    watch = Watch(system.ports)
    run = Run(system.settings.held_mb, flood.listeners, watch)
    await system.start("gate", "taste")
    await system.start("report", program=[slow.__name__, str(stuck)])
    watching = asyncio.create_task(watch.run())
    try:
        async with asyncio.timeout(START_S):
            while not watch.all_ready():
                await asyncio.sleep(0.1)
        now = [rate]
        async with asyncio.TaskGroup() as sending:
            sending.create_task(flood.send(system.settings, lambda: now[0]))
            for phase in phases:
                began = watch.now_s
                now[0] = rate * phase.factor
                async with _wrong(phase, stuck, broker):
                    await asyncio.sleep(phase.seconds)
                    if phase.disk_hangs:
                        await watch.until_paused("report", HANG_S)
                if phase.name != STEADY:
                    run.phases.append((phase.name, began, watch.now_s))
            now[0] = 0.0
        began = time.monotonic()
        async with asyncio.timeout(DRAIN_S):
            await system.arrived(flood.ends)
        run.drained_s = round(time.monotonic() - began, 1)
        await asyncio.sleep(3.0)  # a last look at ends, and samples of rest
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    run.sent = flood.sent
    for role in ROLES:
        if await system.terminate(role):
            run.problems.append(f"{role} did not stop as it should")
    run.problems += await wrong_counts(system, flood)
    return run


@asynccontextmanager
async def _wrong(phase: Phase, stuck: Path, broker: ApacheBroker) -> AsyncIterator[None]:
    """Have things go wrong for the time of the phase, and right again afterwards."""
    limping: asyncio.Task[None] | None = None
    if phase.disk_hangs:
        stuck.touch()  # noqa: ASYNC240 - an empty file
    if phase.broker == "stopped":
        signal_broker(broker, signal.SIGSTOP)
    if phase.broker == "limps":
        limping = asyncio.create_task(_limp(broker))
    try:
        yield
    finally:
        stuck.unlink(missing_ok=True)  # noqa: ASYNC240
        if limping is not None:
            limping.cancel()
        signal_broker(broker, signal.SIGCONT)


async def _limp(broker: ApacheBroker) -> None:
    while True:
        signal_broker(broker, signal.SIGSTOP)
        await asyncio.sleep(LIMP_S * LIMP_STOPPED)
        signal_broker(broker, signal.SIGCONT)
        await asyncio.sleep(LIMP_S * (1 - LIMP_STOPPED))


def signal_broker(broker: ApacheBroker, number: signal.Signals) -> None:
    """To the broker's process and what it started."""
    assert broker._process is not None
    os.killpg(broker._process.pid, number)


async def wrong_counts(system: System, flood: Flood) -> list[str]:
    """Where facts and profiles are not what was sent, whatever pseudonyms people have."""
    problems = []
    expected = flood.expected()
    if people(facts(system)) != people(expected):
        problems.append("the warehouse counts other plays than were sent")
    plays: Counter[str] = Counter()
    for (user, _), count in expected.items():
        plays[user] += count
    found = [int(profile["plays"]) for profile in (await profiles(system)).values()]
    if Counter(found) != Counter(plays.values()):
        problems.append(
            f"profiles count {sum(found)} plays, not {plays.total()}, or other people's"
        )
    if await system.records(REJECTED.name):
        problems.append("plays were rejected")
    return problems


def people(counts: Counter[tuple[str, str]]) -> Counter[frozenset[tuple[str, int]]]:
    """Plays by artist of each listener, without who it is."""
    found: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for (listener, artist), plays in counts.items():
        found[listener].add((artist, plays))
    return Counter(map(frozenset, found.values()))


async def press(
    jars: Path,
    folder: Path,
    unit_s: float,
    rate: float,
    settings: dict[str, Any],
    listeners: int,
) -> Run:
    """A broker of ``jars``, workers with ``settings``, and the whole plan."""
    phases = plan(unit_s)
    plays = int(sum(each.seconds * each.factor for each in phases) * rate * 1.1) + 1
    simulation = Simulation(end=date(2026, 6, 1), listeners=listeners, plays=plays, seed=4)
    async with (
        ApacheBroker(jars) as broker,
        running(broker.address, folder / "data", idempotence=True, **settings) as system,
    ):
        err.print(f"{plays:,} plays of {listeners:,} listeners are being prepared")
        flood = await prepare(system.settings, simulation)
        run = await pressed(system, broker, flood, phases, rate)
    run.judge(batch_mb=BATCH_MB)
    return run


def report(run: Run, out: Path) -> None:
    """Write samples and curve, and say what was found."""
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "held_mb": run.held_mb,
        "bounds_mb": run.bounds,
        "sent": run.sent,
        "drained_s": run.drained_s,
        "silent": run.watch.silent,
        "peaks": run.peaks(),
        "problems": run.problems,
        "phases": run.phases,
        "samples": [asdict(each) for each in run.watch.samples],
    }
    (out / "pressure.json").write_text(json.dumps(told, indent=1) + "\n")
    draw(run.watch.samples, run.phases, run.bounds, run.held_mb, out / "pressure.svg")
    for role, peak in run.peaks().items():
        figures = ", ".join(f"{name} {value:,.0f}" for name, value in peak.items())
        err.print(f"{role}: at most {figures}; bound {run.bounds[role]:,.0f} MB")
    err.print(f"{run.sent:,} plays, drained in {run.drained_s} s; {out}/pressure.svg")
    for problem in run.problems:
        err.print(f"[red]{problem}[/]")


def main() -> int:
    """Parse arguments, run, report; 1 if anything was not as promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=2_000, help="plays a second when steady")
    parser.add_argument("--unit", type=float, default=10, help="seconds that a fault lasts")
    parser.add_argument("--listeners", type=int, default=8_000)
    parser.add_argument("--held-mb", type=int, default=32)
    parser.add_argument("--partitions", type=int, default=4)
    args = parser.parse_args()
    settings = {"held_mb": str(args.held_mb), "partitions": str(args.partitions), "stall_s": "5"}
    with tempfile.TemporaryDirectory(prefix="sottovoce-load-") as folder:
        run = asyncio.run(
            press(JARS.absolute(), Path(folder), args.unit, args.rate, settings, args.listeners)
        )
    report(run, OUT)
    return 1 if run.problems else 0


if __name__ == "__main__":
    sys.exit(main())
