"""``python -m tests.whole.silent``: the known ways in which Faust workers die silently, provoked.

A taste worker on real Kafka, with a trickle of records. Either a cluster of three is hurt and the
worker must go on by itself, or the worker is sabotaged (`tests.whole.sabotage`) and must exit
within its bound, with the reason in its log and in ``faults.jsonl``; a new one then goes on. Prints
a table and writes ``var/load/silent.json``. Issue numbers are those of faust-streaming.

A program, not a test: see ``tests/whole/test_progress.py`` for its short form.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from itertools import cycle
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import LeaveGroupRequest
from rich.console import Console
from rich.table import Table

from streams.app.worker import STOP_S
from streams.brokers.apache import ApacheBroker
from streams.privacy import policy
from streams.settings import load
from streams.sources.simulate import Simulation
from streams.topics import LISTENS, PLAYS
from streams.transport.admin import create_topics
from tests.brokers.cluster import Cluster
from tests.load.flood import prepare
from tests.whole.system import System, running

OUT = Path("var/load/silent.json")
JARS = Path("var/kafka")
READS = {"gate": PLAYS.name, "taste": LISTENS.name}
GROUP = "sottovoce-taste"
CLUSTER = "cluster"
PARTITIONS = 4
STALL_EXIT_S = 8.0
"""For sabotage."""
FAILOVER_S = 40.0
"""The same for a cluster that is hurt: longer than Kafka itself takes to notice."""
BOUND_S = STALL_EXIT_S + STOP_S + 6.0
"""Longest time from a fault to the end of the process: the bound, looks, a stop that hangs."""
GOES_ON_S = 90.0
_TRICKLE_S = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a fault: seconds until the exit, or until commits went on."""

    fault: str
    issues: str
    result: str
    seconds: float
    well: bool


SABOTAGE = {
    "fetch-hangs": ("fetch requests are not sent any more", "166, 503, 629"),
    "fetch-ends": ("the task that fetches fails", "175, 523"),
    "commit-hangs": ("what is finished is never committed", "175, 596"),
    "commit-refused": ("Kafka refuses a commit for good", "611"),
    "work-hangs": ("the agent waits for ever", "175, 532"),
    "loop-blocked": ("the event loop stands still", "532"),
    "rebalance-hangs": ("a rebalance does not end", "596"),
    "group-refused": ("heartbeats are refused", "523, 532"),
    "group-fails": ("the task that keeps the membership fails", "175, 523"),
    "thread-ends": ("the thread that consumes ends", "175"),
}
"""What each way of `tests.whole.sabotage` is, and the issues that tell of it."""


class Scene:
    """A system on a Kafka, and how far its taste worker is."""

    def __init__(self, system: System, brokers: str) -> None:
        self.system, self._brokers = system, brokers

    async def committed(self, role: str) -> int:
        """Sum of the committed offsets of what a role reads; -1 if nobody says."""
        with suppress(KafkaError, TimeoutError, ValueError):
            async with asyncio.timeout(5):
                admin = AIOKafkaAdminClient(bootstrap_servers=self._brokers)
                try:
                    await admin.start()
                    offsets = await admin.list_consumer_group_offsets(f"sottovoce-{role}")
                finally:
                    await admin.close()
            return sum(each.offset for tp, each in offsets.items() if tp.topic == READS[role])
        return -1

    async def moves(self, role: str = "taste") -> None:
        """Wait until a role commits more than it had.

        Raises:
            TimeoutError: it does not within `GOES_ON_S`.
        """
        before = now = -1
        async with asyncio.timeout(GOES_ON_S):
            while before < 0 or now <= before:
                before = max(before, now)
                await asyncio.sleep(0.2)
                now = await self.committed(role)

    def faults(self) -> list[str]:
        """Reasons that were noted, oldest first."""
        file = self.system.settings.data / "faults" / "faults.jsonl"
        if not file.exists():
            return []
        return [json.loads(line)["reason"] for line in file.read_text().splitlines()]

    async def sabotaged(self, way: str) -> Outcome:
        """Start a worker, have it fail, and see it exit with the reason."""
        trigger = self.system.settings.data / way
        program = ("tests.whole.sabotage", way, str(trigger))
        await self.system.start("taste", program=program)
        await self.moves()
        noted, began = len(self.faults()), time.monotonic()
        trigger.touch()
        said, issues = SABOTAGE[way]
        try:
            code = await self.system.ended("taste", BOUND_S)
        except TimeoutError:
            await self.system.kill("taste")
            return Outcome(said, issues, "did not exit", BOUND_S, False)
        seconds = time.monotonic() - began
        reasons = self.faults()[noted:]
        return Outcome(said, issues, "; ".join(reasons), seconds, code == 1 and bool(reasons))

    async def hurt(
        self, said: str, issues: str, act: Callable[[], Awaitable[None]], *roles: str
    ) -> Outcome:
        """Hurt the cluster under workers that run, a taste if none are named, and see them go on
        by themselves."""
        roles = roles or ("taste",)
        await asyncio.gather(*map(self.moves, roles))
        began = time.monotonic()
        await act()
        try:
            await asyncio.gather(*map(self.moves, roles))
        except TimeoutError:
            return Outcome(said, issues, "did not go on", GOES_ON_S, False)
        seconds = time.monotonic() - began
        await asyncio.sleep(STOP_S)  # a worker that is about to exit commits as it does
        alive = all(map(self.system.runs, roles))
        return Outcome(said, issues, "went on by itself" if alive else "exited", seconds, alive)


@asynccontextmanager
async def scene(
    brokers: str, data: Path, replication: int, stall_exit_s: float, **own: str
) -> AsyncIterator[Scene]:
    """Topics, and a trickle of plays, and of listens that no reader understands."""
    settings = load(brokers=brokers, partitions=PARTITIONS, replication=replication)
    topics = policy.topics(policy.load(settings.policy))
    await create_topics(settings.kafka, topics, PARTITIONS, replication)
    own |= {"partitions": str(PARTITIONS), "stall_s": "3", "stall_exit_s": str(stall_exit_s)}
    async with running(brokers, data, idempotence=True, key_file=None, **own) as system:
        simulation = Simulation(end=date(2026, 6, 1), listeners=20, plays=1_000)
        plays = (await prepare(system.settings, simulation)).values
        trickle = asyncio.create_task(_trickle(brokers, plays))
        try:
            yield Scene(system, brokers)
        finally:
            trickle.cancel()
            with suppress(asyncio.CancelledError):
                await trickle


async def _trickle(brokers: str, plays: list[bytes]) -> None:
    endless = cycle(plays)
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        while True:
            for partition in range(PARTITIONS):
                for topic, value in ((PLAYS, next(endless)), (LISTENS, b"-")):
                    with suppress(KafkaError):
                        sent = await producer.send(topic.name, value, partition=partition)
                        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.sleep(_TRICKLE_S)


async def hurts(cluster: Cluster, stage: Scene) -> AsyncIterator[Outcome]:
    """What can happen to the cluster, one after the other; it is whole again after each."""

    async def freeze(number: int, seconds: float) -> None:
        cluster.pause(number)
        await asyncio.sleep(seconds)
        cluster.resume(number)

    async def dark(seconds: float) -> None:
        for number in list(cluster.running):
            await cluster.kill(number)
        await asyncio.sleep(seconds)
        await asyncio.gather(*(cluster.restart(number) for number in cluster.nodes))

    await stage.system.start("taste")
    coordinator = await cluster.coordinator_of(GROUP)
    yield await stage.hurt(
        "the coordinator's node is killed", "523, 611", lambda: cluster.kill(coordinator)
    )
    await cluster.restart(coordinator)
    await cluster.healed()
    coordinator = await cluster.coordinator_of(GROUP)
    yield await stage.hurt(
        "the coordinator's node stops in good order", "611", lambda: cluster.stop(coordinator)
    )
    await cluster.restart(coordinator)
    await cluster.healed()
    leader = await cluster.leader_of(LISTENS.name, 0)
    other = next(number for number in cluster.running if number != leader)
    yield await stage.hurt(
        "a partition's leader moves", "611", lambda: cluster.move_leader(LISTENS.name, 0, other)
    )
    yield await stage.hurt("the group forgets the member", "532", lambda: forget(cluster))
    coordinator = await cluster.coordinator_of(GROUP)
    yield await stage.hurt(
        "the coordinator's node stands still for 15 s", "523", lambda: freeze(coordinator, 15)
    )
    await cluster.healed()
    await stage.system.start("gate")
    yield await stage.hurt("no node answers for 60 s", "523", lambda: dark(60), "gate", "taste")
    await stage.system.terminate("gate")
    await stage.system.terminate("taste")


async def forget(cluster: Cluster) -> None:
    """Remove the group's members, as Kafka does with one it has not heard of."""
    async with cluster.admin() as admin:
        coordinator = await cluster.coordinator_of(GROUP)
        (response,) = await admin.describe_consumer_groups([GROUP], coordinator)
        for member, *_ in response.groups[0][5]:
            await admin._send_request_to_node(coordinator, LeaveGroupRequest(GROUP, member))


async def all_outcomes(folder: Path, ways: Sequence[str]) -> AsyncIterator[Outcome]:
    """What `hurts` tells, on three nodes, if it is among ``ways``; then the sabotage, on one."""
    if CLUSTER in ways:
        async with (
            Cluster(JARS) as cluster,
            scene(cluster.address, folder / CLUSTER, 3, FAILOVER_S) as stage,
        ):
            async for outcome in hurts(cluster, stage):
                yield outcome
    async with (
        ApacheBroker(JARS) as broker,
        scene(broker.address, folder / "one", 1, STALL_EXIT_S) as stage,
    ):
        for way in (way for way in SABOTAGE if way in ways):
            yield await stage.sabotaged(way)


async def collect(console: Console, ways: Sequence[str]) -> list[Outcome]:
    """The outcomes, told as they come."""
    found = []
    with tempfile.TemporaryDirectory(prefix="sottovoce-silent-") as folder:
        async for outcome in all_outcomes(Path(folder), ways):
            console.print(f"{outcome.fault}: {outcome.result}, {outcome.seconds:.1f} s")
            found.append(outcome)
    return found


def main() -> None:
    """Provoke, print and write."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own clients are hurt, too
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.whole.silent")
    choices = (CLUSTER, *SABOTAGE)
    parser.add_argument("ways", nargs="*", default=choices, help=f"of {', '.join(choices)}")
    found = asyncio.run(collect(Console(stderr=True), parser.parse_args().ways))
    table = Table("fault", "issues", "result", "seconds", "as it should")
    for each in found:
        table.add_row(
            each.fault,
            each.issues,
            each.result,
            f"{each.seconds:.1f}",
            "yes" if each.well else "NO",
        )
    Console().print(table)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")
    sys.exit(any(not each.well for each in found))


if __name__ == "__main__":
    main()
