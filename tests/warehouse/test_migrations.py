"""A warehouse is brought forward migration by migration, each whole, and never back."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from streams.errors import WarehouseError
from streams.warehouse.migrations import available, migrate
from tests.warehouse.released import SQL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations of our own."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "001_first.sql").write_text("CREATE TABLE first (a INTEGER);", "utf-8")
    (folder / "002_second.sql").write_text(
        "CREATE TABLE second (b INTEGER); INSERT INTO second VALUES (1);", "utf-8"
    )
    return folder


def test_each_is_applied_once_in_order(folder: Path) -> None:
    with duckdb.connect() as connection:
        migrate(connection, folder)
        migrate(connection, folder)
        (folder / "003_third.sql").write_text("INSERT INTO second VALUES (2);", "utf-8")
        migrate(connection, folder)
        assert connection.execute("SELECT version, name FROM migrations ORDER BY 1").fetchall() == [
            (1, "first"),
            (2, "second"),
            (3, "third"),
        ]
        assert connection.execute("SELECT b FROM second ORDER BY 1").fetchall() == [(1,), (2,)]


def test_a_failed_one_leaves_those_before_and_nothing_of_itself(folder: Path) -> None:
    broken = folder / "003_third.sql"
    broken.write_text("CREATE TABLE third (c INTEGER); SELECT nonsense;", "utf-8")
    with duckdb.connect() as connection:
        with pytest.raises(duckdb.Error):
            migrate(connection, folder)
        assert _applied(connection) == [1, 2]
        assert _tables(connection) == {"first", "second", "migrations"}
        broken.write_text("CREATE TABLE third (c INTEGER);", "utf-8")
        migrate(connection, folder)
        assert _applied(connection) == [1, 2, 3]


def test_a_newer_warehouse_is_refused_and_left_alone(folder: Path) -> None:
    with duckdb.connect() as connection:
        migrate(connection, folder)
        (folder / "002_second.sql").unlink()
        with pytest.raises(WarehouseError, match="version 2; this program knows 1"):
            migrate(connection, folder)
        assert _applied(connection) == [1, 2]


@pytest.mark.parametrize("names", [[], ["002_b.sql"], ["001_a.sql", "003_c.sql"]])
def test_numbers_without_a_gap_are_needed(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;", "utf-8")
    with pytest.raises(WarehouseError, match="incomplete"):
        available(tmp_path)


def test_a_number_taken_twice_is_refused(folder: Path) -> None:
    shutil.copy(folder / "002_second.sql", folder / "002_again.sql")
    with pytest.raises(WarehouseError, match="incomplete"):
        available(folder)


def test_every_table_and_column_of_the_warehouse_is_described() -> None:
    with duckdb.connect() as connection:
        migrate(connection, SQL / "warehouse")
        undescribed = connection.execute(
            "SELECT table_name, NULL FROM duckdb_tables() WHERE comment IS NULL"
            " UNION ALL SELECT table_name, column_name FROM duckdb_columns()"
            " WHERE NOT internal AND comment IS NULL"
        ).fetchall()
        assert undescribed == []
        assert len(_tables(connection)) > 1


def test_facts_from_before_commands_go_for_none_could_erase_them(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(SQL / "warehouse" / "001_facts.sql", first)
    with duckdb.connect() as connection:
        migrate(connection, first)
        connection.execute("INSERT INTO positions VALUES (0, 7, now()::TIMESTAMP)")
        connection.execute(
            "INSERT INTO listener_day_hour VALUES ('a', '2026-01-01', 1, 1, 1, 1, 1)"
        )
        migrate(connection, SQL / "warehouse")
        for table in ("positions", "listener_day_hour"):
            assert connection.execute(f"FROM {table}").fetchall() == []
        assert len(connection.execute("FROM stale").fetchall()) == 1
    with duckdb.connect() as connection:
        migrate(connection, SQL / "warehouse")
        assert connection.execute("FROM stale").fetchall() == []


def _applied(connection: duckdb.DuckDBPyConnection) -> list[int]:
    return [row[0] for row in connection.execute("FROM migrations ORDER BY version").fetchall()]


def _tables(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {
        row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    }
