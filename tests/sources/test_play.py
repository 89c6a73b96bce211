"""Plays fit the schema, and an event's id follows from its content alone."""

from __future__ import annotations

import io
import json
import re
import uuid
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.settings import bundled
from streams.sources.play import Play, event_id, play

SCHEMA: Any = fastavro.parse_schema(
    json.loads((bundled("schemas") / "play.avsc").read_text().replace("logicalType", "unread"))
)
texts = st.none() | st.text()
ints = st.none() | st.integers(0, 2**31 - 1)


def through_avro(record: Play) -> Any:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, record, strict=True)
    body.seek(0)
    return fastavro.schemaless_reader(body, SCHEMA, None)


plays = st.builds(
    play,
    event_id=st.text(),
    user_id=st.text(),
    started_at=st.integers(0, 2**62),
    artist=st.text(),
    title=texts,
    ms_played=ints,
    artist_mbid=texts,
    album=texts,
    isrc=texts,
    recording_mbid=texts,
    uri=texts,
    duration_ms=ints,
    model=texts,
    ip=texts,
    country=texts,
    genres=st.lists(st.text()),
    end_reason=texts,
    skipped=st.none() | st.booleans(),
    private_session=st.booleans(),
)


@given(plays)
def test_a_play_comes_back_from_avro_as_it_was(record: Play) -> None:
    assert through_avro(record) == record


def test_a_play_has_the_fields_of_the_schema_in_their_order() -> None:
    record: Any = play(event_id="", user_id="", started_at=0, artist="", title=None)
    assert list(record) == [field["name"] for field in SCHEMA["fields"]]
    for field in SCHEMA["fields"]:
        if isinstance(field["type"], dict) and field["type"]["type"] == "record":
            parts = [part["name"] for part in field["type"]["fields"]]
            assert list(record[field["name"]]) == parts


contents = st.tuples(
    st.sampled_from(["listenbrainz", "lastfm-1k"]),
    st.text(),
    st.integers(0, 2**48),
    st.text(),
    st.text(),
)
close = st.tuples(
    st.just("lastfm-1k"),
    st.text("a:1", max_size=3),
    st.integers(0, 11),
    st.text("a:1", max_size=3),
    st.text("a:1", max_size=3),
)


@given(contents | close, contents | close)
def test_ids_agree_exactly_when_contents_do(
    one: tuple[str, str, int, str, str], other: tuple[str, str, int, str, str]
) -> None:
    assert (event_id(*one) == event_id(*other)) == (one == other)


@given(contents)
def test_an_id_is_a_uuid_of_version_8(content: tuple[str, str, int, str, str]) -> None:
    identifier = event_id(*content)
    parsed = uuid.UUID(identifier)
    assert str(parsed) == identifier
    assert parsed.variant == uuid.RFC_4122
    assert re.fullmatch(r".{14}8.*", identifier)


def test_ids_never_change() -> None:
    """What was imported by one release counts once when the next imports it again."""
    assert (
        event_id("lastfm-1k", "user", 1_241_478_537_000, "Ä & B", "Title")
        == "3b47fcdf-b777-8d42-aada-ec67f76a4f45"
    )


def test_an_absent_title_is_as_an_empty_one() -> None:
    assert event_id("a", "b", 1, "c", None) == event_id("a", "b", 1, "c", "")


def test_half_a_surrogate_pair_has_no_id() -> None:
    with pytest.raises(UnicodeEncodeError):
        event_id("lastfm-1k", "user", 0, "\ud800", None)
