"""The report role over topics in memory: privacy commands, rekeys, answers, crashes."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from streams.agents import report_answers
from streams.agents.codecs import Codecs
from streams.agents.commands import Command, Rekey
from streams.agents.report import Report
from streams.agents.report_partition import STORES
from streams.app.roles import codecs_of
from streams.brokers.process import free_port
from streams.errors import RegistryError, StateError
from streams.privacy import receipts
from streams.privacy.policy import ANALYTICS
from streams.settings import Settings, load
from streams.topics import (
    ANALYTICS_LISTENS,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    Topic,
)
from streams.warehouse.rewriting import found
from streams.warehouse.store import Warehouse
from tests.agents import test_commands
from tests.agents.partitions import Topics
from tests.warehouse import recount
from tests.warehouse.generate import DAY_MS, SUNDAY, World
from tests.warehouse.recount import Listen
from tests.warehouse.released import added_up, read

MINUTE_MS = 60_000
PEOPLE = tuple(f"{number:032x}" for number in range(0xA1, 0xA7))
NEXT = {name: f"{number:032x}" for number, name in enumerate(PEOPLE, 0xB1)}
NOON = SUNDAY + DAY_MS // 2


def listen(person: str, minute: int, **fields: Any) -> Listen:
    """A play ``minute`` minutes after noon of a day."""
    return {
        "listener": person,
        "started_at": NOON + minute * MINUTE_MS,
        "ms_played": 60_000,
        "completion": 50,
        "counted": True,
        "skipped": False,
        "artist": "Aster",
        "genres": ["pop"],
        "country": "DE",
        "device_class": "phone",
        **fields,
    }


def command(action: str, listener: str, minute: int = 0, request: str = "r") -> Command:
    before = NOON + minute * MINUTE_MS if action == "erase" else None
    return test_commands.command(
        action=action, listener=listener, before=before, request=request, audience=ANALYTICS
    )


def rekey(old: str, new: str) -> Rekey:
    return Rekey(0, ANALYTICS, old, new, 2)


@dataclass(slots=True)
class Story:
    """Topics and the worker that runs on them."""

    settings: Settings
    topics: Topics
    codecs: Codecs
    report: Report
    played: int = 0
    acknowledged: int = 0
    next: dict[tuple[str, int], int] = field(default_factory=dict)

    async def start(self) -> None:
        self.report = Report(self.settings, self.codecs)
        await self.report.start(self.topics, self.topics.reader())
        places = {(topic.name, 0) for topic in Report.inputs}
        self.next = dict(await self.report.resume(places, 1))

    async def die(self) -> None:
        """The worker is gone with what it held, and another one starts."""
        self.report._warehouse.close()
        await self.start()

    async def play(self, *listens: Listen, again: Sequence[int] = ()) -> None:
        """The gate writes ``listens``, and the positions ``again`` once more."""
        encoder = await self.codecs.columns(ANALYTICS_LISTENS)
        rows = [
            {
                **each,
                **dict.fromkeys(("artist_mbid", "context_type")),
                "epoch": 1,
                "event": number,
                "source_partition": 0,
                "source_offset": number,
            }
            for number, each in enumerate(listens, self.played)
        ]
        self.played += len(listens)
        rows += [rows[each] for each in again]
        frame = pl.DataFrame(
            rows,
            schema_overrides={
                "genres": pl.List(pl.String), "completion": pl.Int32, "ms_played": pl.Int32,
                "artist_mbid": pl.String, "context_type": pl.String, "country": pl.String,
                "device_class": pl.String,
            },
        )  # fmt: skip
        keys = [str(row["listener"]).encode() for row in rows]
        self.topics.add(ANALYTICS_LISTENS, keys, encoder.encode(frame))

    async def ask(self, *events: Command | Rekey) -> None:
        """The gate writes commands and rekeys."""
        commands = [each for each in events if isinstance(each, Command)]
        rekeys = [each for each in events if isinstance(each, Rekey)]
        await test_commands.written(self.topics, self.codecs, commands, rekeys)

    async def take(self, topic: Topic, size: int = 10_000) -> bool:
        """Hand the worker the next batch, if there is one."""
        batch = self.topics.batch(topic, self.next[topic.name, 0], size)
        if batch is None:
            return False

        def done() -> None:
            self.acknowledged += 1

        await self.report.take(batch, done)
        self.next[topic.name, 0] = batch.next_offset
        return True

    async def run(self, order: Sequence[Topic] = Report.inputs) -> None:
        """Take everything there is, topic by topic, and write."""
        for topic in order:
            while await self.take(topic):
                pass
        await self.report.checkpoint()

    async def until(self, reached: Callable[[], Awaitable[bool]]) -> None:
        """Checkpoints as the timer makes them."""
        async with asyncio.timeout(20):
            while not await reached():
                await self.report.checkpoint()
                await asyncio.sleep(0.02)

    async def answers(self) -> list[dict[str, Any]]:
        """Everything on ``privacy-answers``."""
        values = [each.value for each in self.topics.records(PRIVACY_ANSWERS) if each.value]
        return await self.codecs.decode_records(values) if values else []

    async def answered(self, number: int) -> list[dict[str, Any]]:
        """The answers, once there are so many."""

        async def reached() -> bool:
            return len(await self.answers()) >= number

        await self.until(reached)
        return await self.answers()

    def facts(self) -> dict[str, dict[tuple[object, ...], dict[str, int]]]:
        return added_up(self.report._warehouse)

    async def marts(self) -> recount.Marts:
        """Those of a release that is asked for now."""
        released = self.settings.released
        before = released.stat().st_ino if released.exists() else None
        (self.settings.data / "release.request").write_text("request", "utf-8")

        async def reached() -> bool:
            return released.exists() and released.stat().st_ino != before

        await self.until(reached)
        await self.report._upkeep.stop()
        return read(released)


@asynccontextmanager
async def story(folder: Path, **overrides: Any) -> AsyncIterator[Story]:
    """A worker that rewrites at once and releases when asked or owed."""
    settings = load(
        data=folder,
        **{
            "min_listeners": 1,
            "rewrite_s": 0,
            "release_s": 3_600,
            "duplicate_horizon": 50,
            **overrides,
        },
    )
    codecs = codecs_of(settings)
    told = Story(settings, Topics(), codecs, Report(settings, codecs))
    await told.start()
    try:
        yield told
    finally:
        await told.report.stop()


def test_it_answers_what_a_receipt_waits_for() -> None:
    expected = {action: set(stores) for action, stores in STORES.items() if stores}
    assert expected == {
        action: set(by_audience[ANALYTICS])
        for action, by_audience in receipts.STORES.items()
        if ANALYTICS in by_audience
    }


async def test_an_erasure_is_answered_after_the_rewrite_and_the_release(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        await told.play(*(listen(each, -5) for each in PEOPLE for _ in range(3)))
        await told.run()
        await told.marts()
        await told.marts()
        assert _parquet_folders(tmp_path) == 2
        page = tmp_path / "report.html"
        page.write_text("of an earlier release", "utf-8")
        await told.ask(command("erase", PEOPLE[0]))
        answers = await _run_until_answered(told, 2)
        assert [(each["store"], each["removed"], each["remaining"]) for each in answers] == [
            ("warehouse", 3, 0),
            ("release", 0, 0),
        ]
        assert all(each["request"] == "r" and each["action"] == "erase" for each in answers)
        await told.report._upkeep.stop()
        assert _parquet_folders(tmp_path) == 1
        assert page.read_text("utf-8").startswith("<!")
        assert read(told.settings.released)["artists"][0]["listeners"] == len(PEOPLE) - 1
        told.report._warehouse.close()
        assert found(told.settings.warehouse, PEOPLE) == set(PEOPLE[1:])
        assert [each.name for each in told.settings.warehouse.parent.iterdir()] == [
            told.settings.warehouse.name
        ]
        await told.start()


async def test_who_goes_on_listening_is_held_again_and_the_answer_says_so(tmp_path: Path) -> None:
    async with story(tmp_path, rewrite_s=3_600) as told:
        plays = [listen(PEOPLE[0], minute) for minute in (-2_000, -1, 0, 1)]
        await told.play(*plays)
        await told.run()
        await told.ask(command("erase", PEOPLE[0]))
        await told.run()
        assert told.facts() == recount.facts(plays[2:])
        told.report._upkeep._rewrite_at = 0.0
        answers = await told.answered(2)
        assert [each["remaining"] for each in answers] == [0, 0]
        assert "later plays are held" in answers[0]["check"]


async def test_a_revocation_removes_and_is_not_answered(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        await told.play(listen(PEOPLE[0], -1), listen(PEOPLE[1], -1))
        await told.ask(command("restrict", PEOPLE[0]), command("erase", PEOPLE[0], request=""))
        await told.run()

        async def rewritten() -> bool:
            return not await asyncio.to_thread(told.report._warehouse.is_stale)

        await told.until(rewritten)
        assert told.facts() == recount.facts([listen(PEOPLE[1], -1)])
        assert told.report._warehouse.is_restricted([PEOPLE[0]])
        assert [each["action"] for each in await told.answers()] in ([], ["restrict"])


async def test_who_restricts_is_in_no_release_until_that_is_lifted(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        await told.play(*(listen(each, -5) for each in PEOPLE))
        await told.ask(command("restrict", PEOPLE[0]), rekey(PEOPLE[0], NEXT[PEOPLE[0]]))
        await told.run()
        assert (await told.marts())["artists"][0]["listeners"] == len(PEOPLE) - 1
        assert len(told.facts()["listener_day"]) == len(PEOPLE)
        await told.ask(command("lift", NEXT[PEOPLE[0]]))
        await told.run()
        assert (await told.marts())["artists"][0]["listeners"] == len(PEOPLE)
        answers = await told.answered(2)
        assert [(each["action"], each["store"]) for each in answers] == [
            ("restrict", "release"),
            ("lift", "release"),
        ]


async def test_an_export_tells_all_that_is_held_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_answers, "PART_BYTES", 200)
    async with story(tmp_path) as told:
        plays = [listen(PEOPLE[0], 60 * hour, artist=f"Artist {hour}") for hour in range(9)]
        await told.play(*plays, listen(PEOPLE[1], 0, artist="Other"))
        await told.ask(command("export", PEOPLE[0]))
        answers = await _run_until_answered(told, 1)
        parts = [json.loads(each["held"]) for each in answers]
        assert [part["part"] for part in parts] == list(range(1, len(parts) + 1))
        assert {part["parts"] for part in parts} == {len(parts)} != {1}
        rows = [row for part in parts for row in part["tables"]["listener_day_artist"]["rows"]]
        assert [row[:2] for row in rows] == [["2026-01-04", f"Artist {hour}"] for hour in range(9)]
        columns = parts[0]["tables"]["listener_day"]["columns"]
        totals = [row for part in parts for row in part["tables"]["listener_day"]["rows"]]
        assert [dict(zip(columns, row, strict=True))["plays"] for row in totals] == [9]
        assert not any(PEOPLE[0] in str(each["held"]) for each in answers)
        assert {each["removed"] for each in answers} == {told.report._warehouse.holds([PEOPLE[0]])}


async def test_marts_count_a_listener_once_across_a_rotation(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        new = NEXT[PEOPLE[0]]
        await told.play(listen(PEOPLE[0], -5), listen(PEOPLE[1], -5), again=[0])
        await told.run()
        await told.ask(rekey(PEOPLE[0], new))
        await told.run()
        await told.play(listen(PEOPLE[0], 1), listen(new, 2))
        await told.run()
        marts = await told.marts()
        assert [row["listeners"] for row in marts["artists"]] == [2]
        assert sum(row["listeners"] for row in marts["listener_segments"]) == 2
        assert {key[0] for key in told.facts()["listener_day"]} == {new, PEOPLE[1]}
        await told.die()
        await told.play(listen(PEOPLE[0], 3))
        await told.run()
        assert {key[0] for key in told.facts()["listener_day"]} == {new, PEOPLE[1]}


async def test_a_worker_that_dies_leaves_its_answers_to_the_next(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        await told.play(*(listen(each, -5) for each in PEOPLE))
        await told.run()
        await told.ask(command("erase", PEOPLE[0]), command("export", PEOPLE[1], request="e"))
        told.topics.last_write = 0
        await told.run()
        await told.report._upkeep.stop()
        for answered in range(3):  # each lives to give one more
            assert len(await told.answers()) == answered
            await told.die()
            told.topics.last_write = answered + 1
            for _ in range(3):
                await told.report.checkpoint()
                await told.report._upkeep.stop()
        answers = [(each["request"], each["store"]) for each in await told.answers()]
        assert answers == [("e", "warehouse"), ("r", "warehouse"), ("r", "release")]
        await told.die()
        await told.report.checkpoint()
        await told.report._upkeep.stop()
        assert len(await told.answers()) == 3


async def test_what_it_does_not_know_stops_the_worker(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        partition = told.report._partitions[0]
        with pytest.raises(StateError, match="does not know"):
            partition.take_commands([command("forget", PEOPLE[0])], 1)


async def test_batches_are_acknowledged_when_their_commands_are_carried_out(tmp_path: Path) -> None:
    async with story(tmp_path) as told:
        await told.play(listen(PEOPLE[0], -5))
        await told.ask(command("erase", PEOPLE[0]), rekey(PEOPLE[1], NEXT[PEOPLE[1]]))
        for topic in Report.inputs:
            await told.take(topic)
        assert told.acknowledged == 0
        await told.report.checkpoint()
        assert told.acknowledged == 3
        assert await told.report.resume({(topic.name, 0) for topic in Report.inputs}, 2) == {
            (ANALYTICS_LISTENS.name, 0): 1,
            (PRIVACY_COMMANDS.name, 0): 1,
            (PRIVACY_REKEYS.name, 0): 1,
        }


@pytest.mark.parametrize("seed", range(3))
async def test_facts_are_those_of_who_was_never_there(seed: int, tmp_path: Path) -> None:
    """Plays, erasures and rekeys in any order, with deaths and rewrites in between."""
    draw = random.Random(seed)
    moved = draw.sample(PEOPLE, 4)
    plays = _plays(draw, moved)
    erased = {person: draw.randrange(-900, 900) for person in draw.sample(PEOPLE, 3)}
    commands = [
        command("erase", draw.choice([person, NEXT[person]] if person in moved else [person]), at)
        for person, at in erased.items()
    ]
    rekeys = [rekey(person, NEXT[person]) for person in moved]
    async with story(tmp_path) as told:
        waiting: list[Any] = [
            *commands,
            *rekeys,
            *(plays[at : at + 20] for at in range(0, 200, 20)),
        ]
        draw.shuffle(waiting)
        for event in waiting:
            await (told.play(*event) if isinstance(event, list) else told.ask(event))
            for _ in range(draw.randrange(3)):
                await told.take(draw.choice(Report.inputs), draw.randrange(1, 30))
            if draw.random() < 0.3:
                await told.report.checkpoint()
            if draw.random() < 0.1:
                await told.report._upkeep.stop()
                await told.die()
        await told.run(draw.sample(Report.inputs, 3))
        await told.answered(6)
        people = {NEXT[person]: person for person in PEOPLE} | {person: person for person in PEOPLE}
        stays = [
            {**each, "listener": NEXT[person] if person in moved else person}
            for each in plays
            if (person := people[each["listener"]]) not in erased
            or each["started_at"] >= NOON + erased[person] * MINUTE_MS
        ]
        assert told.facts() == recount.facts(stays)
        mart = recount.by_key("artists", (await told.marts())["artists"])
        expected = recount.by_key("artists", recount.marts(stays)["artists"])
        assert mart.keys() == expected.keys()
        assert all(recount.same(mart[key], expected[key]) for key in mart)


def _plays(draw: random.Random, moved: Sequence[str]) -> list[Listen]:
    """Two hundred in two days; who moved plays under either name."""
    world = World(draw.randrange(1_000), plays=200).listens()
    return [
        {
            **each,
            "listener": draw.choice([person, NEXT[person]]) if person in moved else person,
            "started_at": NOON + draw.randrange(-1_440, 1_440) * MINUTE_MS,
        }
        for each in world
        for person in [draw.choice(PEOPLE)]
    ]


async def _run_until_answered(told: Story, number: int) -> list[dict[str, Any]]:
    await told.run()
    return await told.answered(number)


def _parquet_folders(folder: Path) -> int:
    return len(list(folder.glob(".parquet-*")))


async def test_one_that_cannot_start_lets_go_of_everything(tmp_path: Path) -> None:
    settings = load(data=tmp_path, registry_url=f"http://127.0.0.1:{free_port()}")
    report = Report(settings, codecs_of(settings))
    topics = Topics()
    with pytest.raises(RegistryError):
        await report.start(topics, topics.reader())
    await report.stop()
    Warehouse(settings.warehouse, settings.sql, settings.warehouse_mb).close()
