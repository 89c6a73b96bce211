"""Brings a warehouse to the newest shape: numbered SQL files, each committed with its own record.

A process that dies in the middle leaves the last whole migration; the next one goes on from there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import duckdb

from streams.errors import WarehouseError
from streams.warehouse.files import rolled_back

_NAME = re.compile(r"(\d{3})_([a-z0-9_]+)\.sql")
_RECORD = """
    CREATE TABLE IF NOT EXISTS migrations (
        version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL
    );
    COMMENT ON TABLE migrations IS 'Shape of this warehouse.';
    COMMENT ON COLUMN migrations.version IS 'Number of the migration.';
    COMMENT ON COLUMN migrations.name IS 'Its name.';
    COMMENT ON COLUMN migrations.applied_at IS 'When it was applied, UTC.';
"""


@dataclass(frozen=True, slots=True, order=True)
class Migration:
    """A file ``NNN_name.sql``."""

    version: int
    name: str
    path: Path


def available(folder: Path) -> list[Migration]:
    """Migrations in ``folder``, oldest first, numbered from 1 without a gap.

    Raises:
        WarehouseError: there are none, or a number is missing or taken twice.
    """
    found = sorted(
        Migration(int(match[1]), match[2], path)
        for path in folder.glob("*.sql")
        if (match := _NAME.fullmatch(path.name))
    )
    if [migration.version for migration in found] != list(range(1, len(found) + 1)) or not found:
        raise WarehouseError(
            "The warehouse's migrations are incomplete.", "Correct the setting `sql` or reinstall."
        )
    return found


def migrate(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Apply what the warehouse lacks.

    Raises:
        WarehouseError: the warehouse has a migration that ``folder`` does not know.
    """
    migrations = available(folder)
    connection.execute(_RECORD)
    row = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
    applied = int(row[0]) if row else 0
    if applied > migrations[-1].version:
        raise WarehouseError(
            f"The warehouse has version {applied}; this program knows {migrations[-1].version}.",
            "Run the newer program that wrote it.",
        )
    for migration in migrations[applied:]:
        _apply(connection, migration)


def _apply(connection: duckdb.DuckDBPyConnection, migration: Migration) -> None:
    connection.begin()
    with rolled_back(connection):
        connection.execute(migration.path.read_text(encoding="utf-8"))
        connection.execute(
            "INSERT INTO migrations VALUES (?, ?, (now() AT TIME ZONE 'UTC'))",
            [migration.version, migration.name],
        )
        connection.commit()
