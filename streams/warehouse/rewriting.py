"""A new file with the rows of the warehouse that are left, and with nothing else.

A DELETE leaves the bytes in the file, after a CHECKPOINT too. ``COPY FROM DATABASE`` writes the
rows that are left into another file, but from a process that has the others in its memory, and some
of those were found in gaps of the new file. So the rows go out as Parquet, which has no gaps, and a
process of its own (`streams.warehouse.fresh`) makes the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import duckdb
import polars as pl

from streams.errors import WarehouseError
from streams.warehouse import fresh
from streams.warehouse.files import STORAGE_VERSION

_CHUNK = 8 * 1024 * 1024
_OURS = "database_name = current_database() AND NOT internal"


def copy(cursor: duckdb.DuckDBPyConnection, folder: Path, emptied: str) -> Path:
    """Make a file in ``folder``, which must not exist, of all tables, ``emptied`` without rows.

    Comments and keys are as they were; rows of a listener stand together. Blocks: seconds per
    million rows.

    Raises:
        WarehouseError: the new file cannot be made.
        duckdb.Error: the rows cannot be read.
        OSError: the folder cannot be written.
    """
    folder.mkdir(mode=0o700)
    (folder / "schema.sql").write_text(_schema(cursor), "utf-8")
    for table, listeners in _tables(cursor).items():
        target = str(folder / f"{table}.parquet").replace("'", "''")
        rows = f"FROM {table} WHERE {table != emptied}" + (" ORDER BY listener" * listeners)
        cursor.execute(f"COPY ({rows}) TO '{target}' (FORMAT parquet)")
    file = folder / "warehouse.duckdb"
    _build(folder, file)
    _sync(file)
    return file


def found(file: Path, texts: Collection[str]) -> set[str]:
    """Those of ``texts``, of ASCII characters, whose bytes are in ``file``.

    To be asked before DuckDB opens the file: to close it here would let go of DuckDB's lock on it.
    """
    wanted = sorted(texts)
    present: set[str] = set()
    if wanted:
        for chunk in _chunks(file, max(map(len, wanted)) - 1):
            text = pl.Series([chunk.decode("latin-1")])
            present.update(text.str.extract_many(wanted, overlapping=True)[0])
    return present


def put(file: Path, path: Path) -> None:
    """Let ``file`` take the place of ``path``, at once and for good."""
    os.replace(file, path)
    _sync(path.parent)


def _schema(cursor: duckdb.DuckDBPyConnection) -> str:
    """Statements that make the tables of the warehouse, with their comments."""
    tables = cursor.execute(f"SELECT rtrim(sql, ';') FROM duckdb_tables() WHERE {_OURS}").fetchall()
    comments = cursor.execute(f"""
        WITH described AS (
            SELECT 'TABLE ' || table_name AS what, comment FROM duckdb_tables() WHERE {_OURS}
            UNION ALL
            SELECT 'COLUMN ' || table_name || '.' || column_name, comment
            FROM duckdb_columns() WHERE {_OURS}
        )
        SELECT 'COMMENT ON ' || what || ' IS ''' || replace(comment, '''', '''''') || ''''
        FROM described WHERE comment IS NOT NULL
    """).fetchall()
    return "".join(f"{statement};\n" for (statement,) in (*tables, *comments))


def _tables(cursor: duckdb.DuckDBPyConnection) -> dict[str, bool]:
    """Every table, and whether it has a column ``listener``."""
    rows = cursor.execute(f"""
        SELECT table_name, bool_or(column_name = 'listener')
        FROM duckdb_columns() WHERE {_OURS} GROUP BY table_name
    """).fetchall()
    return dict(rows)


def _build(folder: Path, file: Path) -> None:
    command = [sys.executable, "-I", fresh.__file__, str(folder), str(file), STORAGE_VERSION]
    # What it says on failure may quote rows.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        raise WarehouseError(
            f"The warehouse's new file cannot be made (status {done.returncode}).",
            "The old one stays and the next attempt follows; check the disk's space and memory.",
        )


def _chunks(file: Path, overlap: int) -> Iterator[bytes]:
    """The file's bytes in pieces, each but the first beginning with the end of the one before."""
    before = b""
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            yield before + chunk
            before = (before + chunk)[-overlap:] if overlap else b""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
