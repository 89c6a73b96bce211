"""The plan of the committed schemas: what is wanted, required and treated, and what comes out."""

from __future__ import annotations

import copy
import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import SchemaError
from streams.privacy import policy
from streams.privacy.plan import Plan, compile_plan
from streams.privacy.pseudonyms import pseudonyms
from streams.settings import ListenRule
from tests.privacy import worlds

FOLDER = Path(__file__).parents[2] / "schemas"
PLAY, LISTEN = (json.loads((FOLDER / f"{n}.avsc").read_text()) for n in ("play", "listen"))
POLICY = policy.load(FOLDER / "policy.toml")


def real_plan(writer: object = PLAY) -> Plan:
    return compile_plan(writer, PLAY, LISTEN, POLICY, worlds.KEY, ListenRule.LISTENBRAINZ)


texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=8)
plays = st.fixed_dictionaries(
    {
        "event_id": st.text(max_size=8),
        "user_id": st.text(max_size=8),
        "started_at": st.integers(0, 2**50),
        "ms_played": st.none() | st.integers(0, 2**31 - 1),
        "device.model": st.none() | st.sampled_from(["X Headphones", "BUDS pro", "radio"]),
        "location.country": st.none() | st.just("NO"),
        "track.duration_ms": st.none() | st.integers(-5, 500_000),
        "artist.name": st.text(max_size=8),
        "artist.mbid": texts,
        "genres": st.lists(st.text(max_size=3), max_size=2),
        "context.type": texts,
        "end_reason": st.none() | st.sampled_from(["trackdone", "fwdbtn"]),
        "skipped": st.none() | st.booleans(),
        "private_session": st.booleans(),
    }
)
PLAY_TYPES: dict[str, pl.DataType] = {
    "started_at": pl.Int64(),
    "ms_played": pl.Int64(),
    "track.duration_ms": pl.Int64(),
    "genres": pl.List(pl.String()),
    "skipped": pl.Boolean(),
    "private_session": pl.Boolean(),
}


def frame_of(rows: list[dict[str, object]], wanted: tuple[str, ...]) -> pl.DataFrame:
    schema = {path: PLAY_TYPES.get(path, pl.String()) for path in wanted}
    return pl.DataFrame([{p: row[p] for p in wanted} for row in rows], schema=schema)


def listen_of(row: dict[str, Any]) -> dict[str, object]:
    key = worlds.KEY.domain("EVENT_ID")
    event = blake2b(row["event_id"].encode(), digest_size=8, key=key).digest()
    model, heard, length = row["device.model"], row["ms_played"], row["track.duration_ms"]
    classes = {"X Headphones": "headphones", "BUDS pro": "earbuds", "radio": "other"}
    known = length is not None and length > 0
    well = heard is not None and (heard >= 240_000 or (known and 2 * heard >= length))
    left = row["end_reason"] == "fwdbtn" and not well
    skipped = left if row["skipped"] is None else row["skipped"]
    out = heard is not None and heard > 0 and not known and row["end_reason"] == "trackdone"
    percent = 100 * min(heard, length) // length if heard is not None and known else None
    return {
        "listener": pseudonyms(worlds.KEY, "USER_ID").hex(row["user_id"]),
        "epoch": worlds.KEY.epoch,
        "event": int.from_bytes(event, "big", signed=True),
        "started_at": row["started_at"] // 60_000 * 60_000,
        "ms_played": None if heard is None else heard // 1_000 * 1_000,
        "completion": percent,
        "counted": not skipped if heard is None else well or out,
        "skipped": skipped,
        "artist": row["artist.name"],
        "artist_mbid": row["artist.mbid"],
        "genres": row["genres"],
        "country": row["location.country"],
        "device_class": None if model is None else classes[model],
        "context_type": row["context.type"],
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(plays, max_size=8))
def test_listens_are_what_the_committed_schemas_say(rows: list[dict[str, Any]]) -> None:
    plan = real_plan()
    treated = plan.treat(frame_of(rows, plan.wanted))
    assert treated.to_dicts() == [listen_of(row) for row in rows]
    assert plan.columns == tuple(treated.columns)


def test_the_committed_plan_in_full() -> None:
    plan = real_plan()
    never_decoded = {"device.serial", "ip", "track.title", "track.file_path", "context.name"}
    assert not never_decoded & set(plan.wanted)
    assert set(plan.required) == {"user_id", "event_id", "started_at", "artist.name"}
    assert plan.unknown == ()
    done = {leaf.path: (leaf.tag, leaf.treatment) for leaf in plan.treated}
    assert done["user_id"] == ("USER_ID", "pseudonymize")
    assert done["track.file_path"] == ("FILE", "drop")
    assert done["started_at"] == ("EVENT_TIME", "truncate")
    assert done["end_reason"] == ("PLAYBACK_END", "drop")  # kept by the policy, carried by no field
    kinds = {field["name"]: field["type"] for field in LISTEN["fields"]}
    assert set(kinds) - set(plan.columns) == {"source_partition", "source_offset"}
    types = plan.treat(pl.DataFrame({path: [] for path in plan.wanted})).schema
    assert types["epoch"] == types["ms_played"] == types["completion"] == pl.Int32()
    assert types["event"] == types["started_at"] == pl.Int64()


def test_a_plan_shows_no_key() -> None:
    shown = repr(real_plan())
    assert bytes(range(32)).hex() not in shown
    assert "PseudonymKey" not in shown


def without(schema: dict[str, Any], *paths: str) -> dict[str, Any]:
    changed = copy.deepcopy(schema)
    for path in paths:
        *around, last = path.split(".")
        record = changed
        for name in around:
            record = next(f["type"] for f in record["fields"] if f["name"] == name)
        record["fields"] = [field for field in record["fields"] if field["name"] != last]
    return changed


def test_a_writer_may_lack_whatever_is_optional() -> None:
    lacking = ("ms_played", "track.duration_ms", "end_reason", "skipped", "private_session")
    plan = real_plan(without(PLAY, *lacking, "device", "genres", "context.type"))
    row: dict[str, object] = {"event_id": "e", "user_id": "u", "started_at": 60_001}
    row |= {"artist.name": "a", "artist.mbid": None, "location.country": None}
    frame = frame_of([row], plan.wanted)
    empty = dict.fromkeys([*lacking, "device.model", "context.type"])
    assert plan.treat(frame).to_dicts() == [listen_of({**row, **empty, "genres": []})]
    assert frame.select(plan.private).to_series().to_list() == [False]
    for required in ("event_id", "user_id", "started_at", "artist.name"):
        with pytest.raises(SchemaError, match=required):
            real_plan(without(PLAY, required))


def test_a_session_is_private_unless_the_client_says_no() -> None:
    plan = real_plan()
    frame = pl.DataFrame({"private_session": [True, False, None]})
    assert frame.select(plan.private).to_series().to_list() == [True, False, True]
    assert frame.filter(~plan.private).height == 1
    assert frame.filter(~real_plan(without(PLAY, "private_session")).private).height == 3


def test_a_derived_column_does_not_take_over_the_raw_one_of_its_name() -> None:
    plan = real_plan()
    row = dict.fromkeys(plan.wanted) | {"end_reason": "fwdbtn", "genres": []}
    treated = plan.treat(frame_of([row], plan.wanted))
    assert treated["skipped"].to_list() == [True]
