"""Someone who adds and subtracts all published figures at once, with any weights, isolates nobody.

What is published is linear: each row is a sum over plays. A combination of rows isolates a group of
listeners if it vanishes on everybody else's plays, whatever those are, and not on theirs; there is
one if and only if leaving the group's plays out lowers the rank of the matrix of rows by plays. The
attacker is given which rows each play is in, which is more than anybody knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pytest

from streams.warehouse.protection import hold_back
from streams.warehouse.store import Warehouse
from tests.warehouse import recount
from tests.warehouse.attacker import naive
from tests.warehouse.generate import World
from tests.warehouse.recount import UNKNOWN, Listen, Marts, by_key, day_of, genres_of, hour_of
from tests.warehouse.released import SQL, holding, released

Cell = tuple[Hashable, ...]
Matrix = npt.NDArray[np.float64]
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
    for seed in (0, 2, 4, 28)
]


@pytest.mark.parametrize(("world", "minimum"), WORLDS)
def test_no_combination_of_rows_isolates_few_listeners(
    world: World, minimum: int, tmp_path: Path
) -> None:
    listens = world.listens()
    assert _isolated(listens, released(tmp_path, listens, minimum), minimum) == []


def test_this_attacker_isolates_listeners_where_only_small_rows_are_held() -> None:
    found = 0
    for case in WORLDS:
        world, minimum = case.values
        listens = world.listens()  # type: ignore[union-attr]
        found += len(_isolated(listens, naive(listens, minimum), minimum))  # type: ignore[arg-type]
    assert found >= len(WORLDS)


def test_a_minimum_of_one_holds_nothing(tmp_path: Path) -> None:
    with holding(tmp_path, World(2).listens()) as warehouse, _held(warehouse, 1) as cursor:
        assert cursor.execute("SELECT * FROM held").fetchall() == []


def test_below_the_minimum_everything_is_held(tmp_path: Path) -> None:
    few = World(2, listeners=15).listens()
    with holding(tmp_path, few) as warehouse, _held(warehouse, 20) as cursor:
        assert cursor.execute("SELECT count(*) > 0 FROM cells").fetchone() == (True,)
        assert cursor.execute("FROM cells ANTI JOIN held USING (mart, cell)").fetchall() == []


def test_nothing_personal_is_left_of_the_cells(tmp_path: Path) -> None:
    listens = World(2).listens()
    with holding(tmp_path, listens) as warehouse:
        with _held(warehouse, 5) as cursor:
            assert cursor.execute("SELECT count(*) > 0 FROM shares").fetchone() == (True,)
        with warehouse.reading() as cursor, pytest.raises(duckdb.CatalogException):
            cursor.execute("FROM shares")


@contextmanager
def _held(warehouse: Warehouse, minimum: int) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse.reading() as cursor:
        cursor.execute(f"SET VARIABLE min_listeners = {minimum}")
        with warehouse.counting(cursor):
            hold_back(cursor, SQL / "protection")
            yield cursor


def _isolated(listens: Sequence[Listen], published: Marts, minimum: int) -> list[set[str]]:
    """Groups below the minimum that some combination of rows isolates; tried are each listener and
    the listeners of each small cell."""
    who = np.array([listen["listener"] for listen in listens])
    places = _places(listens)
    rows = _rows_by_plays(places, published)
    rank = _rank(rows)
    members: dict[Cell, set[str]] = defaultdict(set)
    for listener, cells in zip(who.tolist(), places, strict=True):
        for cell in [("listener", listener), *cells]:
            members[cell].add(listener)
    groups = {frozenset(group) for group in members.values() if len(group) < minimum}
    return [
        set(group)
        for group in sorted(groups, key=sorted)
        if _rank(rows[:, ~np.isin(who, list(group))]) < rank
    ]


def _places(listens: Sequence[Listen]) -> list[list[Cell]]:
    """The cells each play is in."""
    segments = recount.segments(listens)
    return [
        [
            ("daily_activity", day_of(each)),
            ("hour_of_week", day_of(each).isoweekday(), hour_of(each)),
            ("artists", each["artist"]),
            ("countries", each["country"] or UNKNOWN),
            ("devices", each["device_class"] or UNKNOWN),
            ("listener_segments", *segments[each["listener"]]),
            *(("genres", genre) for genre in genres_of(each)),
        ]
        for each in listens
    ]


def _rows_by_plays(places: Sequence[Sequence[Cell]], published: Marts) -> Matrix:
    """A row for all plays together and one for each published row, a column for each play."""
    shown: list[Cell] = [
        (mart, *key) for mart in recount.KEYS for key in by_key(mart, published[mart])
    ]
    at = {cell: number for number, cell in enumerate(shown, start=1)}
    rows = np.zeros((1 + len(shown), len(places)))
    rows[0] = 1
    for column, cells in enumerate(places):
        rows[[at[cell] for cell in cells if cell in at], column] = 1
    return rows


def _rank(rows: Matrix) -> int:
    return int(np.linalg.matrix_rank(rows @ rows.T))  # the same rank, of a far smaller matrix
