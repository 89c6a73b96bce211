"""A million real plays through Kafka, each role killed on the way: nothing lost, nothing doubled.

The answer is known: `expand_lastfm2k.py` writes the exact plays per listener and artist, and a
plain recount gives the profiles.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams.avro import schemas as schema_files
from streams.brokers.apache import ApacheBroker
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.process import Broker
from streams.cli import produce
from streams.cli.arrival import READS
from streams.cli.profiles import newest_profiles
from streams.privacy import keyring, policy
from streams.privacy.boundary import listener_names
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.settings import Settings
from streams.sources.detect import open_history
from streams.topics import PLAYS, REJECTED
from streams.transport.reader import partition_reader
from tests.taste.recount import recount
from tests.whole.compare import differences
from tests.whole.history import Expanded, expand
from tests.whole.system import System, running


async def stream(system: System, history: Expanded, kills: bool) -> int:
    """All plays in, with a SIGKILL for each role at a third of its way, until all has arrived."""
    await produce.send_catalogue(system.settings, list(produce.read_catalogue(history.catalogue)))
    sent = await produce.send_plays(
        system.settings, open_history([history.plays]).chunks(), lambda _: None
    )
    await system.start("gate")
    if kills:
        await system.until_committed("gate", PLAYS.name, sent.plays // 3)
        await system.kill("gate")
        await system.start("gate")
    await system.start("taste", "report")
    if kills:
        for role, topic in READS.items():
            await system.until_committed(role, topic, sent.plays // 3)
            await system.kill(role)
            await system.start(role)
    await system.arrived(sent.ends)
    for role in ("gate", "taste", "report"):
        assert await system.terminate(role) == 0
    return sent.plays


def facts(system: System) -> Counter[tuple[str, str]]:
    with duckdb.connect(str(system.settings.warehouse), read_only=True) as warehouse:
        rows = warehouse.execute(
            "SELECT listener, artist, sum(plays)::BIGINT FROM listener_day_artist GROUP BY ALL"
        ).fetchall()
    return Counter({(listener, artist): plays for listener, artist, plays in rows})


def differing(
    found: Counter[tuple[str, str]], expected: Counter[tuple[str, str]]
) -> list[tuple[int, int]]:
    """Counts that are not as expected: found, expected."""
    return [
        (found[key], expected[key])
        for key in found.keys() | expected.keys()
        if found[key] != expected[key]
    ]


async def profiles(system: System) -> dict[str, dict[str, Any]]:
    async with partition_reader(system.settings.kafka) as reader:
        return await newest_profiles(reader, system.codecs.registry)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_every_play_counts_once(
    fresh_broker: EmbeddedBroker, shared_data: Path, tmp_path: Path
) -> None:
    await check(fresh_broker, expand(shared_data, tmp_path / "history", 100_000), False)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_every_play_of_a_million_counts_once_though_workers_die(
    kafka_cache: Path, shared_data: Path, tmp_path: Path
) -> None:
    async with ApacheBroker(kafka_cache) as broker:
        await check(broker, expand(shared_data, tmp_path / "history", 1_000_000), True)


async def check(broker: Broker, history: Expanded, kills: bool) -> None:
    data, idempotence = history.folder / "data", isinstance(broker, ApacheBroker)
    async with running(broker.address, data, idempotence=idempotence) as system:
        sent = await stream(system, history, kills)
        analysts = Pseudonyms(system.settings, ANALYTICS)
        expected = Counter(
            {
                (analysts.of(user), artist): count
                for (user, artist), count in history.expected().items()
            }
        )
        assert sent == expected.total()
        assert differing(facts(system), expected) == []
        assert await system.records(REJECTED.name) == []
        found = await profiles(system)
    pseudonyms = Pseudonyms(system.settings, PRODUCT)
    items = system.settings.profile_items
    recounted = recount(
        ({**listen, "listener": pseudonyms.of(listen["listener"])} for listen in history.listens()),
        items=items,
    )
    assert found.keys() == recounted.keys()
    problems = [
        each
        for listener, profile in recounted.items()
        for each in differences(found[listener], profile, listener)
    ]
    assert problems == []


class Pseudonyms:
    """The gate's pseudonyms for an audience, made by the holder of the key."""

    def __init__(self, settings: Settings, audience: str) -> None:
        rules, known = policy.load(settings.policy), schema_files.load(settings.schemas)
        self.of = listener_names(rules, known, keyring.load(settings).key(audience)).hex
