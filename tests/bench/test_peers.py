"""The peers' job gives what a plain recount gives, a wrong output is found, the chart is drawn."""

from __future__ import annotations

import io
import json
from collections import Counter
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.sources.play import Play
from streams.sources.simulate import Simulation
from tests.bench import chart
from tests.bench.peers import harness, job
from tests.bench.peers.harness import Peer
from tests.bench.peers.recount import Columns, Recount
from tests.bench.results import Result

DAY_MS = 86_400_000
NAMES = st.sampled_from([f"name {number:02}" for number in range(40)])
PLAYS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bo", "Ωμέγα"]),
        st.integers(1_500_000_000_000, 1_900_000_000_000),
        st.sampled_from([None, "DE", "GB"]),
        NAMES,
        st.lists(NAMES, max_size=3),
    ),
    max_size=60,
)
TEMPLATE: Play = next(Simulation(date(2026, 1, 1), listeners=1, plays=1).chunks())[0]


def play(user: str, started: int, country: str | None, artist: str, genres: list[str]) -> Play:
    return {
        **TEMPLATE,
        "user_id": user,
        "started_at": started,
        "location": {**TEMPLATE["location"], "country": country},
        "artist": {"name": artist, "mbid": None},
        "genres": genres,
    }


def counted(plays: list[Play]) -> Recount:
    columns = Columns()
    columns.add(plays)
    return Recount.of(columns)


def folded(plays: list[Play]) -> tuple[dict[str, Any], Counter[str]]:
    """Profiles and cells as the peers make them, by way of Avro and JSON."""
    memory = job.Memory()
    for each in plays:
        memory.add(encoded(each))
    return json.loads(json.dumps(dict(memory.take_changed()))), memory.cells


def encoded(play: Play) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, job.SCHEMA, dict(play))
    return b"\0\0\0\0\1" + body.getvalue()


@pytest.fixture(scope="module")
def simulated() -> tuple[Recount, dict[str, Any], Counter[str]]:
    plays = [
        each
        for chunk in Simulation(date(2026, 1, 1), listeners=20, plays=2_000).chunks()
        for each in chunk
    ]
    return counted(plays), *folded(plays)


@given(PLAYS)
@settings(max_examples=60, deadline=None)
def test_what_the_peers_fold_is_what_a_recount_finds(drawn: list[Any]) -> None:
    plays = [play(*each) for each in drawn]
    assert counted(plays).wrong(*folded(plays)) == []


def test_simulated_plays_agree(simulated: tuple[Recount, dict[str, Any], Counter[str]]) -> None:
    expected, profiles, cells = simulated
    assert len(profiles) > 10
    assert len(cells) > 100
    assert expected.wrong(profiles, cells) == []


@pytest.mark.parametrize(
    "plant",
    [
        "plays",
        "weight",
        "name",
        "order",
        "short",
        "double",
        "term",
        "missing",
        "nobody",
        "cell",
        "no cell",
    ],
)
def test_a_difference_is_found(
    simulated: tuple[Recount, dict[str, Any], Counter[str]], plant: str
) -> None:
    expected, right, counts = simulated
    profiles, cells = deepcopy(right), Counter(counts)
    listener = max(profiles, key=lambda each: int(profiles[each]["plays"]))
    artists = profiles[listener]["artists"]
    match plant:
        case "plays":
            profiles[listener]["plays"] += 1
        case "weight":
            artists[2][-1][1] *= 1 + 1e-7
        case "name":
            artists[0][0][0] = "nobody"
        case "order":
            artists[1].reverse()
        case "short":
            profiles[listener]["genres"][0].pop()
        case "double":
            artists[0][1] = artists[0][0]
        case "term":
            artists.pop()
        case "missing":
            del profiles[listener]
        case "nobody":
            profiles["0" * 32] = profiles[listener]
        case "cell":
            cells[next(iter(cells))] += 1
        case "no cell":
            del cells[next(iter(cells))]
    assert expected.wrong(profiles, cells)


def test_equals_may_come_in_any_order() -> None:
    plays = [play("ada", DAY_MS * 20_000, "DE", f"artist {number:02}", []) for number in range(30)]
    profiles, cells = folded(plays)
    for told in profiles.values():
        for term in told["artists"]:
            term.reverse()
            term[0][0] = "artist 29"  # as heavy as those that are told
    assert counted(plays).wrong(profiles, cells) == []


def test_peers_are_chosen_and_sized() -> None:
    assert harness.chosen("none") == []
    assert [each.name for each in harness.chosen("quix,bytewax")] == ["quix", "bytewax"]
    with pytest.raises(ValueError, match="no such peer: storm"):
        harness.chosen("quix,storm")
    assert {each.events for each in harness.sized(harness.PEERS, 0.1, 10_000)} == {3_000, 10_000}


def test_a_peer_that_cannot_run_says_what_it_needs() -> None:
    jar = Peer("jvm", ("sh", "-jar", str(harness.ROOT / "var" / "no.jar")), 1)
    assert jar.missing == "var/no.jar is not there: `make bench` makes it"
    assert Peer("jvm", ("no-such-java",), 1).missing == "no-such-java is not on the PATH"
    assert Peer("shell", ("sh",), 1).missing == ""


async def test_a_peer_that_fails_is_found_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert await harness.start(("sh", "-c", "exit 3"), tmp_path, log) == "it ended with 3"
    assert await harness.start(("sh", "-c", "exit 0"), tmp_path, log) == ""


def test_the_chart_has_a_bar_for_each_result() -> None:
    found = [
        Result("gate <&>", "gate", 1_000_000, 200_000, 4.0, 300),
        Result("faust-table", "peer", 30_000, 1_490, 675.0, 133, "at least once"),
        Result("quix", "peer", 200_000, 12_900, 77.0, 316),
    ]
    root = ElementTree.fromstring(chart.draw(found, "2 cores, some CPU", date(2026, 1, 2)))  # noqa: S314 - our own
    space = {"s": "http://www.w3.org/2000/svg"}
    bars = root.findall(".//s:g[@class='mark-rect role-mark layer_0_marks']/s:path", space)
    texts = [each.text for each in root.iterfind(".//s:text", space)]
    assert len(bars) == len(found)
    assert {"gate <&>", "faust-table", "quix", "250,000", "1,481", "12,987"} <= set(texts)
    assert any("2 cores, some CPU; 2026-01-02" in str(text) for text in texts)
