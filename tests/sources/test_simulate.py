"""Simulated plays: exact in number, in order, reproducible, and like people listening."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import SettingsError
from streams.settings import bundled
from streams.sources.canary import canaries
from streams.sources.play import Play
from streams.sources.simulate import CHUNK, Simulation

SCHEMA: Any = fastavro.parse_schema(json.loads((bundled("schemas") / "play.avsc").read_text()))
END = date(2026, 11, 1)
END_MS = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1_000)
DAY_MS = 86_400_000
LISTENERS, DAYS, PLAYS = 200, 28, 20_000


def everything(simulation: Simulation) -> list[Play]:
    return [play for chunk in simulation.chunks() for play in chunk]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(END, listeners=LISTENERS, days=DAYS, plays=PLAYS, seed=7)


@pytest.fixture(scope="module")
def plays(simulation: Simulation) -> list[Play]:
    return everything(simulation)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 30),
    st.integers(0, 1_500),
    st.integers(0, 2**32),
    st.floats(0, 0.5),
)
def test_the_numbers_are_exact_and_times_are_in_order(
    listeners: int, days: int, count: int, seed: int, broken: float
) -> None:
    simulation = Simulation(END, listeners, days, count, seed, broken)
    chunks = list(simulation.chunks())
    assert [len(chunk) for chunk in chunks[:-1]] == [CHUNK] * (len(chunks) - 1)
    found = [play for chunk in chunks for play in chunk]
    assert len(found) == count
    assert len({play["user_id"] for play in found}) <= listeners
    impossible = [play for play in found if play["started_at"] < DAY_MS]
    assert len(impossible) == simulation.broken_plays == int(count * broken)
    times = [play["started_at"] for play in found if play["started_at"] >= DAY_MS]
    assert times == sorted(times)
    assert all(END_MS - days * DAY_MS <= at < END_MS for at in times)
    sent = Counter(play["event_id"] for play in found)
    assert set(sent.values()) <= {1, 2}
    assert list(sent.values()).count(2) == simulation.duplicates == int(count * 0.005)
    assert all(sent[play["event_id"]] == 1 for play in impossible)


def test_what_is_sent_twice_is_the_same_event(plays: list[Play]) -> None:
    seen: dict[str, Play] = {}
    for play in plays:
        assert seen.setdefault(play["event_id"], play) == play


def test_every_play_fits_the_schema(plays: list[Play]) -> None:
    for play in plays[::10]:
        fastavro.schemaless_writer(io.BytesIO(), SCHEMA, play, strict=True)


def test_same_arguments_same_bytes_in_any_process() -> None:
    program = (
        "import datetime, json; from streams.sources.simulate import Simulation;"
        "s = Simulation(datetime.date(2026, 11, 1), 50, 7, 1_500, seed=5, canary='x');"
        "print(json.dumps([list(s.chunks()), s.catalogue()]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "3"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=root, capture_output=True, check=True
    )
    here = Simulation(END, 50, 7, 1_500, seed=5, canary="x")
    assert json.loads(done.stdout) == json.loads(
        json.dumps([list(here.chunks()), here.catalogue()])
    )


def test_a_second_pass_is_the_same(simulation: Simulation, plays: list[Play]) -> None:
    assert everything(simulation) == plays


def test_no_two_simulations_share_an_event() -> None:
    ids = [
        {play["event_id"] for play in everything(simulation)}
        for simulation in (
            Simulation(END, 10, 7, 100, seed=1),
            Simulation(END, 10, 7, 100, seed=2),
            Simulation(date(2026, 11, 2), 10, 7, 100, seed=1),
        )
    ]
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_nearly_every_listener_listens_some_much_more(plays: list[Play]) -> None:
    counts = sorted(Counter(play["user_id"] for play in plays).values())
    assert len(counts) > 0.95 * LISTENERS
    assert counts[-1] > 4 * counts[len(counts) // 2]


def test_hours_are_not_alike_and_neither_are_listeners(plays: list[Play]) -> None:
    hours = Counter(play["started_at"] // 3_600_000 % 24 for play in plays)
    assert len(hours) == 24
    assert max(hours.values()) > 2 * min(hours.values())
    own: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for play in plays:
        own[play["user_id"]][play["started_at"] // 3_600_000 % 24] += 1
    busiest = {counts.most_common(1)[0][0] for counts in own.values()}
    assert len(busiest) > 8


def test_tastes_differ_and_some_artists_are_popular(
    simulation: Simulation, plays: list[Play]
) -> None:
    genre_of = {artist: genres[0] for artist, genres in simulation.catalogue()}
    own: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for play in plays:
        own[play["user_id"]][genre_of[play["artist"]["name"]]] += 1
    crowd = sum(own.values(), Counter[str]()).most_common(1)[0][1] / PLAYS
    top = [counts.most_common(1)[0][1] / counts.total() for counts in own.values()]
    assert sum(top) / len(top) > 1.5 * crowd
    artists = Counter(play["artist"]["name"] for play in plays)
    assert len(artists) > 300
    assert sum(count for _, count in artists.most_common(48)) > 0.3 * PLAYS


def test_skips_are_some_and_rarer_for_what_one_likes(
    simulation: Simulation, plays: list[Play]
) -> None:
    genres_of = dict(simulation.catalogue())
    own: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for play in plays:
        own[play["user_id"]].update(genres_of[play["artist"]["name"]])
    rates: dict[bool, list[bool]] = {True: [], False: []}
    for play in plays:
        liked = {genre for genre, _ in own[play["user_id"]].most_common(3)}
        skip = play["end_reason"] in ("fwdbtn", "backbtn")
        rates[bool(liked & set(genres_of[play["artist"]["name"]]))].append(skip)
        assert play["skipped"] in (None, skip)
        assert (play["ms_played"] or 0) <= (play["track"]["duration_ms"] or 0)
    assert 0.1 < sum(map(sum, rates.values())) / PLAYS < 0.3
    assert sum(rates[False]) / len(rates[False]) > 1.3 * sum(rates[True]) / len(rates[True])
    assert {play["skipped"] for play in plays} == {True, False, None}


def test_listening_comes_in_sessions(plays: list[Play]) -> None:
    own: defaultdict[str, list[int]] = defaultdict(list)
    for play in plays:
        own[play["user_id"]].append(play["started_at"])
    gaps = [after - before for at in own.values() for before, after in pairwise(at)]
    assert 0.6 < sum(gap < 20 * 60_000 for gap in gaps) / len(gaps) < 0.95


def test_private_sessions_are_rare(plays: list[Play]) -> None:
    assert 0.003 < sum(play["private_session"] for play in plays) / PLAYS < 0.05


def test_some_plays_need_the_catalogue_and_it_has_them(
    simulation: Simulation, plays: list[Play]
) -> None:
    catalogue = dict(simulation.catalogue())
    assert len(catalogue) == len(simulation.catalogue())
    bare = [play for play in plays if not play["genres"]]
    assert 0.1 < len(bare) / PLAYS < 0.5
    assert all(catalogue[play["artist"]["name"]] for play in bare)
    for play in plays:
        assert play["genres"] in ([], list(catalogue[play["artist"]["name"]]))


def test_addresses_are_for_documentation(plays: list[Play]) -> None:
    nets = [
        ip_network(net)
        for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    ]
    addresses = [ip_address(text) for text in {play["ip"] or "" for play in plays}]
    assert {net for net in nets if any(each in net for each in addresses)} == set(nets)
    assert all(any(each in net for net in nets) for each in addresses)


def test_files_streams_and_playlists_all_occur(plays: list[Play]) -> None:
    files = sum(play["track"]["file_path"] is not None for play in plays)
    streams = sum(play["track"]["uri"] is not None for play in plays)
    assert files + streams == PLAYS
    assert files > 0.02 * PLAYS
    kinds = Counter(play["context"]["type"] for play in plays)
    assert set(kinds) == {"album", "artist", "playlist", "radio", "search", "library"}
    named = {play["context"]["type"] for play in plays if play["context"]["name"]}
    assert named == {"playlist", "radio"}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    parts = [flat(part, f"{prefix}.{name}" if prefix else name) for name, part in value.items()]
    return {name: leaf for part in parts for name, leaf in part.items()}


def test_a_canary_is_in_every_personal_field_and_no_other() -> None:
    planted = canaries("CANARY")
    marked = everything(Simulation(END, 50, 7, 2_000, canary="CANARY"))
    for play in marked:
        leaves = flat(play)
        for field, text in planted.items():
            found = leaves.pop(field)
            assert found == text or str(text) in str(found)
        assert "CANARY" not in repr(leaves)
    assert len({play["user_id"] for play in marked}) > 40
    assert len({play["track"]["title"] for play in marked}) > 500


def test_a_canary_is_in_no_play_that_was_not_asked_to_carry_it(plays: list[Play]) -> None:
    shown = repr(plays[:3_000])
    assert not [text for text in canaries("CANARY").values() if str(text) in shown]


@pytest.mark.parametrize(
    "wrong", [{"listeners": 0}, {"days": 0}, {"plays": -1}, {"broken": -0.1}, {"broken": 0.6}]
)
def test_impossible_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Simulation(END, **wrong)
