"""Totals that go on from the last release are those of counting everything, whatever came between;
and what is held back for them is what the slow twin holds, which looks at every listener."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from streams.warehouse import facts, store, totals
from streams.warehouse.people import Changes
from streams.warehouse.protection import hold_back
from streams.warehouse.store import Warehouse
from tests.warehouse.generate import DAY_MS, SUNDAY, World, frame
from tests.warehouse.recount import Listen
from tests.warehouse.released import NOW, SQL, append, holding

TWIN = Path(__file__).parent / "twin"
HOLD_MORE = ("cohorts", "inner_genres", "parts", "days", "pairs")
Rows = list[tuple[object, ...]]


class Life:
    """A warehouse to which things happen at random; every so often totals are counted."""

    def __init__(self, path: Path, draw: random.Random, listens: Sequence[Listen]) -> None:
        self.path, self.draw, self.listens = path, draw, list(listens)
        self.names = {each["listener"]: each["listener"] for each in listens}
        self.warehouse = Warehouse(path, SQL)
        self.offset = 0

    def happen(self) -> None:
        """One thing more."""
        chances = (self.append,) * 6 + (self.erase, self.rename, self.restrict, self.restrict)
        self.draw.choice((*chances, self.warehouse.compact, self.warehouse.rewrite, self.reopen))()

    def append(self) -> None:
        size = self.draw.randrange(1, 80)
        listens = [self.listens.pop() for _ in range(min(size, len(self.listens)))]
        self.offset += len(listens)
        append(
            self.warehouse,
            [{**each, "listener": self.names[each["listener"]]} for each in listens],
            self.offset,
        )

    def erase(self) -> None:
        """Some, up to a day; what they play on the day itself after the moment is put back."""
        moment = SUNDAY + self.draw.randrange(20) * DAY_MS + DAY_MS // 2
        gone = self.draw.sample(sorted(self.names.values()), 2)
        back = [{**each, "listener": gone[0], "started_at": moment} for each in self.listens[:2]]
        kept = [facts.partials(frame(back))] if back else []
        self.warehouse.carry_out(Changes(dict.fromkeys(gone, moment), kept=kept), NOW)

    def rename(self) -> None:
        """Some, of whom one to a pseudonym that is in use."""
        renamed = {}
        for person in self.draw.sample(sorted(self.names), 3):
            old = self.names[person]
            self.names[person] = f"{self.draw.getrandbits(128):032x}"
            renamed[old] = self.names[person]
        self.warehouse.carry_out(Changes(renamed=renamed), NOW)
        self.names[person] = self.names[next(iter(self.names))]
        self.warehouse.carry_out(Changes(renamed={renamed[old]: self.names[person]}), NOW)

    def restrict(self) -> None:
        some = self.draw.sample(sorted(self.names.values()), 3)
        self.warehouse.carry_out(
            Changes(restricted={each: self.draw.random() < 0.6 for each in some}), NOW
        )

    def reopen(self) -> None:
        self.warehouse.close()
        self.warehouse = Warehouse(self.path, SQL)


@pytest.mark.parametrize("seed", range(3))
def test_totals_and_what_is_held_are_those_of_counting_everything(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(store, "COMPACT_ROWS", 1)
    monkeypatch.setattr(totals, "LISTENERS_AT_ONCE", draw.choice((9, 1_000)))
    monkeypatch.setattr(totals, "_ANEW", draw.choice((0.5, 1.0)))
    monkeypatch.setattr(totals, "_TAKEN_OUT", draw.choice((0.07, 1.0)))
    world = World(seed, 40, 900, 12, countries=(2, 6, 20)[seed % 3], single_genre=seed % 2 == 0)
    life = Life(tmp_path / "w" / "warehouse.duckdb", draw, world.listens())
    for _ in range(5):
        for _ in range(draw.randrange(6)):
            life.happen()
        minimum = draw.choice((2, 3, 5, 20))
        with _counted(life.warehouse, minimum) as cursor:
            held = _rows(cursor, "held")
            found = _rows(cursor, "totals")
        with life.warehouse.reading() as cursor, _undone(cursor):
            cursor.execute(f"SET VARIABLE min_listeners = {minimum}")
            assert _held_by_twin(cursor) == held
        assert _counted_anew(life.warehouse) == found
    life.warehouse.close()


def test_what_happens_while_a_release_is_made_is_counted_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "_ANEW", 1.0)
    monkeypatch.setattr(totals, "_TAKEN_OUT", 1.0)
    listens = World(3).listens()
    people = sorted({each["listener"] for each in listens})
    with holding(tmp_path, listens[:300]) as warehouse:
        for end in (400, 500):
            with _counted(warehouse, 2) as cursor:
                seen = _rows(cursor, "totals")
                append(warehouse, listens[end - 100 : end], end)
                if end == 500:
                    gone = dict.fromkeys(people[:3], SUNDAY + 400 * DAY_MS)
                    warehouse.carry_out(Changes(gone), NOW)
                assert _rows(cursor, "totals") == seen
            with _counted(warehouse, 2) as cursor:
                found = _rows(cursor, "totals")
            assert found == _counted_anew(warehouse) != seen


def test_few_new_facts_have_few_listeners_counted(tmp_path: Path) -> None:
    listens = World(3).listens()
    with holding(tmp_path, listens) as warehouse:
        with _counted(warehouse, 2) as cursor:
            assert len(_rows(cursor, "chosen")) == len({each["listener"] for each in listens})
        append(warehouse, listens[:2], 1_000)
        with _counted(warehouse, 2) as cursor:
            chosen = {listener for listener, _ in _rows(cursor, "chosen")}
    assert chosen == {each["listener"] for each in listens[:2]}


@pytest.mark.parametrize("erased", [False, True])
def test_other_sql_counts_anew(erased: bool, tmp_path: Path) -> None:
    sql = tmp_path / "sql"
    shutil.copytree(SQL, sql)
    sums = sql / "totals" / "sums.sql"
    listens = World(3).listens()
    with holding(tmp_path, listens) as warehouse, _counted(warehouse, 2):
        pass
    sums.write_text(sums.read_text("utf-8").replace("'everybody'", "'all of them'"), "utf-8")
    with Warehouse(tmp_path / "warehouse" / "warehouse.duckdb", sql) as warehouse:
        if erased:
            gone = {listens[0]["listener"]: SUNDAY + 400 * DAY_MS}
            warehouse.carry_out(Changes(gone), NOW)
        with _counted(warehouse, 2) as cursor:
            marts = {row[0] for row in _rows(cursor, "totals")}
        assert "all of them" in marts
        assert "everybody" not in marts


@contextmanager
def _counted(warehouse: Warehouse, minimum: int) -> Iterator[duckdb.DuckDBPyConnection]:
    with warehouse.reading() as cursor:
        cursor.execute(f"SET VARIABLE min_listeners = {minimum}")
        with warehouse.counting(cursor):
            hold_back(cursor, SQL / "protection")
            yield cursor


def _counted_anew(warehouse: Warehouse) -> Rows:
    with warehouse.reading() as cursor, _undone(cursor):
        totals.forget(cursor)
        totals.count(cursor, SQL / "totals")
        return _rows(cursor, "totals")


@contextmanager
def _undone(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    cursor.begin()
    try:
        yield
    finally:
        cursor.rollback()


def _held_by_twin(cursor: duckdb.DuckDBPyConnection) -> Rows:
    for name in ("base", "cells", "held"):
        cursor.execute((TWIN / f"{name}.sql").read_text("utf-8"))
    steps = [(TWIN / "hold_more" / f"{name}.sql").read_text("utf-8") for name in HOLD_MORE]
    while any(cursor.execute(step).fetchall() != [(0,)] for step in steps):
        pass
    return _rows(cursor, "held")


def _rows(cursor: duckdb.DuckDBPyConnection, table: str) -> Rows:
    return cursor.execute(f"FROM {table} ORDER BY ALL").fetchall()
