"""What can go wrong, and how it is made to. Each fault returns once it has healed."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.avro.encode import RecordEncoder
from streams.errors import BrokerError
from streams.privacy import keyring
from streams.settings import Settings
from streams.topics import LISTENS, PLAYS, PRIVACY_REQUESTS, PROFILES, TASTE_STATE
from streams.warehouse import release
from tests.brokers.apicurio import ApicurioRegistry
from tests.brokers.cluster import LIMIT_S, Cluster
from tests.chaos.client import Client
from tests.chaos.history import POISON, History
from tests.chaos.schedule import Fault, Kind
from tests.chaos.supervisor import Slot, Supervisor

SESSION_S = 6.0
BEYOND_SESSION_S = (SESSION_S + 3.0, SESSION_S + 6.0)
WAIT_S = 10.0
"""How long a fault waits for the moment it wants to strike at."""
BUSY = "left out: another of them was under way"
RELEASE_WAIT_S = 30.0
"""How long a release that was asked for may take to begin."""
CLOCK_STEPS_S = (-240.0, 900.0, 3_000.0)
"""Back by less than the gate tolerates of requests from the future; forth by less than the hour
after which Kafka refuses the time of a record."""


@dataclass
class Scene:
    """The running system and what faults need of it."""

    settings: Settings
    cluster: Cluster
    supervisor: Supervisor
    client: Client
    history: History
    requests: RecordEncoder
    """Of ``privacy-requests``."""
    hooks: Path
    """Folder of what `tests/chaos/hooks` looks at in workers."""
    registry: ApicurioRegistry | None
    """None: schemas come from files."""
    erased: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    """Identifiers of requests that end in a receipt."""
    broker: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the fault that has a broker down or a leader on its way."""
    registry_down: asyncio.Lock = field(default_factory=asyncio.Lock)
    zombie: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """By role, held while one of its workers is frozen: it needs a successor that is not."""

    async def ask(self, action: str, users: Sequence[str]) -> list[str]:
        """Send privacy requests, as clients do; their identifiers."""
        now = int(time.time() * 1_000)
        records = [
            {"request_id": str(uuid.uuid4()), "user_id": user, "action": action,
             "requested_at": now}
            for user in users
        ]  # fmt: skip
        values = self.requests.encode(records)
        while not await self._sent(PRIVACY_REQUESTS.name, list(zip(users, values, strict=True))):
            await asyncio.sleep(0.5)
        return [str(record["request_id"]) for record in records]

    async def _sent(self, topic: str, records: Sequence[tuple[str, bytes]]) -> bool:
        producer = AIOKafkaProducer(bootstrap_servers=self.cluster.address, acks="all")
        try:
            await producer.start()
            for acknowledged in [
                await producer.send(topic, value, key=key.encode()) for key, value in records
            ]:
                await acknowledged
        except KafkaError:
            return False
        finally:
            await producer.stop()
        return True


Act = Callable[[Scene, Fault, random.Random], Awaitable[str]]
"""Makes a fault happen and heal; says what came of it."""

ACTS: dict[str, Act] = {}
KINDS: dict[str, Kind] = {}


def fault(
    name: str, lasts: tuple[float, float] = (0.0, 0.0), most: int | None = None
) -> Callable[[Act], Act]:
    """Enter a fault into the two lists."""

    def enter(act: Act) -> Act:
        ACTS[name], KINDS[name] = act, Kind(name, lasts, most)
        return act

    return enter


@fault("kill gate")
async def kill_gate(scene: Scene, _: Fault, draw: random.Random) -> str:
    return _kill(scene, "gate", draw)


@fault("kill taste")
async def kill_taste(scene: Scene, _: Fault, draw: random.Random) -> str:
    return _kill(scene, "taste", draw)


@fault("kill report")
async def kill_report(scene: Scene, _: Fault, draw: random.Random) -> str:
    return _kill(scene, "report", draw)


def _kill(scene: Scene, role: str, draw: random.Random) -> str:
    running = scene.supervisor.running(role)
    if not running:
        return "none ran"
    scene.supervisor.kill(draw.choice(running))
    return "restarted"


@fault("zombie gate", BEYOND_SESSION_S)
async def zombie_gate(scene: Scene, its: Fault, draw: random.Random) -> str:
    if scene.zombie["gate"].locked():
        return BUSY
    async with scene.zombie["gate"]:
        slot = draw.choice(await _two(scene, "gate"))
        scene.supervisor.pause(slot)
        return await _zombie(scene, its, slot)


@fault("zombie taste", BEYOND_SESSION_S)
async def zombie_taste(scene: Scene, its: Fault, draw: random.Random) -> str:
    """Freezes a worker in the middle of a checkpoint: profiles written, states on their way."""
    if scene.zombie["taste"].locked():
        return BUSY
    async with scene.zombie["taste"]:
        running = await _two(scene, "taste")
        slot = await _frozen_itself(scene, running)
        if slot is None:
            slot = draw.choice(await _two(scene, "taste"))
            scene.supervisor.pause(slot)
        return await _zombie(scene, its, slot)


@fault("zombie report", BEYOND_SESSION_S)
async def zombie_report(scene: Scene, its: Fault, draw: random.Random) -> str:
    running = scene.supervisor.running("report")
    if not running:
        return "none ran"
    scene.supervisor.pause(running[0])
    return await _zombie(scene, its, running[0])


async def _two(scene: Scene, role: str) -> list[Slot]:
    """Workers that run; two at least, for a zombie needs a successor."""
    while len(running := scene.supervisor.running(role)) < 2:
        if sum(slot.role == role for slot in scene.supervisor.slots) < 2:
            scene.supervisor.add(role)
        await asyncio.sleep(0.2)
    return running


async def _zombie(scene: Scene, its: Fault, slot: Slot) -> str:
    process = slot.process
    if process is None:
        return "gone before"
    await asyncio.sleep(its.lasts_s)
    if slot.process is not process:
        return "killed meanwhile"
    scene.supervisor.resume(slot)
    return "woke up"


async def _frozen_itself(scene: Scene, running: Sequence[Slot]) -> Slot | None:
    """The worker that stopped itself before it wrote to the changelog; None if there is none."""
    flag = scene.hooks / "freeze"
    flag.touch()
    deadline = time.monotonic() + WAIT_S
    while flag.exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    flag.unlink(missing_ok=True)
    for slot in running:
        if slot.process is not None and flag.with_name(str(slot.process.pid)).exists():
            slot.frozen = slot.process
            return slot
    return None


@fault("worker added and removed", (2.0, 12.0))
async def scale(scene: Scene, its: Fault, draw: random.Random) -> str:
    role = draw.choice(("gate", "taste"))
    scene.supervisor.add(role)
    await asyncio.sleep(its.lasts_s)
    running = scene.supervisor.running(role)
    if len(running) < 2:
        return "added; none to spare"
    code = await scene.supervisor.remove(draw.choice(running))
    return f"SIGTERM, exit code {code}"


@fault("broker killed", (0.0, 4.0))
async def kill_broker(scene: Scene, its: Fault, draw: random.Random) -> str:
    if scene.broker.locked():
        return BUSY
    async with scene.broker:
        number = draw.choice(scene.cluster.running)
        await scene.cluster.kill(number)
        await asyncio.sleep(its.lasts_s)
        await _restarted(scene.cluster, number)
        await scene.cluster.healed()
    return "restarted"


async def _restarted(cluster: Cluster, number: int) -> None:
    """A node is back; whoever took its port meanwhile gives it up some time."""
    async with asyncio.timeout(LIMIT_S):
        while number not in cluster.running:
            try:
                await cluster.restart(number)
            except BrokerError:
                await asyncio.sleep(1.0)


@fault("leader moved")
async def move_leader(scene: Scene, _: Fault, draw: random.Random) -> str:
    topic = draw.choice((PLAYS, LISTENS, TASTE_STATE, PROFILES)).name
    partition = draw.randrange(scene.settings.partitions)
    if scene.broker.locked():
        return BUSY
    async with scene.broker:
        leader = await scene.cluster.leader_of(topic, partition)
        others = [number for number in scene.cluster.running if number != leader]
        await scene.cluster.move_leader(topic, partition, draw.choice(others))
    return "moved"


@fault("registry gone", (2.0, 10.0))
async def lose_registry(scene: Scene, its: Fault, _: random.Random) -> str:
    if scene.registry is None:
        return "there is none"
    if scene.registry_down.locked():
        return BUSY
    async with scene.registry_down:
        scene.registry.kill()
        await asyncio.sleep(its.lasts_s)
        await scene.registry.restart()
    return "restarted"


@fault("disk of the warehouse full", (2.0, 8.0))
async def fill_disk(scene: Scene, its: Fault, _: random.Random) -> str:
    """Writes of the report worker beyond some KiB into any file fail, whoever has its place."""
    logs = [slot.log for slot in scene.supervisor.slots if slot.role == "report"]
    room = max((log.stat().st_size for log in logs if log.exists()), default=0) + 65_536
    scene.supervisor.limit_files("report", room)
    await asyncio.sleep(its.lasts_s)
    scene.supervisor.limit_files("report", None)
    return "room again"


@fault("release interrupted")
async def interrupt_release(scene: Scene, _: Fault, __: random.Random) -> str:
    release.request_release(scene.settings.data)
    deadline = time.monotonic() + RELEASE_WAIT_S
    while time.monotonic() < deadline:
        begun = list(scene.settings.data.glob(f"{scene.settings.released.name}.tmp-*"))
        running = scene.supervisor.running("report")
        if begun and running:
            scene.supervisor.kill(running[0])
            return "killed in it"
        await asyncio.sleep(0.002)
    return "no release came"


@fault("clock stepped", (2.0, 8.0))
async def step_clock(scene: Scene, its: Fault, draw: random.Random) -> str:
    role, step = draw.choice(("gate", "taste", "report")), draw.choice(CLOCK_STEPS_S)
    clock = scene.hooks / f"clock-{role}"
    clock.write_text(str(step))
    await asyncio.sleep(its.lasts_s)
    clock.write_text("0")
    return f"by {step:+.0f} s and back"


@fault("client retries without idempotence", (4.0, 12.0))
async def unreliable_client(scene: Scene, its: Fault, _: random.Random) -> str:
    scene.client.unreliable(+1)
    await asyncio.sleep(its.lasts_s)
    scene.client.unreliable(-1)
    return "reliable again"


@fault("poison")
async def poison(scene: Scene, _: Fault, draw: random.Random) -> str:
    for kind in draw.sample(sorted(POISON), len(POISON)):
        scene.client.poison(kind)
    return "one of each kind"


@fault("schema upgraded", most=1)
async def upgrade(scene: Scene, _: Fault, __: random.Random) -> str:
    scene.client.upgrade()
    return "newer writer schema"


@fault("erasure", most=5)
async def erase(scene: Scene, _: Fault, draw: random.Random) -> str:
    user = draw.choice([user for user in scene.history.users if user not in scene.erased])
    scene.erased.add(user)
    scene.asked.update(await scene.ask("erase", [user]))
    return "asked"


@fault("key rotated", most=1)
async def rotate(scene: Scene, _: Fault, __: random.Random) -> str:
    await asyncio.to_thread(keyring.rotate, scene.settings, int(time.time() * 1_000))
    await scene.ask("rekey", scene.history.users)
    return "all renamed"


def possible(nodes: int, registry: bool) -> list[str]:
    """Kinds that a cluster of that size can suffer, with a registry server or without."""
    without = {"leader moved": nodes == 1, "registry gone": not registry}
    return [name for name in KINDS if not without.get(name)]


def shown(found: Any) -> str:
    """What came of a fault, an error by its kind."""
    return f"{type(found).__name__}: {found}" if isinstance(found, BaseException) else str(found)
