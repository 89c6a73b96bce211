"""The steward: from a request to its signed receipt, and the same after a crash at any point."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from streams import metrics, topics
from streams.agents.codecs import Codecs
from streams.agents.steward import Steward
from streams.avro.registry import LocalRegistry
from streams.brokers.embedded import EmbeddedBroker
from streams.errors import BrokerError
from streams.privacy import receipts
from streams.privacy.boundary import listener_names
from streams.privacy.keyring import Keyring
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.privacy.standing import MINUTE_MS, Exclusion, Standing, placement
from streams.rows import Column
from streams.settings import Settings, load
from streams.topics import (
    CONSENT,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_RECEIPTS,
    PRIVACY_REKEYS,
    PRIVACY_REQUESTS,
    PRIVACY_STANDING,
    REJECTED,
    Topic,
    shared,
)
from streams.transport.admin import create_topics
from streams.transport.batch import RecordBatch
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import partition_reader, read_span
from tests.agents.kafka import MemoryKafka
from tests.privacy.petitions import THIRD_PARTY, policy, ring, schemas

PARTITIONS = 4
USER = "canary-user"
PURPOSES = ("personalization", "analytics", "sharing")
RING = ring(overlap=False)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def home(user: str = USER) -> int:
    return placement(RING.subjects().hex(user), PARTITIONS)


def name(audience: str, epoch: int = 1, user: str = USER) -> str:
    key = ring(overlap=True).key(audience, epoch)
    return listener_names(policy(), schemas(), key).hex(user)


class World:
    """A steward on a Kafka in memory, and the stores that answer it."""

    def __init__(self) -> None:
        self.settings: Settings = load()
        self.kafka = MemoryKafka(PARTITIONS)
        self.codecs = Codecs(schemas(), LocalRegistry(schemas()))

    async def steward(self) -> Steward:
        """A new one, as after a crash; it has every partition."""
        steward = Steward(self.settings, self.codecs, policy())
        await steward.start(self.kafka, self.kafka, PARTITIONS)
        await steward.resume({(PRIVACY_ANSWERS.name, number) for number in range(PARTITIONS)})
        return steward

    async def write(self, topic: Topic, partition: int, key: str, record: dict[str, Any]) -> None:
        encoder = await self.codecs.records(topic)
        await self.kafka.send_records(
            topic.name, partition, [key.encode()], encoder.encode([record])
        )

    async def ask(self, action: str, user: str = USER, partition: int = 0, **fields: Any) -> None:
        """A request; its identifier is its action unless ``fields`` say otherwise."""
        record = {
            "request_id": action,
            "user_id": user,
            "action": action,
            "requested_at": now_ms(),
            **fields,
        }
        await self.write(PRIVACY_REQUESTS, partition, user, record)

    async def decide(
        self, purpose: str, *, granted: bool, at: int, partition: int = 0, user: str = USER
    ) -> None:
        record = {"user_id": user, "purpose": purpose, "granted": granted, "decided_at": at}
        await self.write(CONSENT, partition, f"{user}/{purpose}", record)

    async def hear(self, topic: Topic, steward: Steward, keys: Keyring = RING) -> None:
        for batch in self.kafka.batches(topic):
            await steward.take(batch, keys)

    async def answer(
        self, *, leave_out: str = "", commands: slice = slice(None), removed: int = 3
    ) -> None:
        """What the stores answer to the commands there are."""
        for partition, command in (await self.read(PRIVACY_COMMANDS))[commands]:
            for store in receipts.STORES[command["action"]].get(command["audience"], ()):
                if command["request"] and store != leave_out:
                    answer = {
                        "request": command["request"],
                        "audience": command["audience"],
                        "store": store,
                        "action": command["action"],
                        "removed": removed,
                        "remaining": 0,
                        "check": "rows of the listener",
                        "finished_at": now_ms(),
                    }
                    await self.write(PRIVACY_ANSWERS, partition, command["request"], answer)

    async def read(self, topic: Topic) -> list[tuple[int, dict[str, Any]]]:
        """Partition and record of what stands in a topic, without tombstones."""
        return [
            (partition, (await self.codecs.decode_records([value]))[0])
            for partition, _, value in self.kafka.records(topic.name)
            if value is not None
        ]

    async def commands(self) -> Counter[tuple[str, str, str]]:
        """Audience, listener and action of each; all must be where the person is."""
        return Counter(
            (each["audience"], each["listener"], each["action"])
            for _, each in await self.read(PRIVACY_COMMANDS)
        )

    def tombstones(self, topic: str) -> list[tuple[int, bytes | None]]:
        return [(at, key) for at, key, value in self.kafka.records(topic) if value is None]

    async def receipt(self) -> dict[str, Any]:
        """The body of the only one."""
        ((_, record),) = await self.read(PRIVACY_RECEIPTS)
        assert receipts.verify(record)
        body = json.loads(record["body"])
        assert isinstance(body, dict)
        return body


@pytest.fixture
def world() -> World:
    return World()


async def test_an_erasure_reaches_everything_and_ends_in_a_receipt(world: World) -> None:
    asked_at = now_ms()
    for number, purpose in enumerate(PURPOSES):
        await world.decide(purpose, granted=True, at=asked_at - 5_000, partition=number)
        await world.decide(purpose, granted=True, at=asked_at - 5_000, user="other")
    await world.ask("erase", requested_at=asked_at)
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward)

    ((at, standing),) = await world.read(PRIVACY_STANDING)
    found = Standing.from_record(standing)
    assert at == home()
    assert found.subject == RING.subjects().hex(USER)
    assert found.erased_before is not None
    assert asked_at <= found.erased_before < asked_at + MINUTE_MS
    assert sorted(world.tombstones(CONSENT.name)) == [
        (number, f"{USER}/{purpose}".encode()) for number, purpose in enumerate(PURPOSES)
    ]
    assert world.tombstones(shared(THIRD_PARTY).name) == [(home(), name(THIRD_PARTY).encode())]
    assert await world.commands() == {
        (audience, name(audience), "erase"): 1 for audience in (PRODUCT, ANALYTICS)
    }
    for at, command in await world.read(PRIVACY_COMMANDS):
        assert at == home()
        assert command["before"].timestamp() * 1_000 == found.erased_before

    await world.answer(leave_out="release")
    await world.hear(PRIVACY_ANSWERS, steward)
    assert await world.read(PRIVACY_RECEIPTS) == []
    await world.answer()
    await world.hear(PRIVACY_ANSWERS, steward)
    receipt = await world.receipt()
    assert receipt["request_id"] == "erase"
    assert {each["store"] for each in receipt["stores"]} == {
        "taste-state", "taste-profiles", "warehouse", "release",
    }  # fmt: skip
    elsewhere = {each["store"]: each for each in receipt["elsewhere"]}
    assert elsewhere["consent"]["remaining"] == 0
    assert elsewhere[shared(THIRD_PARTY).name]["at"] >= asked_at
    assert [key for _, key, _ in world.kafka.records(PRIVACY_RECEIPTS.name)] == [b"erase"]


@pytest.mark.parametrize("survives", range(12))
async def test_a_crash_at_any_write_changes_nothing(world: World, survives: int) -> None:
    """The worker dies after so many writes; the next one takes the same batches."""
    await world.decide("analytics", granted=True, at=now_ms() - 5_000)
    await world.decide("sharing", granted=True, at=now_ms() - 5_000, partition=1)
    for user in (USER, "other"):
        await world.ask("erase", user, request_id=f"erase-{user}")
    await world.ask("exclude", exclude_artist="A")
    world.kafka.fails_after = survives
    crashed = False
    try:
        await world.hear(PRIVACY_REQUESTS, await world.steward())
    except BrokerError:
        crashed = True
    world.kafka.fails_after = None
    steward = await world.steward()
    for _ in range(2):
        await world.hear(PRIVACY_REQUESTS, steward)
    assert crashed == (survives < 8)

    stored = {}
    for _, record in await world.read(PRIVACY_STANDING):
        stored[record["subject"]] = Standing.from_record(record)
    assert stored[RING.subjects().hex(USER)].exclusions == (Exclusion("A"),)
    assert all(each.erased_before for each in stored.values())
    assert len(stored) == 2
    assert set(world.tombstones(CONSENT.name)) == {
        (0, f"{USER}/analytics".encode()), (1, f"{USER}/sharing".encode()),
    }  # fmt: skip
    assert set(world.tombstones(shared(THIRD_PARTY).name)) == {
        (home(user), name(THIRD_PARTY, user=user).encode()) for user in (USER, "other")
    }
    commands = await world.commands()
    assert set(commands) == {
        (audience, name(audience, user=user), "erase")
        for audience in (PRODUCT, ANALYTICS)
        for user in (USER, "other")
    } | {(PRODUCT, name(PRODUCT), "exclude")}
    assert set(commands.values()) == {1}

    await world.answer()
    for _ in range(2):
        steward = await world.steward()
        await world.hear(PRIVACY_ANSWERS, steward)
        await world.hear(PRIVACY_ANSWERS, steward)
    found = [record["request_id"] for _, record in await world.read(PRIVACY_RECEIPTS)]
    assert sorted(found) == ["erase-canary-user", "erase-other", "exclude"]


async def test_answers_given_twice_count_once(world: World) -> None:
    await world.ask("exclude", exclude_artist="A")
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward)
    await world.answer(leave_out="taste-profiles", removed=3)
    await world.answer(leave_out="taste-profiles", removed=0)
    await world.hear(PRIVACY_ANSWERS, steward)
    assert await world.read(PRIVACY_RECEIPTS) == []
    await world.answer(leave_out="taste-state")
    await world.hear(PRIVACY_ANSWERS, steward)
    removed = {each["store"]: each["removed"] for each in (await world.receipt())["stores"]}
    assert removed == {"taste-state": 3, "taste-profiles": 3}


async def test_during_an_overlap_both_epochs_must_answer(world: World) -> None:
    keys = ring(overlap=True)
    await world.ask("restrict")
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward, keys)
    assert await world.commands() == {
        (audience, name(audience, epoch), "restrict"): 1
        for audience in (PRODUCT, ANALYTICS)
        for epoch in (1, 2)
    }
    await world.answer(commands=slice(3))
    await world.hear(PRIVACY_ANSWERS, steward, keys)
    assert await world.read(PRIVACY_RECEIPTS) == []
    await world.answer(commands=slice(3, 4))
    await world.hear(PRIVACY_ANSWERS, steward, keys)
    assert len((await world.receipt())["stores"]) == 4


async def test_a_rotation_between_request_and_answer_loses_nothing(world: World) -> None:
    await world.ask("export")
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward)
    await world.answer(leave_out="warehouse")
    await world.hear(PRIVACY_ANSWERS, steward)
    await world.answer(leave_out="taste-state")
    await world.hear(PRIVACY_ANSWERS, steward, ring(overlap=True))
    assert len((await world.receipt())["stores"]) == 2


async def test_a_rekey_is_passed_on_once_there_is_something_to_move(world: World) -> None:
    await world.ask("rekey")
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward)
    assert await world.read(PRIVACY_REKEYS) == []
    await world.hear(PRIVACY_REQUESTS, steward, ring(overlap=True))
    found = await world.read(PRIVACY_REKEYS)
    assert {at for at, _ in found} == {home()}
    assert {(each["audience"], each["old"], each["new"], each["epoch"]) for _, each in found} == {
        (audience, name(audience, 1), name(audience, 2), 2) for audience in (PRODUCT, ANALYTICS)
    }
    assert await world.read(PRIVACY_COMMANDS) == []


async def test_restrictions_and_exclusions_add_up(world: World) -> None:
    await world.ask("restrict")
    await world.ask("exclude", exclude_artist="A", requested_at=now_ms() - 1)
    await world.hear(PRIVACY_REQUESTS, await world.steward())
    await world.ask("exclude", request_id="x2", exclude_from=1, exclude_until=MINUTE_MS + 1)
    await world.ask("lift")
    await world.hear(PRIVACY_REQUESTS, await world.steward())
    newest = Standing.from_record((await world.read(PRIVACY_STANDING))[-1][1])
    assert newest.exclusions == (Exclusion("A"), Exclusion(None, 0, 2 * MINUTE_MS))
    assert not newest.restricted
    actions = Counter(each["action"] for _, each in await world.read(PRIVACY_COMMANDS))
    assert actions == {"restrict": 2, "lift": 2, "exclude": 2}


async def test_a_decision_after_the_erasure_stands(world: World) -> None:
    asked_at = now_ms() - 60_000
    await world.decide("analytics", granted=True, at=asked_at - 1)
    await world.decide("personalization", granted=True, at=asked_at - 1)
    await world.decide("personalization", granted=True, at=asked_at + 1)
    await world.ask("erase", requested_at=asked_at)
    await world.hear(PRIVACY_REQUESTS, await world.steward())
    assert world.tombstones(CONSENT.name) == [(0, f"{USER}/analytics".encode())]


async def test_withdrawn_consent_commands_the_stores_of_its_purpose_once(world: World) -> None:
    at = now_ms()
    await world.decide("personalization", granted=True, at=at - 9_000)
    await world.decide("personalization", granted=False, at=at - 5_000)
    await world.decide("sharing", granted=False, at=at - 5_000)
    steward = await world.steward()
    await world.hear(CONSENT, steward)
    await world.hear(CONSENT, await world.steward())
    ((partition, command),) = await world.read(PRIVACY_COMMANDS)
    assert partition == home()
    assert (command["audience"], command["listener"]) == (PRODUCT, name(PRODUCT))
    assert (command["action"], command["request"]) == ("erase", "")
    # All that passed until the gate had the decision, to the minute.
    assert at // MINUTE_MS * MINUTE_MS <= command["before"].timestamp() * 1_000 < at + 2 * MINUTE_MS
    assert set(world.tombstones(shared(THIRD_PARTY).name)) == {(home(), name(THIRD_PARTY).encode())}
    assert await world.read(PRIVACY_STANDING) == []


async def test_a_decision_that_is_deleted_counts_as_withdrawn(world: World) -> None:
    slashed = "a/b"
    await world.kafka.send_records(CONSENT.name, 2, [f"{slashed}/analytics".encode()], [None])
    await world.kafka.send_records(CONSENT.name, 2, [b"nonsense", None], [None, None])
    await world.hear(CONSENT, await world.steward())
    assert await world.commands() == {(ANALYTICS, name(ANALYTICS, user=slashed), "erase"): 1}


async def test_what_is_no_request_is_rejected_and_stops_nothing(world: World) -> None:
    await world.ask("exclude", request_id="empty")
    await world.ask("erase", request_id="early", requested_at=now_ms() + 3_600_000)
    valid = (await world.codecs.records(PRIVACY_REQUESTS)).encode(
        [{"request_id": "r", "user_id": USER, "action": "lift", "requested_at": 5}]
    )[0]
    broken = [b"", b"\x00\xff\xff\xff\xffxx", valid + b"x"]
    await world.kafka.send_records(PRIVACY_REQUESTS.name, 0, [b"k"] * 3, broken)
    await world.kafka.send_records(PRIVACY_REQUESTS.name, 0, [b"k"], [None])
    await world.ask("restrict")
    await world.hear(PRIVACY_REQUESTS, await world.steward())
    rejected = [record for _, record in await world.read(REJECTED)]
    assert sorted((each["offset"], each["reason"]) for each in rejected) == [
        (0, "missing-field"),
        (1, "impossible-time"),
        (2, "malformed"),
        (3, "unknown-schema"),
        (4, "undecodable"),
    ]
    assert not any("canary" in each["detail"] for each in rejected)
    assert {key for _, key, _ in world.kafka.records(REJECTED.name)} >= {b"privacy-requests/0/3"}
    assert {action for *_, action in await world.commands()} == {"restrict"}


async def test_what_is_no_decision_is_rejected(world: World) -> None:
    await world.kafka.send_records(CONSENT.name, 1, [b"k"], [b"canary"])
    await world.decide("analytics", granted=False, at=5, user="")
    await world.hear(CONSENT, await world.steward())
    assert {each["reason"] for _, each in await world.read(REJECTED)} == {
        "malformed", "invalid-value",
    }  # fmt: skip
    assert await world.read(PRIVACY_COMMANDS) == []


async def test_an_answer_that_came_before_what_it_answers_is_settled_later(world: World) -> None:
    """A broker may show two topics at different times."""
    ahead = World()
    await world.ask("export")
    await ahead.ask("export")
    await ahead.hear(PRIVACY_REQUESTS, await ahead.steward())
    await ahead.answer()
    for partition, key, value in ahead.kafka.records(PRIVACY_ANSWERS.name):
        await world.kafka.send_records(PRIVACY_ANSWERS.name, partition, [key], [value])
    steward = await world.steward()
    await world.hear(PRIVACY_ANSWERS, steward)
    await steward.settle(RING)
    assert await world.read(PRIVACY_RECEIPTS) == []
    await world.hear(PRIVACY_REQUESTS, steward)
    await steward.settle(RING)
    assert (await world.receipt())["action"] == "export"


async def test_a_lost_partition_is_left_to_its_successor(world: World) -> None:
    await world.ask("export")
    old = await world.steward()
    await world.hear(PRIVACY_REQUESTS, old)
    await world.answer()
    await old.resume(set())
    await world.hear(PRIVACY_ANSWERS, old)
    assert await world.read(PRIVACY_RECEIPTS) == []
    await (await world.steward()).settle(RING)  # it came upon the answers when it took over
    assert (await world.receipt())["action"] == "export"


async def test_requests_and_their_duration_are_measured(world: World) -> None:
    def sample(metric: str) -> float:
        return metrics.REGISTRY.get_sample_value(metric, {"action": "lift"}) or 0.0

    count = "sottovoce_privacy_request_seconds_count"
    before = sample("sottovoce_privacy_requests_total"), sample(count)
    await world.ask("lift")
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward)
    await world.answer()
    await world.hear(PRIVACY_ANSWERS, steward)
    after = sample("sottovoce_privacy_requests_total"), sample(count)
    assert after == (before[0] + 1, before[1] + 1)


async def test_no_account_leaves_the_raw_zone_or_reaches_a_log(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    for action in ("erase", "restrict", "export"):
        await world.ask(action, request_id=f"canary-{action}")
    steward = await world.steward()
    await world.hear(PRIVACY_REQUESTS, steward, ring(overlap=True))
    await world.answer()
    await world.hear(PRIVACY_ANSWERS, steward, ring(overlap=True))
    assert len(await world.read(PRIVACY_RECEIPTS)) == 3
    outside = [topic for topic in topics.ALL if topic.zone is not topics.Zone.RAW]
    for topic in (*outside, shared(THIRD_PARTY), PRIVACY_STANDING):
        for _, key, value in world.kafka.records(topic.name):
            assert b"canary" not in (key or b"") + (value or b""), topic.name
    assert "canary" not in "".join(capfd.readouterr())


class BrokerSender:
    """A `Sender` outside any app."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def send_records(
        self,
        topic: str,
        partition: int,
        keys: Column,
        values: Column,
    ) -> int:
        return await send_records(self._producer, topic, partition, keys, values)


async def test_on_a_broker_a_repeated_batch_commands_and_receipts_once(
    embedded_broker: EmbeddedBroker,
) -> None:
    settings = load(brokers=embedded_broker.address)
    codecs = Codecs(schemas(), LocalRegistry(schemas()))
    here = (*Steward.reads, *Steward.writes)
    await create_topics(settings.kafka, dict.fromkeys(here), PARTITIONS, 1)
    async with (
        open_producer(settings.kafka, idempotent=False) as producer,
        partition_reader(settings.kafka) as reader,
    ):
        sender = BrokerSender(producer)

        async def started() -> Steward:
            steward = Steward(settings, codecs, policy())
            await steward.start(sender, reader, PARTITIONS)
            await steward.resume({(PRIVACY_ANSWERS.name, each) for each in range(PARTITIONS)})
            return steward

        async def everything(topic: Topic, partition: int) -> list[RecordBatch]:
            return [each async for each in read_span(reader, topic.name, partition)]

        request = {"request_id": "r", "user_id": USER, "action": "restrict", "requested_at": 5}
        encoded = (await codecs.records(PRIVACY_REQUESTS)).encode([request])
        await sender.send_records(PRIVACY_REQUESTS.name, 1, [USER.encode()], encoded)
        (batch,) = await everything(PRIVACY_REQUESTS, 1)
        for _ in range(2):
            await (await started()).take(batch, RING)
        (commands,) = await everything(PRIVACY_COMMANDS, home())
        assert sorted(key.decode() for key in commands.keys if key) == sorted(
            (name(PRODUCT), name(ANALYTICS))
        )
        values = [value for value in commands.values if value is not None]
        for command in await codecs.decode_records(values):
            for store in receipts.STORES["restrict"][command["audience"]]:
                answer = {
                    "request": command["request"], "audience": command["audience"],
                    "store": store, "action": "restrict", "removed": 1, "remaining": 0,
                    "check": "none", "finished_at": now_ms(),
                }  # fmt: skip
                encoded = (await codecs.records(PRIVACY_ANSWERS)).encode([answer])
                await sender.send_records(PRIVACY_ANSWERS.name, home(), [b"d"], encoded)
        for steward in (await started(), await started()):
            for answers in await everything(PRIVACY_ANSWERS, home()):
                await steward.take(answers, RING)
                await steward.take(answers, RING)
        (found,) = await everything(PRIVACY_RECEIPTS, home())
        (value,) = found.values
        assert value is not None
        (record,) = await codecs.decode_records([value])
        assert receipts.verify(record)
    await codecs.close()
