"""Runs the whole system while everything goes wrong, then compares it with a plain recount.

``python -m tests.chaos.run --seed 7 --seconds 60 --nodes 3``: the same seed draws the same history
and the same faults at the same times. Ends with exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from streams.agents.codecs import Codecs
from streams.app.roles import codecs_of
from streams.avro import schemas as schema_files
from streams.avro.encode import RecordEncoder
from streams.cli import produce
from streams.privacy import keyring, keys, policy
from streams.privacy.boundary import listener_names
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.settings import PREFIX, Settings, bundled, load
from streams.topics import ALL, CONSENT, PLAYS, PRIVACY_REQUESTS
from streams.warehouse import release
from tests.brokers.apicurio import ApicurioRegistry
from tests.brokers.cluster import Cluster, Node
from tests.chaos import evidence, faults, schedule
from tests.chaos.client import Client
from tests.chaos.faults import ACTS, KINDS, SESSION_S, Scene
from tests.chaos.history import History
from tests.chaos.report import Plan, Result, out, save, show
from tests.chaos.supervisor import Supervisor
from tests.chaos.verdict import Produced, judge, outcomes

ROOT = Path(__file__).parents[2]
TELL_EVERY_S = 5.0
RELEASE_LIMIT_S = 120.0
START_LIMIT_S = 300.0
BROKER_START_S = 300.0
"""A killed node looks through its files first, and shares the machine with everything else."""


async def run(plan: Plan, cache: Path, folder: Path) -> Result:
    """Everything, from empty topics to the verdict.

    Args:
        plan: what to run.
        cache: folder of Kafka's jars; the registry's are beside it.
        folder: takes all files of the run.
    """
    result = Result(plan)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(Cluster(cache, plan.nodes))
        registry = None
        if plan.registry:
            registry = ApicurioRegistry(cache.with_name("registry"))
            await stack.enter_async_context(registry)
        settings = _settings(plan, cluster, registry, folder)
        keys.create(folder / "key.hex")
        await _create_topics(cluster, settings)
        codecs = codecs_of(settings)
        stack.push_async_callback(codecs.close)
        supervisor = Supervisor(partial(_environment, settings, folder), folder)
        await stack.enter_async_context(supervisor)
        history = History(plan.seed, int(plan.seconds * plan.rate), plan.listeners)
        client = Client(
            cluster.address, history, await _encoders(codecs), plan.partitions, plan.rate
        )
        requests = await codecs.records(PRIVACY_REQUESTS)
        scene = Scene(
            settings, cluster, supervisor, client, history, requests, folder / "hooks", registry
        )
        await _prepare(scene, codecs)
        await _storm(plan, scene, result)
        await _calm(plan, scene, result)
        result.exits = supervisor.exits
        found = await evidence.gather(settings, codecs, cluster.address)
    produced = _produced(scene)
    result.client, result.records = client.often, outcomes(produced, found)
    result.differences = judge(produced, found)
    return result


async def _encoders(codecs: Codecs) -> list[RecordEncoder]:
    """Of plays: with the schema at work, and with a newer one."""
    newer = codecs.schemas.released[PLAYS.schema][-1]
    number = await codecs.registry.register(f"{PLAYS.name}-value", newer)
    return [await codecs.records(PLAYS), RecordEncoder(newer, number)]


def _settings(
    plan: Plan, cluster: Cluster, registry: ApicurioRegistry | None, folder: Path
) -> Settings:
    shutil.copytree(bundled("schemas"), folder / "schemas")
    newer = json.loads((folder / "schemas" / "play.avsc").read_text())
    newer["fields"].insert(3, {
        "name": "player_version", "type": ["null", "string"], "default": None,
        "doc": "Version of the player.", "confluent:tags": ["DEVICE_MODEL"],
    })  # fmt: skip
    released = folder / "schemas" / "released" / "play"
    (released / f"{len(list(released.iterdir())) + 1}.avsc").write_text(json.dumps(newer))
    return load(
        brokers=cluster.address,
        data=folder / "data",
        key_file=folder / "key.hex",
        schemas=folder / "schemas",
        registry_url=registry and registry.url,
        partitions=plan.partitions,
        replication=min(plan.nodes, 3),
        top_artists=10_000,  # nobody plays more: what pruning leaves depends on checkpoints
        top_genres=1_000,
        min_listeners=1,
    )


def _environment(settings: Settings, folder: Path, role: str) -> Mapping[str, str]:
    hooks = Path(__file__).parent / "hooks"
    names = ["brokers", "data", "schemas", "top_artists", "top_genres", "min_listeners"]
    if role == "gate":
        names.append("key_file")
    if settings.registry_url:
        names.append("registry_url")
    return {
        **{f"SOTTOVOCE_{name.upper()}": str(getattr(settings, name)) for name in names},
        "SOTTOVOCE_SESSION_TIMEOUT_S": str(SESSION_S),
        "SOTTOVOCE_CHECKPOINT_S": "0.5",
        "SOTTOVOCE_RELEASE_S": "5",
        "SOTTOVOCE_REWRITE_S": "1",
        "PYTHONPATH": f"{hooks}:{ROOT}",
        "CHAOS_CLOCK": str(folder / "hooks" / f"clock-{role}"),
        "CHAOS_FREEZE": str(folder / "hooks" / "freeze"),
    }


async def _create_topics(cluster: Cluster, settings: Settings) -> None:
    async with cluster.admin() as admin:
        await admin.create_topics([
            NewTopic(
                topic.name,
                settings.partitions,
                settings.replication,
                topic_configs=topic.config(settings.replication),
            )
            for topic in ALL
        ])  # fmt: skip


async def _prepare(scene: Scene, codecs: Codecs) -> None:
    """Catalogue and consent, then the workers; returns when they are ready."""
    settings, slots = scene.settings, scene.supervisor.slots
    scene.hooks.mkdir()
    await produce.send_catalogue(settings, scene.history.catalogue())
    consents = await codecs.records(CONSENT)
    async with AIOKafkaProducer(bootstrap_servers=settings.brokers, acks="all") as producer:
        granting = produce.Granting(consents, producer, produce.OWN_PURPOSES)
        await granting.send(set(scene.history.users))
    for role in ("gate", "gate", "taste", "taste", "report"):
        scene.supervisor.add(role)
    async with aiohttp.ClientSession() as session, asyncio.timeout(START_LIMIT_S):
        for slot in slots:
            while not await _ready(session, slot.port):
                await asyncio.sleep(0.2)


async def _ready(session: aiohttp.ClientSession, port: int) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return answer.status == 200
    return False


async def _storm(plan: Plan, scene: Scene, result: Result) -> None:
    """Produce, and have everything happen that is drawn."""
    began = time.monotonic()
    under_way: Counter[str] = Counter()

    async def strike(fault: schedule.Fault) -> None:
        await asyncio.sleep(began + fault.at_s - time.monotonic())
        under_way[fault.kind] += 1
        try:
            outcome = await ACTS[fault.kind](scene, fault, random.Random(fault.seed))
        except Exception as error:
            outcome = faults.shown(error)
            result.problems.append(f"fault {fault.kind}: {outcome}")
        under_way[fault.kind] -= 1
        result.faults[fault.kind][outcome] += 1

    async def tell() -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            alive = Counter(slot.role for slot in scene.supervisor.slots if slot.running)
            out.print(
                f"{time.monotonic() - began:5.0f} s  {scene.client.plays:,} plays,",
                " ".join(f"{role} x{number}" for role, number in sorted(alive.items())),
                f" under way: {', '.join(sorted(under_way.elements())) or 'nothing'}",
            )

    telling = asyncio.create_task(tell())
    try:
        async with asyncio.TaskGroup() as all_of_it:
            all_of_it.create_task(scene.client.run())
            for fault in plan.schedule():
                all_of_it.create_task(strike(fault))
    finally:
        telling.cancel()


async def _calm(plan: Plan, scene: Scene, result: Result) -> None:
    """Wait until all has arrived, release, see that requests are answered, stop."""
    began = time.monotonic()
    calm = 0
    left: list[str] = []
    while calm < 2 and time.monotonic() - began < plan.drain_s:
        await asyncio.sleep(1.0)
        try:
            left = await evidence.behind(scene.cluster.address)
        except KafkaError as error:
            left = [faults.shown(error)]
        calm = 0 if left else calm + 1
    if left:
        result.problems.append(f"not drained after {plan.drain_s:g} s: {'; '.join(left[:5])}")
        await scene.supervisor.stop()
        return
    result.drained_s = round(time.monotonic() - began, 1)
    out.print(f"drained after {result.drained_s} s")
    try:
        await asyncio.to_thread(release.request_and_wait, scene.settings.data, RELEASE_LIMIT_S)
    except Exception as error:
        result.problems.append(faults.shown(error))
    await _answered(scene)
    codes = await scene.supervisor.stop()
    for worker, code in codes.items():
        if code not in (0, None, -signal.SIGTERM):  # which also ends one that has not begun
            result.problems.append(f"{worker} stopped with exit code {code}")


async def _answered(scene: Scene) -> None:
    """Receipts come after rewrite and release; those that never come are the verdict's."""
    deadline = time.monotonic() + RELEASE_LIMIT_S
    while time.monotonic() < deadline:
        there = await evidence.read(scene.cluster.address, "privacy-receipts")
        if scene.asked <= {(record.key or b"").decode() for record in there}:
            break
        await asyncio.sleep(1.0)
    while await evidence.behind(scene.cluster.address) and time.monotonic() < deadline:
        await asyncio.sleep(1.0)


def _produced(scene: Scene) -> Produced:
    settings = scene.settings
    ring = keyring.load(settings)
    rules, schemas = policy.load(settings.policy), schema_files.load(settings.schemas)
    names = {
        audience: {
            user: listener_names(rules, schemas, ring.key(audience)).hex(user)
            for user in scene.history.users
        }
        for audience in (PRODUCT, ANALYTICS)
    }
    return Produced(
        scene.history.plays,
        names,
        ring.current,
        frozenset(scene.erased),
        {artist.strip().lower(): genres for artist, genres in scene.history.catalogue()},
        frozenset(scene.asked),
        settings.profile_items,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long is produced")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 3))
    parser.add_argument("--faults", default="", help="kinds, comma-separated; all if not given")
    parser.add_argument("--rate", type=float, default=400.0, help="plays per second")
    parser.add_argument("--listeners", type=int, default=400)
    parser.add_argument("--drain", type=float, default=180.0, help="longest wait at the end, s")
    parser.add_argument("--registry", action="store_true", help="Apicurio, instead of files")
    parser.add_argument("--keep", type=Path, help="folder that takes all files and stays")
    given = parser.parse_args(arguments)
    kinds = tuple(name.strip() for name in given.faults.split(",") if name.strip())
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"no fault {', '.join(unknown)}; there are: {', '.join(sorted(KINDS))}")
    plan = Plan(
        seed=given.seed,
        seconds=given.seconds,
        partitions=given.partitions,
        nodes=given.nodes,
        faults=kinds,
        rate=given.rate,
        listeners=given.listeners,
        drain_s=given.drain,
        registry=given.registry,
    )
    Node.start_s = BROKER_START_S
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # the run's own settings are all there is
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of every fault
    out.print(f"seed {plan.seed}")
    for fault in plan.schedule():
        out.print(f"{fault.at_s:7.1f} s  {fault.kind}, {fault.lasts_s:.1f} s")
    folder = given.keep or Path(tempfile.mkdtemp(prefix="sottovoce-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = asyncio.run(run(plan, ROOT / "var" / "kafka", folder))
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    show(result)
    save(result)
    return 0 if result.good else 1


if __name__ == "__main__":
    sys.exit(main())
