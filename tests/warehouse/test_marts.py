"""Marts against the recount; what the released file says of itself; whom it does not name."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from streams.warehouse.store import Counter
from tests.warehouse import recount
from tests.warehouse.generate import World
from tests.warehouse.released import NOW, SQL, append, holding, read, release, released, rows

WORLD = World(1, listeners=120, plays=1_500, days=16)
OTHER_TABLES = {"data_quality", "release"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_a_minimum_of_one_every_mart_is_the_recount(seed: int, tmp_path: Path) -> None:
    listens = World(seed, listeners=50, plays=700, days=(3, 9, 30)[seed % 3]).listens()
    published = released(tmp_path, listens, 1)
    counted = recount.marts(listens)
    assert published.keys() == counted.keys() | OTHER_TABLES
    for mart in counted:
        shown = recount.by_key(mart, published[mart])
        truth = recount.by_key(mart, counted[mart])
        assert shown.keys() == truth.keys(), mart
        assert len(shown) == len(published[mart]), mart
        for key, row in shown.items():
            assert recount.same(row, truth[key]), (mart, key)


def test_marts_add_up_batches_compacted_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listens = WORLD.listens()
    with holding(tmp_path, listens[:500]) as warehouse:
        append(warehouse, listens[500:900], 900)
        append(warehouse, listens[900:], len(listens))
        release(warehouse, tmp_path, 1)
        apart = read(tmp_path / "reporting.duckdb")
        monkeypatch.setattr("streams.warehouse.store.COMPACT_ROWS", 1)
        assert warehouse.compact() > 0
        release(warehouse, tmp_path, 1)
    compacted = read(tmp_path / "reporting.duckdb")
    assert {mart: compacted[mart] for mart in recount.KEYS} == {
        mart: apart[mart] for mart in recount.KEYS
    }


def test_at_the_default_minimum_no_row_is_about_fewer(tmp_path: Path) -> None:
    published = released(tmp_path, WORLD.listens(), 20)
    assert all(row["listeners"] >= 20 for mart in recount.KEYS for row in published[mart])
    assert sum(len(published[mart]) for mart in recount.KEYS) > 20


def test_fewer_listeners_than_the_minimum_leave_every_mart_empty(tmp_path: Path) -> None:
    published = released(tmp_path, World(5, listeners=15, plays=400).listens(), 20)
    assert all(published[mart] == [] for mart in (*recount.KEYS, "data_quality"))
    assert published["release"][0]["listens_read"] == 0
    assert published["release"][0]["positions"] is None


def test_an_empty_warehouse_has_an_empty_release(tmp_path: Path) -> None:
    with holding(tmp_path, []) as warehouse:
        release(warehouse, tmp_path, 20)
    published = read(tmp_path / "reporting.duckdb")
    assert [mart for mart, of in published.items() if of] == ["release"]


def test_data_quality_is_rounded(tmp_path: Path) -> None:
    listens = WORLD.listens()
    with holding(tmp_path, []) as warehouse:
        counts = {Counter.FOLDED: len(listens), Counter.DUPLICATES: 7, Counter.UNREADABLE: 2}
        append(warehouse, listens, len(listens) + 9, counts)
        release(warehouse, tmp_path, 20)
    shown = {
        row["measure"]: row["value"] for row in read(tmp_path / "reporting.duckdb")["data_quality"]
    }
    days = [row["day"] for row in read(tmp_path / "reporting.duckdb")["daily_activity"]]

    def percent(lacking: int) -> float:
        return float(round(100 * lacking / len(listens)))

    heard = len({each["listener"] for each in listens})
    assert shown == {
        "listeners": pytest.approx(heard, abs=5),
        "plays": pytest.approx(len(listens), abs=50),
        "listens": pytest.approx(sum(each["counted"] for each in listens), abs=50),
        "without length": percent(sum(each["ms_played"] is None for each in listens)),
        "without completion": percent(sum(each["completion"] is None for each in listens)),
        "without country": percent(sum(each["country"] is None for each in listens)),
        "without genre": percent(sum(not each["genres"] for each in listens)),
        "duplicates left out": 7.0,
        "repeats left out": 0.0,
        "unreadable": 2.0,
        "days covered": float((max(days) - min(days)).days + 1),
    }
    assert shown["listeners"] % 10 == shown["plays"] % 100 == shown["listens"] % 100 == 0


def test_the_release_says_what_it_is(tmp_path: Path) -> None:
    listens = WORLD.listens()
    with holding(tmp_path, listens) as warehouse:
        manifest = release(warehouse, tmp_path, 20)
    published = read(tmp_path / "reporting.duckdb")
    (row,) = published["release"]
    assert (row["id"], row["min_listeners"]) == (manifest.id, 20)
    assert row["published_at"] == NOW.replace(tzinfo=None)
    assert row["listens_read"] == len(listens)
    assert row["positions"] == {0: len(listens)}
    assert row["newest_day"] == max(each["day"] for each in published["daily_activity"])
    assert manifest.rows == {mart: len(of) for mart, of in published.items()}


def test_every_table_and_column_is_described(tmp_path: Path) -> None:
    released(tmp_path, WORLD.listens(), 20)
    with duckdb.connect(tmp_path / "reporting.duckdb", read_only=True) as connection:
        tables = connection.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall()
        columns = connection.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    assert {table for table, _ in tables} == {each.stem for each in (SQL / "marts").glob("*.sql")}
    assert len(columns) > len(tables)
    assert [row for row in (*tables, *columns) if not row[-1]] == []


def test_no_listener_is_named_in_what_is_released(tmp_path: Path) -> None:
    listens = WORLD.listens()
    released(tmp_path, listens, 1)
    found = _uncompressed(tmp_path / "reporting.duckdb", tmp_path / "plain.duckdb")
    assert b"Artist 1" in found
    assert _named(found, listens) == set()
    assert _named((tmp_path / "reporting.duckdb").read_bytes(), listens) == set()
    for file in (tmp_path / "parquet").iterdir():
        plain = tmp_path / f"{file.stem}.plain"
        duckdb.execute(
            f"COPY (FROM '{file}') TO '{plain}' (FORMAT parquet, COMPRESSION uncompressed)"
        )
        assert _named(plain.read_bytes(), listens) == set()


def test_the_search_for_listeners_finds_a_planted_one(tmp_path: Path) -> None:
    listens = WORLD.listens()
    released(tmp_path, listens, 1)
    planted = sorted({each["listener"] for each in listens})[0]
    with duckdb.connect(tmp_path / "reporting.duckdb") as connection:
        connection.execute("CREATE TABLE leak AS SELECT ? AS listener FROM range(2000)", [planted])
    found = _uncompressed(tmp_path / "reporting.duckdb", tmp_path / "plain.duckdb")
    assert _named(found, listens) == {planted}


def _uncompressed(file: Path, copy: Path) -> bytes:
    with duckdb.connect() as connection:
        connection.execute("PRAGMA force_compression='uncompressed'")
        connection.execute(f"ATTACH '{file}' AS original (READ_ONLY)")
        connection.execute(f"ATTACH '{copy}' AS plain")
        connection.execute("COPY FROM DATABASE original TO plain")
    return copy.read_bytes()


def _named(content: bytes, listens: list[recount.Listen]) -> set[str]:
    return {
        listener
        for listener in {each["listener"] for each in listens}
        if listener.encode() in content or bytes.fromhex(listener) in content
    }


def test_parquet_files_are_the_tables(tmp_path: Path) -> None:
    published = released(tmp_path, WORLD.listens(), 3)
    files = {file.stem: file for file in (tmp_path / "parquet").iterdir()}
    assert files.keys() == published.keys()
    with duckdb.connect() as connection:
        for mart, file in files.items():
            assert rows(connection, f"'{file}'") == published[mart]
