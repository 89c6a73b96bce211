"""Decides which cells of the marts are published, before any mart is built.

A cell with too few listeners is held back, and then more, until no subtraction of published figures
that is tried leaves few listeners. ``sql/protection/cells.sql`` says what a cell is, the files in
``sql/protection/hold_more`` what is tried, one kind each. Marts leave out what stands in the
temporary table ``held``.

This bounds how few listeners a figure is about. It does not bound how much of it is due to one of
them, nor what two releases tell if one is subtracted from the other.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

_PREPARE = ("base", "cells", "held")
_HOLD_MORE = ("cohorts", "inner_genres", "parts", "days", "pairs")


def hold_back(cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the temporary table ``held`` and the views that marts read, from the SQL in ``folder``.

    Expects the variable ``min_listeners``.
    """
    for name in _PREPARE:
        cursor.execute((folder / f"{name}.sql").read_text("utf-8"))
    steps = [(folder / "hold_more" / f"{name}.sql").read_text("utf-8") for name in _HOLD_MORE]
    while any(_changed(cursor, step) for step in steps):
        pass


def _changed(cursor: duckdb.DuckDBPyConnection, insert: str) -> bool:
    row = cursor.execute(insert).fetchone()
    return row is not None and row[0] > 0
