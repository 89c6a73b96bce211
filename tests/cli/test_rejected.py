"""Rejected records on the embedded broker: listed, shown and sent again, and nothing personal said
but with the flag, which leaves a line in the log."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import polars as pl
import pytest
from _pytest.capture import CaptureFixture
from rich.console import Console
from typer.testing import CliRunner

from streams.app.roles import open_codecs
from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.avro.encode import RecordEncoder
from streams.brokers.embedded import EmbeddedBroker
from streams.cli import console, rejections
from streams.cli.main import app
from streams.cli.rejections import Position
from streams.errors import Reason, SourceError
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import ALL, CONSENT, PLAYS, REJECTED
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import end_offsets, partition_reader, read_span

PARTITIONS = 2
AT_MS = 1_780_000_000_000
COLUMNS = {
    "topic": pl.String,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "reason": pl.String,
    "detail": pl.String,
    "schema_id": pl.Int32,
    "rejected_at": pl.Int64,
    "key": pl.Binary,
    "value": pl.Binary,
}


class World(NamedTuple):
    """A broker with rejected records, and what no output may hold."""

    settings: Settings
    canary: str
    play: bytes
    """A play as it was sent: key `canary`, in its account too."""


def sample(canary: str) -> dict[str, object]:
    simulation = Simulation(
        end=date(2026, 6, 1), listeners=2, plays=1, seed=1, broken=0, canary=canary
    )
    play = next(iter(simulation.chunks()))[0]
    return {**play, "user_id": f"{canary} account"}


@pytest.fixture
async def world(fresh_broker: EmbeddedBroker) -> World:
    """Five rejections of plays and one of a decision. The play at 1/9 was rejected twice, as a
    restart leaves it; the one at 0/0 is too large to stand in its rejection; 0/77 is gone."""
    settings = load(brokers=fresh_broker.address, idempotence=False)
    canary = f"canary{secrets.token_hex(6)}"
    await create_topics(settings.kafka, ALL, PARTITIONS, 1)
    async with open_codecs(settings) as codecs:
        columns = await codecs.columns(REJECTED)
        schema_id = await codecs.registry.register("plays-value", codecs.schemas["play"])
        play = next(iter(RecordEncoder(codecs.schemas["play"], schema_id).encode([sample(canary)])))
    foreign = wire.frame(12_345, canary.encode())

    def rejected(
        topic: str, place: tuple[int, int], reason: Reason, value: bytes | None, number: int
    ) -> dict[str, object]:
        return {
            "topic": topic,
            "partition": place[0],
            "offset": place[1],
            "reason": str(reason),
            "detail": "started_at in the future",
            "schema_id": None if value is None else int.from_bytes(value[1:5], "big"),
            "rejected_at": AT_MS + number,
            "key": canary.encode(),
            "value": value,
        }

    rows = [
        rejected("plays", (1, 9), Reason.IMPOSSIBLE_TIME, play, 1),
        rejected("plays", (1, 9), Reason.IMPOSSIBLE_TIME, play, 2),
        rejected("plays", (1, 10), Reason.UNKNOWN_SCHEMA, foreign, 3),
        rejected("plays", (0, 0), Reason.IMPOSSIBLE_TIME, None, 4),
        rejected("plays", (0, 77), Reason.MALFORMED, None, 5),
        rejected("consent", (0, 3), Reason.UNDECODABLE, foreign, 6),
    ]
    values = columns.encode(pl.DataFrame(rows, schema=COLUMNS, orient="row"))
    async with open_producer(settings.kafka, idempotent=False) as producer:
        await send_records(producer, PLAYS.name, 0, [canary.encode()], [play + b"large"])
        for number in range(PARTITIONS):
            part = [
                value for row, value in zip(rows, values, strict=True) if row["partition"] == number
            ]
            await send_records(producer, REJECTED.name, number, [None] * len(part), part)
    return World(settings, canary, play)


async def records(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    async with partition_reader(settings.kafka) as reader:
        return [
            (number, key, value)
            for number in await end_offsets(reader, topic)
            async for batch in read_span(reader, topic, number)
            for key, value in zip(batch.keys, batch.values, strict=True)
        ]


Said = Callable[[], tuple[str, str]]


@pytest.fixture
def said(capfd: CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """What was written to standard output and error, by whatever wrote it."""
    monkeypatch.setattr(console, "out", Console(highlight=False, soft_wrap=True))

    def read() -> tuple[str, str]:
        out, err = capfd.readouterr()
        return out, err

    return read


async def test_what_is_listed_is_counted_and_says_nothing_personal(
    world: World, said: Said
) -> None:
    await rejections.list_all(world.settings, 20, as_json=True)
    out, err = said()
    listed = json.loads(out)
    known = schema_files.schema_id(schema_files.load(world.settings.schemas)["play"])
    counts = {
        (
            each["topic"],
            each["reason"],
            "known" if each["schema_id"] == known else each["schema_id"],
        ): each["count"]
        for each in listed["counts"]
    }
    assert counts == {
        ("plays", "impossible-time", "known"): 2,
        ("plays", "impossible-time", None): 1,
        ("plays", "unknown-schema", 12_345): 1,
        ("plays", "malformed", None): 1,
        ("consent", "undecodable", 12_345): 1,
    }
    positions = [each["position"] for each in listed["newest"]]
    assert positions == [
        "consent/0/3",
        "plays/0/77",
        "plays/0/0",
        "plays/1/10",
        "plays/1/9",
        "plays/1/9",
    ]
    assert listed["newest"][0]["rejected_at"].startswith("2026-05-28T")
    assert world.canary not in out + err

    await rejections.list_all(world.settings, 2, as_json=False)
    out, err = said()
    assert "plays/0/77" in out
    assert "plays/0/0" not in out
    assert world.canary not in out + err


async def test_metadata_is_shown_without_a_trace_of_the_payload(world: World, said: Said) -> None:
    await rejections.show(world.settings, Position("plays", 1, 9), payload=False)
    out, err = said()
    assert "impossible-time" in out
    assert "started_at in the future" in out
    assert world.canary not in out + err
    assert "payload" not in err


async def test_a_payload_is_shown_when_asked_for_and_that_is_logged(
    world: World, said: Said
) -> None:
    quiet = world.settings.model_copy(update={"log_level": "error"})
    await rejections.show(quiet, Position("plays", 1, 9), payload=True)
    out, err = said()
    assert f"{world.canary} account" in out
    assert f"key          {world.canary}" in out
    line = json.loads(err.strip().splitlines()[-1])
    assert line["position"] == "plays/1/9"
    assert line["uid"] == os.getuid()
    assert "payload shown" in line["event"]
    assert world.canary not in err


async def test_a_payload_that_does_not_decode_is_shown_as_bytes(world: World, said: Said) -> None:
    await rejections.show(world.settings, Position("plays", 1, 10), payload=True)
    out, err = said()
    assert world.canary.encode().hex() in out
    assert world.canary not in err
    await rejections.show(world.settings, Position("plays", 0, 77), payload=True)
    assert "too large" in said()[0]


async def test_what_was_not_rejected_is_an_error(world: World) -> None:
    with pytest.raises(SourceError, match="plays/1/8"):
        await rejections.show(world.settings, Position("plays", 1, 8), payload=False)


async def test_plays_go_back_to_where_they_came_from_once_each(world: World, said: Said) -> None:
    before = await records(world.settings, PLAYS.name)
    await rejections.replay(world.settings, None, None, dry_run=True)
    assert "3 plays would be sent again" in said()[0]
    assert await records(world.settings, PLAYS.name) == before

    await rejections.replay(world.settings, None, None, dry_run=False)
    out, err = said()
    assert "3 plays sent again" in out
    assert "1 left out: rejected more than once" in out
    assert "1 left out: too large" in out
    assert "1 left out: no plays" in out
    assert world.canary not in out + err
    key = world.canary.encode()
    after = await records(world.settings, PLAYS.name)
    assert sorted(after[1:] if after[0] == before[0] else after, key=repr) == sorted(
        [
            (0, key, world.play + b"large"),
            (1, key, world.play),
            (1, key, wire.frame(12_345, key)),
        ],
        key=repr,
    )
    assert await records(world.settings, CONSENT.name) == []


@pytest.mark.parametrize(
    ("reason", "limit", "sent"),
    [(Reason.UNKNOWN_SCHEMA, None, 1), (None, 2, 2), (Reason.MALFORMED, None, 0)],
)
async def test_a_part_can_be_sent(
    world: World, said: Said, reason: Reason | None, limit: int | None, sent: int
) -> None:
    before = len(await records(world.settings, PLAYS.name))
    await rejections.replay(world.settings, reason, limit, dry_run=False)
    assert f"{sent} plays sent again" in said()[0]
    assert len(await records(world.settings, PLAYS.name)) == before + sent


@pytest.mark.parametrize("position", ["plays", "plays/1", "/1/2", "plays/x/2", "plays/1/-2"])
def test_a_position_has_three_parts(position: str) -> None:
    result = CliRunner().invoke(app, ["rejected", "show", position])
    assert result.exit_code == 2
