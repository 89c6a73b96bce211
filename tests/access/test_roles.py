"""Workers and people as users of their own on the real broker: enough rights, and no more."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import duckdb
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.fetch import FetchRequest

from streams.app import access
from streams.app.roles import open_codecs
from streams.brokers.process import free_port
from streams.cli import produce
from streams.cli.arrival import Pages
from streams.cli.processes import Worker, Workers
from streams.cli.profiles import newest_profiles
from streams.errors import AccessError
from streams.privacy import keys, policy
from streams.settings import Kafka, Settings, load
from streams.sources.simulate import Simulation
from streams.topics import CONSENT, PLAYS, PROFILES, Topic, Zone
from streams.transport.admin import admin_client, create_topics
from streams.transport.producer import open_producer, partitions_of, send_records
from streams.transport.reader import partition_reader
from tests.access import granting
from tests.access.secured import SecuredBroker
from tests.cli import command

ROLES = ("gate", "taste", "report")
POLICY = policy.load(load().policy)
EVERY = policy.topics(POLICY)
LIMIT_S = 120.0
KEY_CODE = {
    f"streams.privacy.{name}"
    for name in ("derive", "keyring", "keys", "master", "pseudonyms", "ringfile", "vault")
}
UNUSED = {("gate", "WRITE", "privacy-rekeys"), ("gate", "WRITE", "deliveries")}
"""What only a rotation and a third party need, and the story here has neither."""
STARTED = {"file", sys.executable}
"""`platform.architecture` asks ``file``, for croniter; the warehouse is rewritten by a process."""


class Installation:
    """The three workers, each as its user, in a folder with key and warehouse."""

    def __init__(self, broker: SecuredBroker, folder: Path, workers: Workers, pages: Pages) -> None:
        self.broker, self.folder, self.pages = broker, folder, pages
        self.ports = pages._ports
        self.workers = workers
        self.running: dict[str, Worker] = {}

    def settings(self, user: str) -> Settings:
        return load(data=self.folder / "data", **self.broker.by_password(user))

    async def start(self, role: str, connection: Mapping[str, str]) -> None:
        own = {f"SOTTOVOCE_{name.upper()}": value for name, value in connection.items()}
        if role == "gate":
            own["SOTTOVOCE_KEY_FILE"] = str(self.folder / "key.hex")
        self.running[role] = await self.workers.start(
            role,
            self.ports[role],
            self.folder / f"{role}.log",
            own,
            ("tests.access.watched", str(self.folder / f"{role}.json")),
        )

    async def ended(self, role: str) -> tuple[int, str]:
        """Exit code and log, once the worker has ended by itself or as it was asked."""
        worker = self.running.pop(role)
        code = await asyncio.wait_for(worker.process.wait(), 30)
        self.workers.running.remove(worker)
        return code, (self.folder / f"{role}.log").read_text()

    def notes(self, role: str) -> dict[str, list[str]]:
        """What the worker opened, bound, started, loaded and unpickled."""
        found: dict[str, list[str]] = json.loads((self.folder / f"{role}.json").read_text())
        return found

    async def run(self, user: str, *words: str) -> str:
        """What a command says to ``user``."""
        connection = self.broker.by_password(user) | {"data": str(self.folder / "data")}
        own = {f"SOTTOVOCE_{name.upper()}": value for name, value in connection.items()}
        code, out, err = await asyncio.to_thread(command.run, *words, cwd=self.folder, **own)
        assert code == 0, err
        return out


@asynccontextmanager
async def installed(broker: SecuredBroker, folder: Path) -> AsyncIterator[Installation]:
    keys.create(folder / "key.hex")
    environment = {
        "SOTTOVOCE_DATA": str(folder / "data"),
        "SOTTOVOCE_SESSION_TIMEOUT_S": "6",
        "SOTTOVOCE_CHECKPOINT_S": "0.5",
        "SOTTOVOCE_REWRITE_S": "0",
        "SOTTOVOCE_RELEASE_S": "86400",
    }
    async with Workers(environment) as workers, aiohttp.ClientSession() as session:
        pages = Pages({role: free_port() for role in ROLES}, session)
        yield Installation(broker, folder, workers, pages)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_each_does_its_work_with_its_own_rights(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    async with installed(secured, tmp_path) as here:
        await here.start("gate", secured.by_password("gate", "SCRAM-SHA-256"))
        await here.start("taste", secured.by_certificate("taste"))
        await here.start("report", secured.by_password("report", "PLAIN"))
        users, ends = await sent(here)
        async with asyncio.timeout(LIMIT_S):
            await here.pages.arrived(ends, lambda *_: None)
        assert await profiles(here.settings("product-team")) == len(users)
        await erased(here, min(users))
        assert await profiles(here.settings("product-team")) == len(users) - 1
        assert "malformed" in await here.run("raw-operator", "rejected", "list")
        assert "missing" not in await here.run("operator", "topics", "list")
        no_more_rights_than_used(secured)
        for role in ("gate", "report"):
            here.running[role].process.send_signal(signal.SIGTERM)
            assert (await here.ended(role))[0] == 0
        await stopped_when_rights_go(here)
        with duckdb.connect(str(here.settings("report").warehouse), read_only=True) as warehouse:
            count = "SELECT count(DISTINCT listener) FROM listener_day_artist"
            assert warehouse.execute(count).fetchall() == [(len(users) - 1,)]
        only_the_gate_has_the_key(here)
        nothing_was_unpickled_nor_other_programs_started(here)


async def sent(here: Installation) -> tuple[set[str], dict[int, int]]:
    """A small history, each part by the user whose part it is: listeners, and where plays end."""
    simulation = Simulation(end=produce.today(), listeners=30, days=5, plays=400, seed=8)
    await produce.send_catalogue(here.settings("raw-operator"), simulation.catalogue())
    chunks = list(simulation.chunks())
    users = {play["user_id"] for chunk in chunks for play in chunk}
    officer, client = here.settings("privacy-officer"), here.settings("client")
    async with (
        open_codecs(officer) as codecs,
        open_producer(officer.kafka, idempotent=True) as producer,
    ):
        grant = produce.Granting(await codecs.records(CONSENT), producer, produce.OWN_PURPOSES)
        await grant.send(users)
    async with open_producer(client.kafka, idempotent=True) as producer:
        await send_records(producer, PLAYS.name, 0, [None], [b"poison"])
    done = await produce.send_plays(client, iter(chunks), lambda _: None, grant=())
    return users, done.ends


async def profiles(settings: Settings) -> int:
    """Live profiles, as a product team reads them."""
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        return len(await newest_profiles(reader, codecs.registry))


async def erased(here: Installation, user: str) -> None:
    """The officer has somebody erased and gets the receipt, without the key."""
    said = await here.run("privacy-officer", "privacy", "erase", user, "--json")
    stores = {each["store"] for each in json.loads(said)["receipt"]["stores"]}
    assert {"taste-state", "taste-profiles"} < stores


def no_more_rights_than_used(broker: SecuredBroker) -> None:
    """The workers were refused nothing, and used every right they have, but that to read back what
    they wrote themselves, which they do when they start anew."""
    decisions = {each for each in broker.decisions() if each.user in ROLES}
    assert [each for each in decisions if not each.allowed] == []
    used = {(each.user, each.operation, each.name) for each in decisions}
    given = {
        (user.name, operation, topic.name)
        for user in access.users(POLICY)
        if user.name in ROLES
        for operation, topics in (("READ", user.reads), ("WRITE", user.writes))
        for topic in topics
    }
    own = {(user, "READ", topic) for user, operation, topic in given if operation == "WRITE"}
    assert given - used <= UNUSED | own


async def stopped_when_rights_go(here: Installation) -> None:
    """A worker whose rights are taken away while it runs says so and ends."""
    kafka = here.broker.kafka
    await granting.revoke(kafka, "User:taste")
    code, log = await here.ended("taste")
    assert code == 1
    assert "access lists" in log.splitlines()[-2]
    assert "sottovoce topics acls" in log.splitlines()[-1]
    assert "Traceback" not in log
    rules = granting.rules(granting.asked(here.folder))
    await granting.grant(kafka, [rule for rule in rules if rule.principal == "User:taste"])


def only_the_gate_has_the_key(here: Installation) -> None:
    key = here.folder / "key.hex"
    files = [key, key.with_name("key.hex.ring")]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert {str(file) for file in files} <= set(here.notes("gate")["opened"])
    for role in ("taste", "report"):
        notes = here.notes(role)
        assert not [path for path in notes["opened"] if "key.hex" in path]
        assert not KEY_CODE & set(notes["modules"])
        assert here.broker.passwords["gate"] not in (here.folder / f"{role}.log").read_text()


def nothing_was_unpickled_nor_other_programs_started(here: Installation) -> None:
    for role in ROLES:
        notes = here.notes(role)
        assert notes["unpickled"] == []
        assert set(notes["started"]) <= STARTED


READERS = ("taste", "report", "product-team", "client", "stranger", "operator")


@pytest.mark.parametrize("user", READERS)
async def test_what_is_not_granted_is_refused(user: str, secured: SecuredBroker) -> None:
    granted = {each.name: each for each in access.users(POLICY)}.get(user)
    kafka = load(**secured.by_password(user)).kafka
    reads = {topic.name for topic in granted.reads} if granted else set()
    assert await readable(kafka) == reads
    writes = {topic.name for topic in granted.writes} if granted else set()
    async with open_producer(kafka, idempotent=False) as producer:
        for name in {topic.name for topic in EVERY} - writes:
            with pytest.raises(AccessError, match=f"from (records for )?{name}"):
                await write(producer, name)


async def test_only_the_operator_makes_topics(secured: SecuredBroker) -> None:
    topic = Topic(f"made-{uuid4().hex}", Zone.RAW, "", "", "")
    with pytest.raises(AccessError, match=f"from creating {topic.name}"):
        await create_topics(load(**secured.by_password("gate")).kafka, [topic], 1, 1)
    (made,) = await create_topics(load(**secured.by_password("operator")).kafka, [topic], 1, 1)
    assert made.new


async def write(producer: AIOKafkaProducer, topic: str) -> None:
    await partitions_of(producer, topic)
    await send_records(producer, topic, 0, [b"key"], [b"value"])


async def readable(kafka: Kafka) -> set[str]:
    """Topics of which the broker lets this user fetch."""
    nothing_waited_for = FetchRequest(0, 0, 1, 0, [(x.name, [(0, 0, 1)]) for x in EVERY])
    async with admin_client(kafka) as client:
        response = await client._send_request(nothing_waited_for)
    codes = {name: code for name, ((_, code, *_),) in response.topics}
    assert {TopicAuthorizationFailedError.errno, 0} >= set(codes.values())
    return {name for name, code in codes.items() if code == 0}


async def test_taste_and_report_read_no_raw_topic_and_teams_only_profiles(
    secured: SecuredBroker,
) -> None:
    raw = {topic.name for topic in EVERY if topic.zone is Zone.RAW}
    for role in ("taste", "report"):
        assert not raw & await readable(load(**secured.by_certificate(role)).kafka)
    team = load(**secured.by_password("product-team")).kafka
    assert await readable(team) == {PROFILES.name}
    with pytest.raises(AccessError):  # it may write nowhere, so it has no producer's identity
        async with open_producer(team, idempotent=True):
            pass
    assert await readable(load(**secured.by_password("gate")).kafka) >= {PLAYS.name}
