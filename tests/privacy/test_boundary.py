"""Crossing batches: every record is accounted for once, with a plain recount as the oracle."""

from __future__ import annotations

import copy
import hmac
from collections import Counter
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.avro.encode import RecordEncoder
from streams.errors import Reason
from streams.privacy import keyring, keys, policy
from streams.privacy.boundary import (
    CONSENT_RULE,
    PRIVATE_RULE,
    Boundary,
    Crossing,
    from_settings,
    pseudonym_of,
)
from streams.privacy.permission import Permissions
from streams.privacy.policy import ANALYTICS, PRODUCT, PURPOSES, Consent
from streams.settings import Settings, load
from streams.sources.play import Play
from streams.sources.simulate import Simulation
from streams.transport.batch import RecordBatch

NOW_MS = 1_790_000_000_000
SCHEMAS = schema_files.load(load().schemas)
PLAY = SCHEMAS["play"]
PLAY_ID = schema_files.schema_id(PLAY)
FIRST_OFFSET = 700


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    keys.create(tmp_path / "key.hex")
    return load(key_file=tmp_path / "key.hex")


@pytest.fixture
def boundary(settings: Settings) -> Boundary:
    opened = from_settings(settings, SCHEMAS, policy.load(settings.policy), keyring.load(settings))
    assert opened.open(PLAY_ID, PLAY) is None
    return opened


def simulated(plays: int, **changes: Any) -> list[Play]:
    simulation = Simulation(end=date(2026, 6, 1), listeners=20, plays=plays, seed=5, **changes)
    return [play for chunk in simulation.chunks() for play in chunk]


def encoded(plays: list[Any], schema: Any = PLAY, schema_id: int = PLAY_ID) -> list[bytes | None]:
    return list(RecordEncoder(schema, schema_id).encode(plays))


def batch(values: list[bytes | None], keys: list[bytes | None] | None = None) -> RecordBatch:
    offsets = np.arange(FIRST_OFFSET, FIRST_OFFSET + 2 * len(values), 2)
    times = np.zeros(len(values), dtype=np.int64)
    return RecordBatch("plays", 2, offsets, times, keys or [None] * len(values), values, 1)


def reasons(crossing: Crossing) -> Counter[tuple[Reason, str]]:
    return Counter((each.reason, each.detail) for each in crossing.rejections)


EVERYTHING = Permissions(Consent(dict.fromkeys(PURPOSES, True), {}))


def crossed(
    boundary: Boundary, records: RecordBatch, permissions: Permissions = EVERYTHING
) -> Crossing:
    return boundary.cross(records, wire.split(records.values), permissions, NOW_MS)


def altered(play: Play, path: str, value: object) -> dict[str, Any]:
    changed: dict[str, Any] = copy.deepcopy(dict(play))
    place = changed
    *way, last = path.split(".")
    for step in way:
        place = place[step]
    place[last] = value
    return changed


@pytest.mark.parametrize("audience", [PRODUCT, ANALYTICS])
def test_listens_equal_a_plain_recount(
    boundary: Boundary, settings: Settings, audience: str
) -> None:
    plays = simulated(600, broken=0.02)
    listens = crossed(boundary, batch(encoded(plays))).listens[audience]
    key = keys.load(settings, audience)
    reporting = audience == ANALYTICS
    expected = []
    for row, play in enumerate(plays):
        if play["private_session"] or play["started_at"] < settings.earliest * 1_000:
            continue
        listener = hmac.digest(key.domain("USER_ID"), play["user_id"].encode(), "sha256").hex()[:32]
        event = blake2b(play["event_id"].encode(), digest_size=8, key=key.domain("EVENT_ID"))
        heard = play["ms_played"]
        expected.append(
            {
                "listener": listener,
                "event": int.from_bytes(event.digest(), "big", signed=True),
                "epoch": 1,
                "source_partition": 2,
                "source_offset": FIRST_OFFSET + 2 * row,
                "started_at": play["started_at"] // 60_000 * 60_000,
                "ms_played": None if heard is None else heard // 1_000 * 1_000,
                "artist": play["artist"]["name"],
                "artist_mbid": play["artist"]["mbid"],
                "genres": play["genres"],
                "country": play["location"]["country"] if reporting else None,
                "context_type": play["context"]["type"] if reporting else None,
            }
        )
    assert listens.select(list(expected[0])).to_dicts() == expected
    fields = {field["name"] for field in SCHEMAS["listen"]["fields"]}
    assert set(listens.columns) == fields | {"subject"}


def test_every_record_is_accounted_for_once(boundary: Boundary) -> None:
    plays = simulated(400, broken=0.05)
    values = encoded(plays)
    values[3], values[50], values[51] = None, b"\x01nonsense", b"\x00\x00"
    values[90] = (values[90] or b"")[:-3]
    crossing = crossed(boundary, batch(values))
    offsets = crossing.listens[PRODUCT]["source_offset"].to_list()
    rows = [(offset - FIRST_OFFSET) // 2 for offset in offsets]
    rejected = [each.row for each in crossing.rejections]
    assert len(rows) + len(rejected) + crossing.filtered.total() == len(values)
    assert len({*rows, *rejected}) == len(rows) + len(rejected)
    assert offsets == sorted(offsets)
    assert {3, 50, 51, 90} <= set(rejected)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("user_id", "", (Reason.MISSING_FIELD, "user_id")),
        ("user_id", "  ", (Reason.MISSING_FIELD, "user_id")),
        ("artist.name", "", (Reason.MISSING_FIELD, "artist.name")),
        ("ms_played", -1, (Reason.INVALID_VALUE, "ms_played below zero")),
        ("started_at", 0, (Reason.IMPOSSIBLE_TIME, "started_at before the earliest")),
        ("started_at", NOW_MS + 300_001, (Reason.IMPOSSIBLE_TIME, "started_at in the future")),
    ],
)
def test_a_play_that_breaks_a_rule_is_rejected_alone(
    boundary: Boundary, path: str, value: object, reason: tuple[Reason, str]
) -> None:
    plays: list[Any] = [each for each in simulated(60) if not each["private_session"]]
    plays[7] = altered(plays[7], path, value)
    crossing = crossed(boundary, batch(encoded(plays)))
    assert reasons(crossing) == {reason: 1}
    assert crossing.rejections[0].row == 7
    assert len(crossing.listens[PRODUCT]) == len(plays) - 1


def test_the_bounds_of_time_are_allowed(boundary: Boundary, settings: Settings) -> None:
    plays = [
        altered(simulated(1)[0], "started_at", moment)
        for moment in (settings.earliest * 1_000, NOW_MS + 300_000)
    ]
    assert len(crossed(boundary, batch(encoded(plays))).listens[PRODUCT]) == 2


def test_a_private_session_stays_at_the_gate(boundary: Boundary) -> None:
    play = simulated(1)[0]
    plays = [altered(play, "private_session", each) for each in (True, False, True)]
    crossing = crossed(boundary, batch(encoded(plays)))
    assert len(crossing.listens[PRODUCT]) == len(crossing.listens[ANALYTICS]) == 1
    assert crossing.filtered[PRIVATE_RULE] == 2


def test_schemas_mix_in_a_batch(boundary: Boundary) -> None:
    other = copy.deepcopy(PLAY)
    other["fields"].append(
        {"name": "mood", "type": "string", "default": "", "confluent:tags": ["FREE_TEXT"]}
    )
    assert boundary.open(77, other) is None
    plays = [each for each in simulated(40) if not each["private_session"]]
    with_mood = encoded([{**each, "mood": "secret mood"} for each in plays], other, 77)
    values = [
        one if row % 2 else two
        for row, (one, two) in enumerate(zip(encoded(plays), with_mood, strict=True))
    ]
    crossing = crossed(boundary, batch(values))
    assert crossing.listens[PRODUCT]["artist"].to_list() == [
        each["artist"]["name"] for each in plays
    ]
    assert crossing.unknown_fields == (len(plays) + 1) // 2
    assert "mood" not in str([each.to_dicts() for each in crossing.listens.values()])


def test_an_unknown_schema_is_asked_for_again_and_an_unplannable_one_is_not(
    boundary: Boundary,
) -> None:
    values = encoded(simulated(3), PLAY, 12345)
    assert boundary.missing(wire.split(values).groups) == {12345}
    boundary.close(12345, Reason.UNKNOWN_SCHEMA, "no schema of this id")
    crossing = crossed(boundary, batch(values))
    assert reasons(crossing) == {(Reason.UNKNOWN_SCHEMA, "no schema of this id"): 3}
    assert boundary.missing(wire.split(values).groups) == {12345}
    without_artist = {**PLAY, "fields": [f for f in PLAY["fields"] if f["name"] != "artist"]}
    assert boundary.open(12345, without_artist) is not None
    assert boundary.missing(wire.split(values).groups) == set()
    crossing = crossed(boundary, batch(values))
    assert {each.reason for each in crossing.rejections} == {Reason.UNPLANNABLE_SCHEMA}


def test_key_and_headers_are_counted_and_go_nowhere(boundary: Boundary) -> None:
    values = encoded(simulated(3))
    crossing = crossed(boundary, batch(values, [b"secret-key", None, b"secret-key"]))
    assert crossing.treated[PRODUCT, "kafka.key", "drop"] == 2
    assert crossing.treated[PRODUCT, "kafka.headers", "drop"] == 1
    assert "secret" not in str([each.to_dicts() for each in crossing.listens.values()])


def test_no_value_in_a_rejection(boundary: Boundary) -> None:
    plays = [altered(each, "started_at", 4) for each in simulated(20, canary="canary")]
    values = encoded(plays)
    values[4] = (values[4] or b"")[:40]
    crossing = crossed(boundary, batch(values))
    assert len(crossing.rejections) == 20
    assert "canary" not in str(crossing.rejections)


def test_the_pseudonym_of_a_user_is_the_gates(boundary: Boundary, settings: Settings) -> None:
    play = altered(simulated(1)[0], "private_session", False)
    crossing = crossed(boundary, batch(encoded([play])))
    names = {
        audience: pseudonym_of(settings, play["user_id"], audience)
        for audience in (PRODUCT, ANALYTICS)
    }
    assert len(set(names.values())) == 2
    for audience, name in names.items():
        assert crossing.listens[audience]["listener"].to_list() == [name]
    assert crossing.people.rows() == [
        (play["user_id"], keyring.load(settings).subjects().hex(play["user_id"]))
    ]


def test_a_play_goes_to_the_audiences_its_listener_allows(
    boundary: Boundary, settings: Settings
) -> None:
    plays: list[Any] = [each for each in simulated(300) if not each["private_session"]]
    subjects = keyring.load(settings).subjects()
    middle = sorted(play["started_at"] for play in plays)[150]
    users = sorted({play["user_id"] for play in plays})
    permissions = Permissions(Consent(dict.fromkeys(PURPOSES, False), {}))
    for number, user in enumerate(users):
        if number % 3:
            permissions.decided(subjects.hex(user), "personalization", middle)
        if number % 3 == 2:
            permissions.decided(subjects.hex(user), "analytics", 0)
    crossing = crossed(boundary, batch(encoded(plays)), permissions)
    wanted: dict[str, list[int]] = {PRODUCT: [], ANALYTICS: []}
    for row, play in enumerate(plays):
        third = users.index(play["user_id"]) % 3
        if third and play["started_at"] >= middle:
            wanted[PRODUCT].append(FIRST_OFFSET + 2 * row)
        if third == 2:
            wanted[ANALYTICS].append(FIRST_OFFSET + 2 * row)
    assert all(wanted.values())
    for audience, offsets in wanted.items():
        assert crossing.listens[audience]["source_offset"].to_list() == offsets
    nowhere = len(plays) - len({*wanted[PRODUCT], *wanted[ANALYTICS]})
    assert crossing.filtered == {PRIVATE_RULE: 0, CONSENT_RULE: nowhere}


def test_during_an_overlap_a_play_has_the_names_of_the_epoch_in_which_it_started(
    settings: Settings, boundary: Boundary
) -> None:
    plays = simulated(200)
    turn = sorted(play["started_at"] for play in plays)[100]
    keyring.rotate(settings, turn)
    during = keyring.load(settings, turn)
    both = from_settings(settings, SCHEMAS, policy.load(settings.policy), during)
    assert both.open(PLAY_ID, PLAY) is None
    before = (
        crossed(boundary, batch(encoded(plays)))
        .listens[PRODUCT]
        .rows_by_key("source_offset", named=True, unique=True)
    )
    found = crossed(both, batch(encoded(plays))).listens[PRODUCT]
    assert found["source_offset"].is_sorted()
    listens = found.rows_by_key("source_offset", named=True, unique=True)
    assert listens.keys() == before.keys()
    started = {FIRST_OFFSET + 2 * row: play["started_at"] for row, play in enumerate(plays)}
    for offset, listen in listens.items():
        was = before[offset]
        old = started[offset] < turn
        assert (
            (listen["listener"], listen["event"], listen["epoch"])
            == (
                was["listener"],
                was["event"],
                1,
            )
            if old
            else listen["epoch"] == 2
        )
        assert old or not {listen["listener"], listen["event"]} & {was["listener"], was["event"]}
        assert listen["artist"] == was["artist"]
