"""Erasing and renaming listeners leaves what there would be had they never been, or always so."""

from __future__ import annotations

import random
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from streams.errors import StateError
from streams.warehouse import facts, store
from streams.warehouse.people import Changes, Due
from streams.warehouse.store import Positions, Warehouse
from tests.warehouse import recount
from tests.warehouse.generate import DAY_MS, SUNDAY, World, frame
from tests.warehouse.recount import Listen, Marts
from tests.warehouse.released import NOW, SQL, added_up, append, holding, read, release, released

HOUR_MS = 3_600_000
LISTENS = World(21, listeners=30, plays=600).listens()
PEOPLE = sorted({each["listener"] for each in LISTENS})
LATER = SUNDAY + 400 * DAY_MS
"""After every play."""
UNCOUNTED = ("release", "data_quality")
"""Marts that also tell of records read, which an erasure does not unread."""


def test_an_erasure_takes_the_days_up_to_its_moment(tmp_path: Path) -> None:
    moment = SUNDAY + 3 * DAY_MS + 10 * HOUR_MS
    erased = set(PEOPLE[:10])
    with holding(tmp_path, LISTENS) as warehouse:
        before = warehouse.holds(PEOPLE)
        removed = warehouse.carry_out(Changes(erased=dict.fromkeys(erased, moment)), NOW)
        assert added_up(warehouse) == recount.facts(
            [
                each
                for each in LISTENS
                if each["listener"] not in erased or recount.day_of(each) > date(2026, 1, 7)
            ]
        )
        assert removed.keys() <= erased
        assert sum(removed.values()) == before - warehouse.holds(PEOPLE) > 0


def test_a_moment_at_midnight_takes_nothing_of_the_day_it_begins(tmp_path: Path) -> None:
    plays = [_at(0, -1), _at(0, 0), _at(1, 0)]
    with holding(tmp_path, plays) as warehouse:
        erased = dict.fromkeys(PEOPLE[:2], SUNDAY)
        assert warehouse.playing_on(erased) == set()
        warehouse.carry_out(Changes(erased=erased), NOW)
        assert added_up(warehouse) == recount.facts(plays[1:])


def test_who_plays_on_in_the_hour_is_told_and_what_stays_is_put_back(tmp_path: Path) -> None:
    moment = SUNDAY + 10 * HOUR_MS + HOUR_MS // 2
    plays = [_at(0, 9), _at(0, 10), _at(1, 9), _at(2, 11), _at(3, 30)]
    with holding(tmp_path, plays) as warehouse:
        erased = dict.fromkeys(PEOPLE[:4], moment)
        assert warehouse.playing_on(erased) == {PEOPLE[0], PEOPLE[2]}
        assert warehouse.holds_before(PEOPLE[:4], moment) == 2
        kept = facts.partials(frame([plays[3]]))
        warehouse.carry_out(Changes(erased=erased, kept=[kept]), NOW)
        assert added_up(warehouse) == recount.facts(plays[3:])
        assert warehouse.holds_before(PEOPLE[:4], moment) == 0
        assert warehouse.holds([PEOPLE[0]]) == 0


def test_restrictions_follow_a_listener_and_leave_every_mart(tmp_path: Path) -> None:
    new, other = "f" * 32, "e" * 32
    with holding(tmp_path / "one", LISTENS) as warehouse:
        warehouse.carry_out(Changes(restricted={PEOPLE[0]: True, PEOPLE[1]: True}), NOW)
        warehouse.carry_out(Changes(restricted={PEOPLE[0]: True}, renamed={PEOPLE[0]: new}), NOW)
        warehouse.carry_out(Changes(restricted={other: True, PEOPLE[1]: False}), NOW)
        assert [warehouse.is_restricted([name]) for name in (PEOPLE[1], new, other)] == [
            False,
            True,
            True,
        ]
        release(warehouse, tmp_path / "one", 1)
        marts = read(tmp_path / "one" / "reporting.duckdb")
    without = [each for each in LISTENS if each["listener"] != PEOPLE[0]]
    assert _listening(marts) == _listening(released(tmp_path / "two", without, 1))


def test_what_is_held_is_told_without_the_pseudonym(tmp_path: Path) -> None:
    with holding(tmp_path, [*LISTENS, *LISTENS[:50]]) as warehouse:
        held = warehouse.held(PEOPLE[:2])
        assert not any(name in str(held) for name in PEOPLE)
        table = held["tables"]["listener_day"]
        plays = sum(row[table["columns"].index("plays")] for row in table["rows"])
        mine = [each for each in [*LISTENS, *LISTENS[:50]] if each["listener"] in PEOPLE[:2]]
        assert plays == len(mine)
        assert warehouse.held(["nobody"])["tables"]["listener_day"]["rows"] == []


def test_changes_and_positions_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "warehouse" / "warehouse.duckdb"
    at = {("privacy-commands", 0): 5, ("privacy-rekeys", 1): 2}
    with holding(tmp_path, LISTENS) as warehouse:
        due = [Due(0, 4, "warehouse", {PEOPLE[0]}), Due(0, 4, "release", ())]
        rows = warehouse.holds([PEOPLE[0]])
        warehouse.carry_out(Changes(erased={PEOPLE[0]: LATER}, next_offset=at, due=due), NOW)
        whole = added_up(warehouse)
        back = Changes(erased={PEOPLE[1]: LATER}, next_offset={("privacy-rekeys", 1): 1})
        with pytest.raises(StateError, match=r"partition 1 of privacy-rekeys .* backwards"):
            warehouse.carry_out(back, NOW)
        assert added_up(warehouse) == whole
    with Warehouse(path, SQL) as warehouse:
        assert warehouse.command_positions() == at
        assert warehouse.due(0) == {(4, "warehouse"): rows, (4, "release"): 0}
        warehouse.answered([Due(0, 4, "warehouse")])
        assert warehouse.due(0) == {(4, "release"): 0}
        assert warehouse.is_stale()


@pytest.mark.parametrize("seed", range(3))
def test_marts_are_those_of_who_was_never_there_or_always_so(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among appends, compactions, rewrites and reopenings; batches of many commands at once."""
    monkeypatch.setattr(store, "COMPACT_ROWS", 1)
    draw = random.Random(seed)
    listens = World(seed, listeners=30, plays=600).listens()
    people = sorted({each["listener"] for each in listens})
    names = {person: f"{number:032x}" for number, person in enumerate(people)}
    erased, renamed = draw.sample(people, 8), set(draw.sample(people, 12))
    expected = [
        {**each, "listener": names[person] if person in renamed else person}
        for each in listens
        if (person := each["listener"]) not in erased
    ]
    folder, path = tmp_path / "one", tmp_path / "one" / "warehouse" / "warehouse.duckdb"
    warehouse = Warehouse(path, SQL)
    moved = False
    for begin in range(0, 600, 60):
        append(warehouse, _called(listens[begin : begin + 60], names if moved else {}), begin + 60)
        for step in (warehouse.compact, warehouse.rewrite):
            if draw.random() < 0.3:
                step()
        if draw.random() < 0.3:
            warehouse.close()
            warehouse = Warehouse(path, SQL)
        if begin == 300:
            warehouse.carry_out(Changes(renamed={each: names[each] for each in renamed}), NOW)
            names, moved = {each: names[each] for each in renamed}, True
    gone = dict.fromkeys((names.get(each, each) for each in erased), LATER)
    warehouse.carry_out(Changes(erased=gone), NOW)
    for again in range(2):  # before the rewrite and after it
        assert added_up(warehouse) == recount.facts(expected)
        release(warehouse, folder, 4)
        marts = read(folder / "reporting.duckdb")
        assert _listening(marts) == _listening(released(tmp_path / f"other {again}", expected, 4))
        assert warehouse.rewrite([*erased, *gone]) == set()
    warehouse.close()


def test_a_rotation_of_a_hundred_thousand_takes_seconds(tmp_path: Path) -> None:
    number = 100_000
    old = [f"{each:032x}" for each in range(number)]
    plays = frame([_at(0, 9)]).drop("listener").join(pl.DataFrame({"listener": old}), how="cross")
    with Warehouse(tmp_path / "warehouse.duckdb", SQL) as warehouse:
        warehouse.append([facts.partials(plays)] * 2, Positions(), {}, NOW)
        warehouse.append([facts.partials(plays)], Positions(), {}, NOW)
        began = time.monotonic()
        warehouse.carry_out(Changes(renamed={each: f"f{each[1:]}" for each in old}), NOW)
        assert time.monotonic() - began < 20
        assert warehouse.holds(old[:50]) == 0
        assert warehouse.holds([f"f{old[7][1:]}"]) == 6


def _at(person: int, hour: int) -> Listen:
    return {
        **LISTENS[0],
        "listener": PEOPLE[person],
        "started_at": SUNDAY + hour * HOUR_MS,
    }


def _called(listens: list[Listen], names: dict[str, str]) -> list[Listen]:
    return [{**each, "listener": names.get(each["listener"], each["listener"])} for each in listens]


def _listening(marts: Marts) -> Marts:
    return {name: rows for name, rows in marts.items() if name not in UNCOUNTED}
