"""What holds for a person: order, repetition, and what a stale writer can do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from streams.avro import wire
from streams.avro.encode import RecordEncoder
from streams.avro.schemas import schema_id
from streams.avro.single import decode_record
from streams.privacy.requests import Request
from streams.privacy.standing import (
    MINUTE_MS,
    Exclusion,
    Standing,
    after,
    merged,
    minute_down,
    minute_up,
    placement,
)
from tests.privacy.petitions import schemas

SUBJECT = "0123456789abcdef0123456789abcdef"
MOMENTS = st.integers(0, 4 * 10**12)
EXCLUSIONS = st.builds(
    Exclusion,
    st.none() | st.sampled_from(["Añejo", "B"]),
    st.none() | MOMENTS.map(minute_down),
    st.none() | MOMENTS.map(minute_up),
)
REQUESTS = st.one_of(
    st.builds(
        Request,
        st.just("r"),
        st.just("u"),
        st.sampled_from(["erase", "restrict", "lift", "export", "rekey"]),
        MOMENTS,
    ),
    st.builds(Request, st.just("r"), st.just("u"), st.just("exclude"), MOMENTS, EXCLUSIONS),
)


def heard(requests: list[Request]) -> Standing:
    standing = Standing(SUBJECT)
    for request in requests:
        standing = after(standing, request)
    return standing


@given(st.lists(REQUESTS, max_size=8))
def test_it_is_what_a_naive_reading_of_the_requests_says(requests: list[Request]) -> None:
    standing = heard(requests)
    erased = [each.requested_at for each in requests if each.action == "erase"]
    before = standing.erased_before
    assert (before is None) == (not erased)
    if before is not None:
        assert before % MINUTE_MS == 0
        assert max(erased) <= before < max(erased) + MINUTE_MS
    switches = [each.action for each in requests if each.action in ("restrict", "lift")]
    assert standing.restricted == (switches[-1:] == ["restrict"])
    wanted = [each.exclusion for each in requests if each.action == "exclude"]
    assert set(standing.exclusions) == set(wanted)
    assert len(standing.exclusions) == len(set(wanted))


@given(st.lists(REQUESTS, max_size=6))
def test_hearing_the_last_one_again_changes_nothing(requests: list[Request]) -> None:
    standing = heard(requests)
    for request in requests[-1:]:
        assert after(standing, request) == standing


@given(st.lists(REQUESTS, max_size=6, unique_by=lambda each: each.requested_at), st.integers(0, 6))
def test_a_writer_that_knew_less_takes_nothing_back(requests: list[Request], knew: int) -> None:
    requests = sorted(requests, key=lambda each: each.requested_at)
    full, stale = heard(requests), heard(requests[:knew])
    assert merged(full, stale) == full
    assert merged(stale, full) == full


@given(st.lists(REQUESTS, max_size=6))
def test_a_record_brings_it_back(requests: list[Request]) -> None:
    standing = heard(requests)
    schema = schemas()["privacy-standing"]
    encoded = RecordEncoder(schema, schema_id(schema)).encode([standing.to_record()])
    body = encoded[0][wire.HEADER :]
    assert Standing.from_record(decode_record(schema, body)) == standing
    assert Standing.from_record(standing.to_record()) == standing


@given(EXCLUSIONS, st.sampled_from(["Añejo", "B", "C"]), MOMENTS)
def test_an_exclusion_covers_a_play_and_its_listen_alike(
    exclusion: Exclusion, artist: str, at: int
) -> None:
    assert exclusion.covers(artist, at) == exclusion.covers(artist, minute_down(at))


def test_bounds_are_half_open() -> None:
    exclusion = Exclusion(None, MINUTE_MS, 2 * MINUTE_MS)
    covered = [at for at in range(0, 4 * MINUTE_MS, 1_000) if exclusion.covers("x", at)]
    assert (covered[0], covered[-1]) == (MINUTE_MS, 2 * MINUTE_MS - 1_000)
    assert not Exclusion("A").covers("a", 0)
    assert Exclusion().covers(None, 0)


@given(st.integers(-(10**13), 10**13))
def test_minutes_are_those_of_the_calendar(moment: int) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    low, high = minute_down(moment), minute_up(moment)
    assert low <= moment <= high
    assert high - low == (0 if moment % MINUTE_MS == 0 else MINUTE_MS)
    for each in (low, high):
        assert (epoch + timedelta(milliseconds=each)).second == 0


@given(st.binary(min_size=16, max_size=16), st.integers(1, 64))
def test_placement_is_a_partition_that_the_head_decides(digest: bytes, partitions: int) -> None:
    subject = digest.hex()
    assert placement(subject, partitions) == int.from_bytes(digest[:4], "big") % partitions


def test_nothing_of_it_shows() -> None:
    shown = repr(Standing(SUBJECT, 5, exclusions=(Exclusion("Secret"),)))
    assert SUBJECT not in shown
    assert "Secret" not in shown
