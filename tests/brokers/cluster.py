"""A cluster of Apache Kafka for tests: nodes that can be killed, stopped, paused and restarted.

Every node is broker and controller (KRaft). Topics have three replicas of which two must be in sync
before a write counts, as deployments should have it, so one node may be gone at any moment and two
may not. Kafka's own bounds stay as they are: a node that is killed loses its leaderships after
``broker.session.timeout.ms``, 9 s; one that is stopped hands them over first.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code

from streams.brokers import guard
from streams.brokers.apache import ApacheBroker
from streams.brokers.process import HOST
from tests.brokers.leaders import elect_preferred, reassign

LIMIT_S = 120.0
_POLL_S = 0.1


class Node(ApacheBroker):
    """One node, whose data stay when it is killed or stopped."""

    start_s: ClassVar[float] = 180.0

    async def prepare(self) -> None:
        """Lay out its folder, which takes a Java of its own."""
        self._folder = Path(tempfile.mkdtemp(prefix="sottovoce-broker-"))
        await asyncio.to_thread(self._command, self._folder)

    async def kill(self) -> None:
        """SIGKILL: nothing is handed over, nothing flushed."""
        process, self._process = self._process, None
        assert process is not None, "the node does not run"
        os.killpg(process.pid, signal.SIGKILL)  # with the guard, which would remove the data
        await asyncio.to_thread(process.communicate)

    async def halt(self) -> None:
        """SIGTERM: leaderships are handed over before it ends."""
        await asyncio.to_thread(self._end, guard.KEEP_FOLDER)

    @property
    def running(self) -> bool:
        return self._process is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the node and its guard."""
        assert self._process is not None, "the node does not run"
        os.killpg(self._process.pid, number)


class Cluster:
    """``nodes`` nodes of Apache Kafka, numbered from 1. Use it as ``async with``.

    ``properties`` are laid over those of every node; ``cache`` is as for `ApacheBroker`.
    """

    def __init__(
        self, cache: Path, nodes: int = 3, properties: Mapping[str, str] | None = None
    ) -> None:
        self.nodes = {number: Node(cache) for number in range(1, nodes + 1)}
        voters = ",".join(
            f"{number}@{HOST}:{node.controller_port}" for number, node in self.nodes.items()
        )
        for number, node in self.nodes.items():
            node.properties |= _replicated(nodes) | {
                "node.id": str(number),
                "controller.quorum.voters": voters,
                **(properties or {}),
            }

    @property
    def address(self) -> str:
        """The nodes as ``host:port``, comma-separated; the same for the life of this object."""
        return ",".join(node.address for node in self.nodes.values())

    @property
    def running(self) -> list[int]:
        """Nodes that run, also if paused."""
        return [number for number, node in self.nodes.items() if node.running]

    async def kill(self, number: int) -> None:
        """End a node at once, by SIGKILL; its data stay."""
        await self.nodes[number].kill()

    async def stop(self, number: int) -> None:
        """End a node in good order: its leaderships move before; its data stay."""
        await self.nodes[number].halt()

    async def restart(self, number: int) -> None:
        """Start a node, after stopping it if it runs, with its data; returns once it answers."""
        if self.nodes[number].running:
            await self.stop(number)
        await self.nodes[number].start()

    def pause(self, number: int) -> None:
        """Freeze a node (SIGSTOP): its connections stay open and nothing answers."""
        self.nodes[number].signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Have a frozen node go on (SIGCONT)."""
        self.nodes[number].signal(signal.SIGCONT)

    async def coordinator_of(self, group: str) -> int:
        """The node that coordinates a consumer group, waiting until there is one that runs."""
        return await self._coordinator(group, 0)

    async def coordinator_of_transactions(self, transactional_id: str) -> int:
        """The node that coordinates a producer's transactions."""
        return await self._coordinator(transactional_id, 1)

    async def leader_of(self, topic: str, partition: int) -> int:
        """The node that leads a partition; -1 while none does."""
        async with self.admin() as admin:
            return int((await _partitions(admin, [topic]))[topic, partition]["leader"])

    async def move_leader(self, topic: str, partition: int, number: int) -> None:
        """Make a node that has a replica in sync lead a partition; returns once it does.

        The partition's preferred leader changes for good.
        """
        async with self.admin() as admin, asyncio.timeout(LIMIT_S):
            found = (await _partitions(admin, [topic]))[topic, partition]
            others = [replica for replica in found["replicas"] if replica != number]
            await reassign(admin, topic, partition, [number, *others])
            while await self.leader_of(topic, partition) != number:
                await elect_preferred(admin, topic, partition)
                await asyncio.sleep(_POLL_S)

    async def healed(self, topics: Sequence[str] = ()) -> None:
        """Wait until every replica of ``topics``, all if none are named, is in sync again."""
        async with asyncio.timeout(LIMIT_S), self.admin() as admin:
            while True:
                found = await _partitions(admin, topics or await admin.list_topics())
                if all(len(each["isr"]) == len(each["replicas"]) for each in found.values()):
                    return
                await asyncio.sleep(_POLL_S)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """A client of the cluster's administration."""
        admin = AIOKafkaAdminClient(bootstrap_servers=",".join(self._answering()))
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    def _answering(self) -> Iterator[str]:
        yield from (node.address for node in self.nodes.values() if node.running)

    async def _coordinator(self, key: str, kind: int) -> int:
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    async with self.admin() as admin:
                        number = int(await admin.find_coordinator(key, kind))
                except KafkaError:
                    number = -1
                if number in self.running:
                    return number
                await asyncio.sleep(_POLL_S)

    async def __aenter__(self) -> Self:
        try:
            for node in self.nodes.values():
                await node.prepare()
            async with asyncio.TaskGroup() as starts:  # none answers before most are there
                for node in self.nodes.values():
                    starts.create_task(node.start())
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in self.nodes.values():
            if node.running:
                node.signal(signal.SIGKILL)  # all at once: without a majority none ends in order
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))


def _replicated(nodes: int) -> dict[str, str]:
    replicas, in_sync = str(min(nodes, 3)), str(min(nodes, 2))
    return {
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "3",  # so that groups have different coordinators
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "3",
    }


async def _partitions(
    admin: AIOKafkaAdminClient, topics: Sequence[str]
) -> dict[tuple[str, int], Any]:
    found = {}
    for topic in await admin.describe_topics(list(topics)):
        if topic["error_code"]:
            raise for_code(topic["error_code"])(topic["topic"])
        for each in topic["partitions"]:
            found[topic["topic"], each["partition"]] = each
    return found
