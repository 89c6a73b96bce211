"""Erasure, rotation and audiences on the running system, against runs that never knew better."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from streams.brokers.embedded import EmbeddedBroker
from streams.cli import produce
from streams.cli.profiles import newest_profiles
from streams.privacy import keyring, keys
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.sources.play import Play
from streams.sources.simulate import Simulation
from streams.topics import CONSENT, TASTE_STATE
from streams.transport.producer import open_producer
from streams.transport.reader import partition_reader
from streams.warehouse import release
from streams.warehouse.facts import FACTS
from tests.whole.partner import with_partner
from tests.whole.system import ROLES, System, running
from tests.whole.test_exactly_once import Pseudonyms

LISTENERS = 60
ALL_ARTISTS = "1000"
"""More than anybody plays: what pruning leaves depends on when checkpoints fall."""
COUNTERS = ("data_quality", "release")
"""Marts that count records of the run itself, whose plays were really sent."""

Rows = dict[str, list[tuple[Any, ...]]]


def simulated(plays: int = 6_000) -> list[list[Play]]:
    simulation = Simulation(end=date(2026, 6, 1), listeners=LISTENERS, plays=plays, seed=11)
    return list(simulation.chunks())


def without(chunks: list[list[Play]], users: set[str]) -> list[list[Play]]:
    left = ([play for play in chunk if play["user_id"] not in users] for chunk in chunks)
    return [chunk for chunk in left if chunk]


def users_of(chunks: list[list[Play]]) -> list[str]:
    return sorted({play["user_id"] for chunk in chunks for play in chunk})


async def send(system: System, chunks: list[list[Play]]) -> dict[int, int]:
    return (await produce.send_plays(system.settings, chunks, lambda _: None)).ends


async def profiles(system: System) -> dict[str, dict[str, Any]]:
    async with partition_reader(system.settings.kafka) as reader:
        return await newest_profiles(reader, system.codecs.registry)


async def state(system: System) -> dict[str, bytes]:
    """Newest state record of each listener."""
    newest: dict[str, bytes] = {}
    for batch in await system.records(TASTE_STATE.name):
        for key, value in zip(batch.keys, batch.values, strict=True):
            assert key is not None
            if value is None:
                newest.pop(key.decode(), None)
            elif not key.startswith(b"@"):
                newest[key.decode()] = value
    return newest


def facts(system: System) -> Rows:
    with duckdb.connect(str(system.settings.warehouse), read_only=True) as warehouse:
        return {
            fact.table: sorted(
                warehouse.execute(
                    f"SELECT {', '.join(fact.keys)}, {', '.join(f'sum({c})' for c in fact.sums)}"
                    f" FROM {fact.table} GROUP BY ALL"
                ).fetchall(),
                key=repr,
            )
            for fact in FACTS
        }


def marts(system: System) -> Rows:
    with duckdb.connect(str(system.settings.released), read_only=True) as released:
        tables = [name for (name,) in released.execute("SHOW TABLES").fetchall()]
        return {
            name: sorted(released.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for name in tables
            if name not in COUNTERS
        }


async def published(system: System) -> Rows:
    await asyncio.to_thread(release.request_and_wait, system.settings.data, 60.0)
    return marts(system)


async def stopped(system: System) -> None:
    for role in ROLES:
        assert await system.terminate(role) == 0


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_after_erasure_everything_is_as_if_they_had_never_been(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    chunks = simulated()
    people = users_of(chunks)
    erased, half = set(people[5:10]), len(chunks) // 2
    key_file = tmp_path / "key.hex"
    keys.create(key_file)
    one = running(
        fresh_broker.address,
        tmp_path / "one",
        idempotence=False,
        key_file=key_file,
        rewrite_s="1",
        min_listeners="3",
        top_artists=ALL_ARTISTS,
    )
    async with one as system:
        await system.start()
        await system.arrived(await send(system, chunks[:half]))
        sending = asyncio.create_task(send(system, chunks[half:]))
        requests = [await system.ask(user, "erase") for user in sorted(erased)]
        await system.kill("taste")
        await system.kill("gate")
        await system.start("gate", "taste")
        await system.arrived(await sending)
        receipts = await system.receipts(*requests)
        # Old plays come again, of people who allow everything again.
        again = await send(system, [[play for play in chunks[0] if play["user_id"] in erased]])
        await system.arrived({number: end for number, end in again.items() if end})
        found_marts = await published(system)
        found_profiles, found_state = await profiles(system), await state(system)
        await stopped(system)
        found_facts = facts(system)
        names = {
            pseudonym for names in names_of(system, erased).values() for pseudonym in names.values()
        }
        bytes_left = system.settings.warehouse.read_bytes()
    for request in requests:
        body = json.loads(receipts[request]["body"])
        stores = {each["store"]: each for each in body["stores"]}
        assert {"taste-state", "taste-profiles", "warehouse", "release"} <= stores.keys()
        assert all(each["remaining"] == 0 for each in stores.values())
    assert not names & found_profiles.keys()
    assert not any(name.encode() in bytes_left for name in names)

    async with EmbeddedBroker() as other:
        never = running(
            other.address,
            tmp_path / "two",
            idempotence=False,
            key_file=key_file,
            min_listeners="3",
            top_artists=ALL_ARTISTS,
        )
        async with never as system:
            await system.start()
            await system.arrived(await send(system, without(chunks, erased)))
            assert found_marts == await published(system)
            assert found_profiles == await profiles(system)
            assert found_state.keys() == (await state(system)).keys()
            await stopped(system)
            assert found_facts == facts(system)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_profiles_and_facts_go_on_across_a_rotation(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    chunks = simulated()
    people, half = users_of(chunks), len(chunks) // 2
    key_file = tmp_path / "key.hex"
    keys.create(key_file)
    async with running(
        fresh_broker.address,
        tmp_path / "one",
        idempotence=False,
        key_file=key_file,
        rewrite_s="1",
        min_listeners="3",
        top_artists=ALL_ARTISTS,
    ) as system:
        before = names_of(system, people)
        await system.start()
        await system.arrived(await send(system, chunks[:half]))
        old_profiles = await profiles(system)
        keyring.rotate(system.settings, int(time.time() * 1_000))
        after = names_of(system, people)
        # A client sends again what it sent before the rotation.
        await system.arrived(await send(system, chunks[:1] + chunks[half:]))
        for user in people:
            await system.ask(user, "rekey")
        await until_renamed(system, set(after[PRODUCT].values()))
        found_marts = await published(system)
        found = await profiles(system)
        await stopped(system)
        found_facts = facts(system)
    assert not set(before[PRODUCT].values()) & set(after[PRODUCT].values())
    assert set(old_profiles) <= set(before[PRODUCT].values())
    assert set(found) <= set(after[PRODUCT].values())
    keyring.destroy(system.settings, 1, int(time.time() * 1_000), force=True)
    assert keyring.load(system.settings).usable == (2,)
    assert names_of(system, people) == after

    async with (
        EmbeddedBroker() as other,
        running(
            other.address,
            tmp_path / "two",
            idempotence=False,
            key_file=key_file,
            min_listeners="3",
            top_artists=ALL_ARTISTS,
        ) as system,
    ):
        await system.start()
        await system.arrived(await send(system, chunks))
        assert found == await profiles(system)
        assert found_marts == await published(system)
        await stopped(system)
        assert found_facts == facts(system)


def names_of(system: System, people: Iterable[str]) -> dict[str, dict[str, str]]:
    """By audience, the pseudonym of each user in the current epoch."""
    makers = {audience: Pseudonyms(system.settings, audience) for audience in (PRODUCT, ANALYTICS)}
    return {audience: {user: made.of(user) for user in people} for audience, made in makers.items()}


async def until_renamed(system: System, names: set[str]) -> None:
    async with asyncio.timeout(120):
        while not set(await profiles(system)) <= names:
            await asyncio.sleep(0.3)
    await asyncio.sleep(3)  # what the report role follows shows nowhere; its rewrite takes 1 s


def attacks(users: list[str]) -> Iterator[tuple[str, str]]:
    """What an attacker without the key can make of a user id."""
    for user in users:
        yield user, user
        for name in ("md5", "sha1", "sha256"):
            digest = hashlib.new(name, user.encode(), usedforsecurity=False)
            for cut in (16, 32, 40, 64):
                yield user, digest.hexdigest()[:cut]


def identified(users: list[str], seen: Mapping[str, object] | set[str]) -> set[str]:
    return {user for user, guess in attacks(users) if guess in seen}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_outputs_of_audiences_do_not_join_and_identify_nobody(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    chunks = simulated(4_000)
    people = users_of(chunks)
    schemas = with_partner(tmp_path / "schemas")
    sharing = set(people[::2])
    async with running(
        fresh_broker.address, tmp_path / "data", idempotence=False, schemas=str(schemas)
    ) as system:
        await grant_sharing(system, sharing)
        await system.start()
        await system.arrived(await send(system, chunks))
        product = set(await profiles(system))
        shared = {
            key.decode()
            for batch in await system.records("shared.partner")
            for key in batch.keys
            if key is not None
        }
        ledger = [
            record
            for batch in await system.records("deliveries")
            for record in await system.codecs.decode_records(
                [value for value in batch.values if value is not None]
            )
        ]
        await stopped(system)
        analysts = {row[0] for rows in facts(system).values() for row in rows}
        subjects = keyring.load(system.settings).subjects()
    assert len(product) == len(analysts) == len(people)
    assert len(shared) == len(sharing)
    assert not product & analysts
    assert not shared & (product | analysts)
    seen = product | analysts | shared | {each["subject"] for each in ledger}
    assert identified(people, seen) == set()
    unsalted = {hashlib.sha256(user.encode()).hexdigest()[:32] for user in people[:7]}
    assert identified(people, seen | unsalted) == set(people[:7])
    assert {each["subject"] for each in ledger} == {subjects.hex(user) for user in sharing}
    assert {each["recipient"] for each in ledger} == {"A partner"}
    assert all(each["categories"] for each in ledger)


async def grant_sharing(system: System, users: set[str]) -> None:
    async with open_producer(system.settings.kafka, idempotent=False) as producer:
        encoder = await system.codecs.records(CONSENT)
        await produce.Granting(encoder, producer, ["sharing"]).send(users)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_purpose_taken_back_and_an_artist_left_out_hold_for_them_alone(
    fresh_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    chunks = simulated(4_000)
    people = users_of(chunks)
    quiet, picky = people[3], people[4]
    async with running(
        fresh_broker.address, tmp_path / "data", idempotence=False, rewrite_s="1"
    ) as system:
        names = names_of(system, people)
        await system.start()
        await system.arrived(await send(system, chunks))
        before = await profiles(system)
        favourite = before[names[PRODUCT][picky]]["terms"][0]["artists"][0]["name"]
        await decide(system, quiet, "analytics", granted=False)
        excluded = await system.ask(picky, "exclude", exclude_artist=favourite)
        await system.receipts(excluded)
        await until_erased(system)
        after = await profiles(system)
        await stopped(system)
        listeners = {row[0] for rows in facts(system).values() for row in rows}
    assert listeners == set(names[ANALYTICS].values()) - {names[ANALYTICS][quiet]}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {names[PRODUCT][picky]}
    kept = after[names[PRODUCT][picky]]
    plays = sum(
        (play["user_id"], play["artist"]["name"]) == (picky, favourite)
        for play in unique(chunks)
        if not play["private_session"]
    )
    assert plays
    assert kept["plays"] == before[names[PRODUCT][picky]]["plays"] - plays
    for term in kept["terms"]:
        assert favourite not in {artist["name"] for artist in term["artists"]}


def unique(chunks: list[list[Play]]) -> list[Play]:
    """Each event once, as a client's repetition counts once."""
    return list({play["event_id"]: play for chunk in chunks for play in chunk}.values())


async def decide(system: System, user: str, purpose: str, *, granted: bool) -> None:
    async with open_producer(system.settings.kafka, idempotent=False) as producer:
        encoder = await system.codecs.records(CONSENT)
        decision = {
            "user_id": user,
            "purpose": purpose,
            "granted": granted,
            "decided_at": int(time.time() * 1_000),
        }
        await produce.send_consents(producer, encoder, [decision])


async def until_erased(system: System) -> None:
    """Until the report role has carried out an erasure."""
    async with asyncio.timeout(60):
        while True:
            page = await system.pages.read("report")
            done = page.by("sottovoce_privacy_commands_total", "role", "action")
            if done.get(("report", "erase")):
                return
            await asyncio.sleep(0.2)
