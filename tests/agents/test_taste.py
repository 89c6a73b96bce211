"""The taste role over topics in memory: privacy commands, rekeys, crashes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pytest

from streams.agents import taste_partition
from streams.agents.codecs import Codecs
from streams.agents.commands import Command, Rekey
from streams.agents.taste import Taste
from streams.agents.taste_partition import POSITIONS_KEY
from streams.app.roles import codecs_of
from streams.errors import BrokerError
from streams.settings import load
from streams.taste.state import Bounds, TasteState
from streams.topics import (
    LISTENS,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    PROFILES,
    TASTE_STATE,
    Topic,
)
from tests.agents.partitions import Topics
from tests.agents.test_commands import command, rows
from tests.taste import histories
from tests.taste.histories import LAST_MINUTE, MINUTE_MS, Listen

SETTINGS = load(duplicate_horizon=50)
CODECS = codecs_of(SETTINGS)
PEOPLE = tuple(f"{number:032x}" for number in range(1, 7))
NEXT = {name: f"{number:032x}" for number, name in enumerate(PEOPLE, 101)}
ITEMS = 20
BATCH_BYTES = 2_000
"""Of the stories' Kafka, so that a checkpoint takes many."""


def listen(person: str, minute: int, **fields: Any) -> Listen:
    """A listen ``minute`` minutes after the beginning of the story."""
    return histories.listen(LAST_MINUTE + minute, listener=person, **fields)


def at(minute: int) -> int:
    return (LAST_MINUTE + minute) * MINUTE_MS


@dataclass(slots=True)
class World:
    """Topics and what runs on them."""

    topics: Topics
    codecs: Codecs
    played: list[Listen]
    taste: Taste
    next: dict[tuple[str, int], int] = field(default_factory=dict)

    @classmethod
    async def of(cls, batch_bytes: int = 900 * 1024) -> World:
        world = cls(Topics(batch_bytes), CODECS, [], Taste(SETTINGS, CODECS))
        await world.start()
        return world

    async def start(self) -> None:
        """A new worker, in place of any that was."""
        self.taste = Taste(SETTINGS, self.codecs)
        await self.taste.start(self.topics, self.topics.reader())
        places = {(topic.name, 0) for topic in Taste.inputs}
        self.next = dict(await self.taste.resume(places, 1))

    async def play(self, listens: Sequence[Listen], again: Sequence[int] = ()) -> None:
        """The gate writes ``listens``, and those numbered ``again`` twice."""
        encoder = await self.codecs.columns(LISTENS)
        numbers = [*range(len(self.played), len(self.played) + len(listens)), *again]
        self.played += listens
        absent = dict.fromkeys(("artist_mbid", "country", "device_class", "context_type"))
        rows = [
            {
                **self.played[number],
                **absent,
                "event": number,
                "source_partition": 0,
                "source_offset": number,
            }
            for number in numbers
        ]
        frame = pl.DataFrame(rows, schema_overrides={"genres": pl.List(pl.String)})
        keys = [row["listener"].encode() for row in rows]
        self.topics.add(LISTENS, keys, encoder.encode(frame))

    async def ask(self, *events: Command | Rekey) -> None:
        """The gate writes commands and rekeys."""
        for event in events:
            topic = PRIVACY_REKEYS if isinstance(event, Rekey) else PRIVACY_COMMANDS
            encoder = await self.codecs.records(topic)
            values = encoder.encode({"issued_at": 0, **row} for row in rows([event]))
            self.topics.add(topic, [b"key"], values)

    async def take(self, topic: Topic, size: int = 1_000) -> bool:
        """Hand the worker the next batch, if there is one."""
        batch = self.topics.batch(topic, self.next[topic.name, 0], size)
        if batch is None:
            return False
        await self.taste.take(batch, lambda: None)
        self.next[topic.name, 0] = batch.next_offset
        return True

    async def run(self, order: Sequence[Topic] = Taste.inputs) -> None:
        """Take everything there is, topic by topic, and write."""
        for topic in order:
            while await self.take(topic):
                pass
        await self.taste.checkpoint()

    async def states(self) -> dict[str, bytes]:
        """Bodies as the changelog has them."""
        newest = self.topics.newest(TASTE_STATE)
        newest.pop(POSITIONS_KEY.decode(), None)
        live = {key: value for key, value in newest.items() if value}
        if not live:
            return {}
        bodies = (await self.codecs.decode(list(live.values()), ("body",)))["body"]
        return dict(zip(live, bodies.to_list(), strict=True))

    async def profiles(self) -> dict[str, dict[str, Any]]:
        """Profiles as readers see them."""
        live = {key: value for key, value in self.topics.newest(PROFILES).items() if value}
        records = await self.codecs.decode_records(list(live.values()))
        return dict(zip(live, records, strict=True))

    async def answers(self) -> list[dict[str, Any]]:
        """All answers."""
        values = [record.value or b"" for record in self.topics.records(PRIVACY_ANSWERS)]
        return await self.codecs.decode_records(values)

    def deleted(self, topic: Topic) -> set[str]:
        """Keys whose newest record deletes them."""
        return {key for key, value in self.topics.newest(topic).items() if not value}


async def expect(world: World, listens: dict[int, Listen], hidden: Set[str] = frozenset()) -> None:
    """Check that the stores are what these listens, by offset, make."""
    frame = histories.frame(listens.values()).with_columns(
        offset=pl.Series(list(listens), dtype=pl.Int64)
    )
    state = TasteState(Bounds())
    state.fold(frame)
    people = state.checkpoint().listeners
    dump = state.dump(people)
    assert await world.states() == dict(zip(dump.listeners, dump.bodies, strict=True))
    encoder = await world.codecs.nested(PROFILES)
    expected = {
        name: value
        for page in state.profile_tables(people, ITEMS)
        for name, value in zip(
            page["listener"].to_pylist(), encoder.column(page).to_pylist(), strict=True
        )
        if name not in hidden
    }
    newest = world.topics.newest(PROFILES)
    assert {key: value for key, value in newest.items() if value} == expected


async def test_an_erased_listener_is_gone_and_old_plays_stay_out() -> None:
    world = await World.of()
    one, two = PEOPLE[:2]
    await world.play([listen(one, 0), listen(two, 1), listen(one, 2)])
    await world.run()
    await world.ask(command(listener=one, before=at(10), request="a" * 32))
    await world.run()
    await expect(world, {1: world.played[1]})
    assert world.deleted(TASTE_STATE) == world.deleted(PROFILES) == {one}
    answers = await world.answers()
    assert {each["store"]: (each["removed"], each["remaining"]) for each in answers} == {
        "taste-state": (1, 0),
        "taste-profiles": (1, 0),
    }
    await world.play([listen(one, 9), listen(one, 10)])
    await world.run()
    await expect(world, {1: world.played[1], 4: world.played[4]})
    await world.start()
    await world.play([listen(one, 3), listen(two, 11)])
    await world.run()
    await expect(world, {1: world.played[1], 4: world.played[4], 6: world.played[6]})


async def test_deletions_are_durable_before_the_answer() -> None:
    answered = False
    for last_write in range(12):
        world = await World.of()
        await world.play([listen(PEOPLE[0], 0)])
        await world.ask(command(listener=PEOPLE[0], before=at(1), request="a" * 32))
        world.topics.last_write = last_write
        with suppress(BrokerError):
            await world.run()
        deleted = world.deleted(TASTE_STATE) & world.deleted(PROFILES)
        answered = bool(await world.answers())
        assert not answered or deleted == {PEOPLE[0]}
    assert answered


async def test_commands_of_other_audiences_and_without_request_get_no_answer() -> None:
    world = await World.of()
    await world.play([listen(PEOPLE[0], 0)])
    await world.ask(
        command(listener=PEOPLE[0], before=at(10), audience="analytics", request="a" * 32),
        command(1, listener=PEOPLE[1], before=at(10)),
    )
    await world.run()
    await expect(world, {0: world.played[0]})
    assert await world.answers() == []
    await world.start()
    assert world.next == {("listens", 0): 1, ("privacy-commands", 0): 2, ("privacy-rekeys", 0): 0}


async def test_a_restricted_profile_is_hidden_until_lifted_whatever_comes_between() -> None:
    world = await World.of()
    one, two = PEOPLE[:2]
    await world.play([listen(one, 0), listen(two, 0)])
    await world.run()
    await world.ask(command(0, listener=one, action="restrict", request="a" * 32))
    await world.run()
    assert world.deleted(PROFILES) == {one}
    await expect(world, dict(enumerate(world.played)), hidden={one})
    world.topics.begin[PRIVACY_COMMANDS.name] = 1
    await world.start()
    await world.play([listen(one, 5)])
    await world.ask(Rekey(0, "product", one, NEXT[one], 2))
    await world.run()
    moved = {n: {**each, "listener": NEXT[one], "epoch": 2} for n, each in enumerate(world.played)}
    moved[1] = world.played[1]
    await expect(world, moved, hidden={NEXT[one]})
    await world.ask(command(1, listener=one, action="lift"))
    await world.run()
    await expect(world, moved)


async def test_a_restriction_under_the_old_pseudonym_hides_the_profile_of_the_new() -> None:
    world = await World.of()
    one = PEOPLE[0]
    await world.ask(command(listener=one, action="restrict"))
    await world.play([listen(NEXT[one], 0, epoch=2)])
    await world.run()
    await expect(world, {0: world.played[0]})
    await world.ask(Rekey(0, "product", one, NEXT[one], 2))
    await world.run()
    await expect(world, {0: world.played[0]}, hidden={NEXT[one]})
    assert NEXT[one] in world.deleted(PROFILES)


async def test_an_export_hands_out_what_both_stores_hold() -> None:
    world = await World.of()
    await world.play([listen(PEOPLE[0], 0, artist="été"), listen(PEOPLE[0], 1, artist="花")])
    await world.ask(
        command(0, listener=PEOPLE[0], action="export", request="a" * 32),
        command(1, listener=PEOPLE[1], action="export", request="b" * 32),
    )
    await world.run()
    answers = await world.answers()
    assert [(each["removed"], each["held"] is None) for each in answers] == [
        (1, False), (1, False), (0, True), (0, True),
    ]  # fmt: skip
    held = {each["store"]: json.loads(each["held"]) for each in answers[:2]}
    assert held["taste-state"]["plays"] == held["taste-profiles"]["plays"] == 2
    assert held["taste-state"]["first_at"] == at(0)
    assert held["taste-state"]["artists"] == [
        {"name": "été", "listens": 1, "first_at": at(0)},
        {"name": "花", "listens": 1, "first_at": at(1)},
    ]
    assert held["taste-state"]["genres"] == ["ambient"]
    profile = (await world.profiles())[PEOPLE[0]]
    assert held["taste-profiles"]["terms"] == profile["terms"]
    assert held["taste-profiles"]["as_of"] == at(1)


@pytest.mark.parametrize(
    "rule",
    [
        {"exclude_artist": "Aster"},
        {"exclude_artist": "Aster", "exclude_from": at(2)},
        {"exclude_from": at(1), "exclude_until": at(3)},
        {},
    ],
)
async def test_an_exclusion_is_exact_while_the_topic_holds_every_play(rule: dict[str, Any]) -> None:
    world = await World.of()
    one, two = PEOPLE[:2]
    plays = [
        listen(who, minute, artist=artist)
        for minute in range(4)
        for who, artist in ((one, "Aster"), (one, "Bryony"), (two, "Aster"))
    ]
    await world.play(plays, again=[0, 4, 6])
    await world.run()
    await world.ask(command(listener=one, action="exclude", request="a" * 32, **rule))
    await world.run()
    await world.play([listen(one, 2, artist="Aster"), listen(one, 9, artist="Clover")])
    await world.run()
    offsets = [n if n < 12 else n + 3 for n in range(14)]
    kept = {
        offset: each
        for offset, each in zip(offsets, world.played, strict=True)
        if each["listener"] == two
        or each["artist"] != rule.get("exclude_artist", each["artist"])
        or not rule.get("exclude_from", 0) <= each["started_at"] < rule.get("exclude_until", 2**60)
    }
    await expect(world, kept)
    before = sum(1 for n in offsets if n < 12) - sum(1 for n in kept if n < 12)
    assert [
        (each["removed"], each["remaining"], "exact" in each["check"])
        for each in await world.answers()
    ] == [(before, 0, True)] * 2


async def test_an_exclusion_after_retention_subtracts_what_the_topic_still_holds() -> None:
    world = await World.of()
    one, year = PEOPLE[0], 365 * 1_440
    await world.play([listen(one, -3 * year, artist="Aster"), listen(one, -year, artist="Bryony")])
    recent = [("Aster", 0), ("Bryony", 1), ("Aster", 2), ("Clover", 3)]
    for artist, minute in recent:
        await world.play([listen(one, minute, artist=artist)])
    await world.run()
    world.topics.begin[LISTENS.name] = 2
    oldest = world.topics.log[LISTENS.name][2]
    world.topics.log[LISTENS.name][2] = replace(oldest, timestamp=at(0))
    session = {"exclude_from": at(2), "exclude_until": at(4)}
    await world.ask(command(0, listener=one, action="exclude", request="a" * 32, **session))
    await world.run()
    (profile,) = (await world.profiles()).values()
    wanted = TasteState(Bounds())
    wanted.fold(histories.frame([*world.played[:4]]))
    (expected,) = wanted.profiles([one], ITEMS)
    assert profile["as_of"].timestamp() * 1_000 == expected["as_of"] == at(1)
    assert profile["terms"] == expected["terms"]
    await world.ask(
        command(1, listener=one, action="exclude", request="b" * 32, exclude_artist="Aster")
    )
    await world.run()
    (profile,) = (await world.profiles()).values()
    assert profile["plays"] == 3
    for term in profile["terms"]:
        assert [each["name"] for each in term["artists"]] == ["Bryony"]
    answers = [each for each in await world.answers() if each["store"] == "taste-state"]
    assert [each["removed"] for each in answers] == [2, 2]
    assert all(each["remaining"] == 0 and "approximate" in each["check"] for each in answers)
    await world.ask(command(2, listener=one, action="exclude", request="c" * 32))
    await world.run()
    assert not await world.states()
    assert not await world.profiles()
    assert world.deleted(PROFILES) == {one}


async def test_positions_of_a_release_before_commands_are_understood() -> None:
    world = await World.of()
    await world.play([listen(PEOPLE[0], 0), listen(PEOPLE[0], 1)])
    await world.run()
    encoder = await world.codecs.columns(TASTE_STATE)
    old = pl.DataFrame({"listens_offset": [1], "body": [b'{"0": 1}']})
    world.topics.add(TASTE_STATE, [POSITIONS_KEY], encoder.encode(old))
    await world.start()
    assert world.next == {("listens", 0): 2, ("privacy-commands", 0): 0, ("privacy-rekeys", 0): 0}
    await world.play([listen(PEOPLE[0], 2)], again=[1])
    await world.run()
    await expect(world, dict(enumerate(world.played)))


def story(seed: int) -> tuple[list[Listen], list[Command | Rekey]]:
    """Plays of some people, half of them under two pseudonyms, and all kinds of commands."""
    draw = random.Random(seed)
    changing = draw.sample(PEOPLE, 3)
    plays = []
    for minute in range(40):
        person = draw.choice(PEOPLE)
        renamed = person in changing and minute > draw.choice((15, 25))
        plays.append(
            listen(
                NEXT[person] if renamed else person,
                draw.randrange(60),
                epoch=2 if renamed else 1,
                artist=draw.choice(("Aster", "Bryony", "Clover")),
            )
        )
    erased, excluded, restricted = draw.sample(PEOPLE, 3)
    asked: list[Command | Rekey] = [
        command(0, listener=erased, before=at(draw.randrange(60)), request="a" * 32),
        command(1, listener=NEXT[changing[0]], before=at(draw.randrange(60))),
        command(2, listener=excluded, action="exclude", exclude_artist="Aster", request="b" * 32),
        command(
            3, listener=changing[1], action="exclude", exclude_from=at(20), exclude_until=at(40)
        ),
        command(4, listener=restricted, action="restrict"),
    ]
    asked += [Rekey(n, "product", person, NEXT[person], 2) for n, person in enumerate(changing)]
    return plays, asked


def outcome(
    plays: list[Listen], asked: list[Command | Rekey]
) -> tuple[dict[int, Listen], set[str]]:
    """Listens that must be in, by offset, and whose profile must be hidden."""
    successor = {each.old: each.new for each in asked if isinstance(each, Rekey)}
    kept: dict[int, Listen] = {}
    commands = [each for each in asked if isinstance(each, Command)]
    for offset, play in enumerate(plays):
        name = successor.get(play["listener"], play["listener"])
        about = [each for each in commands if successor.get(each.listener, each.listener) == name]
        out = any(
            (each.action == "erase" and play["started_at"] < (each.before or 0))
            or (
                each.action == "exclude"
                and each.exclude_artist in (None, play["artist"])
                and (each.exclude_from or 0) <= play["started_at"] < (each.exclude_until or 2**60)
            )
            for each in about
        )
        if not out:
            epoch = 2 if name in NEXT.values() else play["epoch"]
            kept[offset] = {**play, "listener": name, "epoch": epoch}
    hidden = {each.listener for each in commands if each.action == "restrict"}
    return kept, {successor.get(name, name) for name in hidden}


async def advance(world: World, draw: random.Random) -> None:
    """Run to the end in a random interleaving of topics, batches and checkpoints."""
    left = set(Taste.inputs)
    while left:
        if draw.random() < 0.1:
            await world.taste.checkpoint()
        topic = draw.choice(sorted(left, key=lambda each: each.name))
        if not await world.take(topic, draw.choice((2, 8, 20))):
            left.discard(topic)
    await world.taste.checkpoint()


async def written(seed: int) -> World:
    """A story that nobody has read yet."""
    plays, asked = story(seed)
    world = await World.of(BATCH_BYTES)
    await world.play(plays)
    await world.ask(*asked)
    return world


async def crashing(seed: int, last_write: int | None) -> World:
    """A story whose broker goes away after so many writes, and comes back."""
    world, draw = await written(seed), random.Random(seed)
    world.topics.last_write = last_write
    with suppress(BrokerError):
        await advance(world, draw)
        return world
    world.topics.last_write = None
    await world.start()
    await advance(world, draw)
    return world


@pytest.mark.parametrize("seed", range(12))
async def test_the_order_in_which_topics_arrive_leaves_no_trace(seed: int) -> None:
    world = await crashing(seed, None)
    await expect(world, *outcome(*story(seed)))


async def test_a_crash_between_any_two_writes_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(taste_partition, "BATCH_BYTES", BATCH_BYTES)
    seed = 1
    whole = await crashing(seed, None)
    expected = outcome(*story(seed))
    for last_write in range(whole.topics.writes):
        world = await crashing(seed, last_write)
        await expect(world, *expected)
        assert not whole.deleted(PROFILES) & (await world.profiles()).keys()
        assert not whole.deleted(TASTE_STATE) & (await world.states()).keys()
        answers = [{**each, "finished_at": None} for each in await world.answers()]
        asked = {(each["request"], each["store"]): each for each in answers}
        assert len(asked) == 4
        assert all(asked[each["request"], each["store"]] == each for each in answers)


@pytest.mark.parametrize("seed", range(12))
async def test_a_crash_after_a_crash_leaves_no_trace(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taste_partition, "BATCH_BYTES", BATCH_BYTES)
    draw = random.Random(seed)
    world = await written(seed)
    for crash in range(6):
        world.topics.last_write = world.topics.writes + draw.randrange(40) if crash < 5 else None
        with suppress(BrokerError):
            await world.start()
            await advance(world, draw)
    await expect(world, *outcome(*story(seed)))
