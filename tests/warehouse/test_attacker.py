"""No subtraction of released figures isolates a group below the minimum."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.warehouse import recount
from tests.warehouse.attacker import Attacker, naive
from tests.warehouse.generate import World
from tests.warehouse.recount import Listen, Marts
from tests.warehouse.released import released


@dataclass(frozen=True)
class Case:
    """A world and how many listeners a figure must be about."""

    world: World
    minimum: int


def _case(seed: int) -> Case:
    world = World(
        seed,
        listeners=40 + 10 * (seed % 9),
        plays=250 + 150 * (seed % 7),
        days=(2, 4, 9, 16)[seed % 4],
        countries=(2, 4, 20)[seed % 3],
        single_genre=seed % 2 == 0,
    )
    return Case(world, (3, 5, 20)[seed % 3])


CASES = [_case(seed) for seed in range(24)]
FOR_PAIRS = [
    Case(World(126, listeners=40, plays=60, days=16, genres=3, countries=20), 3),
    Case(World(165, listeners=15, plays=60, days=16, artists=12, genres=3, countries=4), 5),
]
"""Where each mart alone holds back enough, but one less another isolates a few."""
PUBLISHED = [*CASES[:10], *FOR_PAIRS]


@dataclass(frozen=True)
class Outcome:
    """A release and the listens it is of."""

    listens: list[Listen]
    published: Marts
    minimum: int


@pytest.fixture(scope="module", params=PUBLISHED, ids=lambda case: f"world{case.world.seed}")
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    case: Case = request.param
    listens = case.world.listens()
    folder = tmp_path_factory.mktemp("release")
    return Outcome(listens, released(folder, listens, case.minimum), case.minimum)


def test_no_subtraction_isolates_a_small_group(outcome: Outcome) -> None:
    attacker = Attacker(outcome.listens, outcome.published, outcome.minimum)
    assert attacker.findings() == []


def test_what_is_shown_is_true(outcome: Outcome) -> None:
    counted = recount.marts(outcome.listens)
    for mart, rows in counted.items():
        truth = recount.by_key(mart, rows)
        for key, row in recount.by_key(mart, outcome.published[mart]).items():
            if mart == "daily_activity" and row["completion"] is None:
                row = row | {"completion": truth[key]["completion"]}
            assert recount.same(row, truth[key]), (mart, key)


def test_a_mean_completion_is_of_the_minimum_of_listeners(outcome: Outcome) -> None:
    for row in outcome.published["daily_activity"]:
        known = {
            each["listener"]
            for each in outcome.listens
            if recount.day_of(each) == row["day"] and each["completion"] is not None
        }
        assert (row["completion"] is not None) == (len(known) >= outcome.minimum)


def test_shares_of_data_quality_are_about_nobody_or_the_minimum(outcome: Outcome) -> None:
    lacking = {
        "without length": lambda x: x["ms_played"] is None,
        "without completion": lambda x: x["completion"] is None,
        "without country": lambda x: x["country"] is None,
        "without genre": lambda x: not x["genres"],
    }
    shown = {row["measure"]: row["value"] for row in outcome.published["data_quality"]}
    for measure in lacking.keys() & shown.keys():
        lacks: dict[bool, set[str]] = {True: set(), False: set()}
        for each in outcome.listens:
            lacks[lacking[measure](each)].add(each["listener"])
        assert all(not of or len(of) >= outcome.minimum for of in lacks.values())


def test_the_attacker_finds_every_kind_of_hole_in_naive_marts() -> None:
    holes = set()
    for case in CASES:
        listens = case.world.listens()
        holes |= {
            finding.by
            for finding in Attacker(listens, naive(listens, case.minimum), case.minimum).findings()
        }
    kinds = {
        "all plays less daily_activity",
        "all plays less artists",
        "all plays less genres",
        "all plays: countries less listener_segments",
        "weekday 1: daily_activity less hour_of_week",
        "held genres less its artists",
        "genre 1 less its artists",
        "listeners less cohorts",
        "segments less cohorts",
        "a cohort less who came back",
        "a week less its cohorts",
        "those away in a week less its cohorts",
    }
    assert kinds - holes == set()


def test_marts_are_not_emptied_to_be_safe(tmp_path_factory: pytest.TempPathFactory) -> None:
    listens = World(99, listeners=400, plays=1_500, days=21, artists=80).listens()
    published = released(tmp_path_factory.mktemp("release"), listens, 20)
    possible = naive(listens, 20)
    for mart in possible.keys() - {"listener_segments"}:
        assert len(published[mart]) >= 0.8 * len(possible[mart]), mart
