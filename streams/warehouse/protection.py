"""Decides which cells of the marts are published, before any mart is built.

A cell with too few listeners is held back, and then more, until no subtraction of published figures
that is tried leaves few listeners. ``sql/protection/cells.sql`` says what a cell is, the files in
``sql/protection/hold_more`` what is tried, one kind each. Marts leave out what stands in the
temporary table ``held``.

How many listeners a cell has, the totals tell. Who they are is looked up for cells that are held
only, with the SQL in ``sql/protection/shares``, one file each mart.

This bounds how few listeners a figure is about. It does not bound how much of it is due to one of
them, nor what two releases tell if one is subtracted from the other.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

_PREPARE = ("cells", "held", "inner_genres")
_HOLD_MORE = ("cohorts", "inner_genres", "parts", "days", "pairs")


def hold_back(cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the temporary table ``held`` and those that marts read, from the SQL in ``folder``.

    Expects the variable ``min_listeners`` and the temporary table ``totals``.
    """
    for name in _PREPARE:
        cursor.execute((folder / f"{name}.sql").read_text("utf-8"))
    steps = [(folder / "hold_more" / f"{name}.sql").read_text("utf-8") for name in _HOLD_MORE]
    _look_up(cursor, folder / "shares")
    while any(_changed(cursor, step) for step in steps):
        _look_up(cursor, folder / "shares")


def _changed(cursor: duckdb.DuckDBPyConnection, insert: str) -> bool:
    row = cursor.execute(insert).fetchone()
    return row is not None and row[0] > 0


def _look_up(cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Bring ``shares`` up to ``held``."""
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE wanted AS FROM held ANTI JOIN looked_up USING (mart, cell)"
    )
    for (mart,) in cursor.execute("SELECT DISTINCT mart FROM wanted ORDER BY mart").fetchall():
        cursor.execute((folder / f"{mart}.sql").read_text("utf-8"))
    cursor.execute("INSERT INTO looked_up FROM wanted")
