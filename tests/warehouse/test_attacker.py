"""No subtraction of released figures isolates a group below the minimum."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.warehouse import recount
from tests.warehouse.attacker import Attacker, naive
from tests.warehouse.generate import World
from tests.warehouse.released import released

WORLDS = [
    pytest.param(
        World(
            seed,
            listeners=40 + 10 * (seed % 9),
            plays=250 + 150 * (seed % 7),
            days=(2, 4, 9, 16)[seed % 4],
            countries=(2, 4, 8)[seed % 3],
            single_genre=seed % 2 == 0,
        ),
        (3, 5, 20)[seed % 3],
        id=f"world{seed}",
    )
    for seed in range(36)
]


@pytest.mark.parametrize(("world", "minimum"), WORLDS)
def test_no_subtraction_isolates_a_small_group(world: World, minimum: int, tmp_path: Path) -> None:
    listens = world.listens()
    published = released(tmp_path, listens, minimum)
    assert Attacker(listens, published, minimum).findings() == []


@pytest.mark.parametrize(("world", "minimum"), WORLDS)
def test_what_is_shown_is_true(world: World, minimum: int, tmp_path: Path) -> None:
    listens = world.listens()
    published = released(tmp_path, listens, minimum)
    counted = recount.marts(listens)
    for mart in counted:
        truth = recount.by_key(mart, counted[mart])
        for key, row in recount.by_key(mart, published[mart]).items():
            assert recount.same(row, truth[key]), (mart, key)


def test_the_attacker_finds_every_kind_of_hole_in_naive_marts() -> None:
    kinds = set()
    for case in WORLDS:
        world, minimum = case.values
        listens = world.listens()  # type: ignore[union-attr]
        for finding in Attacker(listens, naive(listens, minimum), minimum).findings():  # type: ignore[arg-type]
            kinds.add(finding.by)
    for needed in (
        "all plays less daily_activity",
        "all plays less countries",
        "all plays: countries less hour_of_week",
        "weekday 7: daily_activity less hour_of_week",
        "genre 1 less its artists",
        "listeners less cohorts",
        "segments less cohorts",
        "a cohort less who came back",
    ):
        assert needed in kinds
    assert any(kind.startswith("a week less") or kind.startswith("those away") for kind in kinds)


def test_marts_are_not_emptied_to_be_safe(tmp_path: Path) -> None:
    listens = World(99, listeners=400, plays=6_000, days=21, artists=80).listens()
    published = released(tmp_path, listens, 20)
    possible = naive(listens, 20)
    for mart, rows in possible.items():
        assert len(published[mart]) >= 0.8 * len(rows), mart
