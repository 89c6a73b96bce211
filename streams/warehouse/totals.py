"""What the facts add up to over all listeners: counted once, then kept up to date.

Every figure of a release is a sum over listeners, so it goes on from that of the release before:
listeners of whom there are facts since are taken out as they were counted then and added as they
are now. Facts carry the number of a lot for this: `count` starts from totals of all facts up to a
lot. Whoever changes facts in another way than by adding rows of a later lot takes the listeners out
first (`take_out`) and gives what is left of them a later lot (`count_again`).

What is counted stands in ``sql/totals``. Nothing here tells of a single listener.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import duckdb
import polars as pl

from streams.warehouse.facts import FACTS

LISTENERS_AT_ONCE = 50_000
"""Listeners counted together: bounds the memory it takes, whatever their number."""

_ANEW = 1 / 10
"""Share of listeners with new facts from which all are counted anew: these are counted twice, and
they are those who play most."""

_TAKEN_OUT = 1 / 100
"""Share of listeners up to which they are taken out one by one: writers wait meanwhile."""

_KEYS = ("mart", "cell", "genre", "genres")
_SUMS = (
    "listeners",
    "plays",
    "listens",
    "skips",
    "ms_played",
    "days",
    "completion_listeners",
    "completion_sum",
    "completion_plays",
)
_BY_KEY = f"USING ({', '.join(_KEYS)})"
_ALL_LOTS = 2**31 - 1
# Not an empty copy of kept_totals: DuckDB 2.0.0 loses sight of rows that a transaction inserts into
# a table which it made of a query without rows.
_CHANGES = f"""CREATE OR REPLACE TEMP TABLE changes (
    mart VARCHAR, cell VARCHAR, genre VARCHAR, genres VARCHAR[],
    {", ".join(f"{name} BIGINT" for name in _SUMS)}
)"""


def count(cursor: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the temporary table ``totals`` of all facts, by the SQL in ``folder``.

    In the caller's transaction. Blocks: seconds per million rows of facts, a fraction of that where
    the last release left totals to go on from.
    """
    kept = _kept(cursor, folder)
    if kept is not None:
        _choose(cursor, "SELECT DISTINCT listener FROM listener_day WHERE lot > $1", [kept])
        before = _number(cursor, "SELECT sum(listeners) FROM kept_totals WHERE mart = 'everybody'")
        if _number(cursor, "SELECT count(*) FROM chosen") > _ANEW * before:
            kept = None
    if kept is None:
        _choose(cursor, "SELECT DISTINCT listener FROM listener_day", [])
    cursor.execute(_CHANGES)
    lots = {1: _ALL_LOTS} if kept is None else {-1: kept, 1: _ALL_LOTS}
    _add_changes(cursor, folder, lots)
    _add_up("changes" if kept is None else "(FROM kept_totals UNION ALL FROM changes)", cursor)


def keep(cursor: duckdb.DuckDBPyConnection, folder: Path, lot: int) -> None:
    """Keep the temporary table ``totals``, which is of all facts up to ``lot``, for the next count.

    In the caller's transaction.
    """
    if _kept(cursor, folder) is None:
        forget(cursor)
    cursor.execute(f"""
        CREATE OR REPLACE TEMP TABLE outdated AS FROM kept_totals ANTI JOIN totals
        USING ({", ".join((*_KEYS, *_SUMS))})
    """)
    cursor.execute(
        f"DELETE FROM kept_totals WHERE ({', '.join(_KEYS)})"
        f" IN (SELECT ({', '.join(_KEYS)}) FROM outdated)"
    )
    cursor.execute(f"INSERT INTO kept_totals FROM totals ANTI JOIN kept_totals {_BY_KEY}")
    cursor.execute("DELETE FROM kept_through")
    cursor.execute("INSERT INTO kept_through VALUES ($1, $2)", [lot, _digest(folder)])


def forget(cursor: duckdb.DuckDBPyConnection) -> None:
    """Have the next release count all facts."""
    cursor.execute("DELETE FROM kept_totals")
    cursor.execute("DELETE FROM kept_through")


def take_out(cursor: duckdb.DuckDBPyConnection, folder: Path, listeners: Collection[str]) -> bool:
    """Take listeners out of the totals that are kept, before their facts change.

    In the transaction of the change. Whether totals are kept still, so that `count_again` is due;
    where many listeners are meant, none are.
    """
    kept = _kept(cursor, folder)
    if kept is None:
        forget(cursor)
        return False
    cursor.register("leaving", pl.DataFrame({"listener": list(listeners)}).to_arrow())
    _choose(cursor, "FROM leaving SEMI JOIN listener_day USING (listener)", [])
    cursor.unregister("leaving")
    before = _number(cursor, "SELECT sum(listeners) FROM kept_totals WHERE mart = 'everybody'")
    chosen = _number(cursor, "SELECT count(*) FROM chosen")
    if chosen > _TAKEN_OUT * before:
        forget(cursor)
        return False
    if chosen:
        cursor.execute(_CHANGES)
        _add_changes(cursor, folder, {-1: kept})
        _add_up("(FROM kept_totals UNION ALL FROM changes)", cursor)
        keep(cursor, folder, kept)
        cursor.execute("DROP TABLE totals")
    return True


def count_again(cursor: duckdb.DuckDBPyConnection, listeners: Collection[str], lot: int) -> None:
    """Have the next release count ``listeners``, who are in no totals: their facts are of ``lot``.

    In the transaction of the change.
    """
    cursor.register("again", pl.DataFrame({"name": list(listeners)}).to_arrow())
    for fact in FACTS:
        cursor.execute(
            f"UPDATE {fact.table} SET lot = $1 FROM again WHERE listener = name AND lot < $1", [lot]
        )
    cursor.unregister("again")


def kept_lot(cursor: duckdb.DuckDBPyConnection) -> int:
    """Rows up to this lot need not be told apart any more."""
    return _number(cursor, "SELECT max(lot) FROM kept_through", none=-1)


def newest_lot(cursor: duckdb.DuckDBPyConnection) -> int:
    """The highest lot in use."""
    lots = [_number(cursor, f"SELECT max(lot) FROM {fact.table}") for fact in FACTS]
    return max(*lots, kept_lot(cursor))


def _kept(cursor: duckdb.DuckDBPyConnection, folder: Path) -> int | None:
    """The lot up to which totals are kept, by the same SQL."""
    query = "SELECT max(lot) FROM kept_through WHERE counted_by = $1"
    ((lot,),) = cursor.execute(query, [_digest(folder)]).fetchall()
    return None if lot is None else int(lot)


def _choose(cursor: duckdb.DuckDBPyConnection, listeners: str, parameters: list[object]) -> None:
    """Number the listeners who are to be counted, in the order in which a rewrite puts them."""
    cursor.execute(
        "CREATE OR REPLACE TEMP TABLE chosen AS"
        " SELECT listener, row_number() OVER (ORDER BY listener)::INTEGER AS number"
        f" FROM ({listeners}) ANTI JOIN restricted USING (listener)",
        parameters,
    )


def _add_changes(cursor: duckdb.DuckDBPyConnection, folder: Path, lots: dict[int, int]) -> None:
    """Add to ``changes`` what the listeners chosen add up to, by sign: of facts up to which lot."""
    base, sums = ((folder / f"{name}.sql").read_text("utf-8") for name in ("base", "sums"))
    count = _number(cursor, "SELECT count(*) FROM chosen")
    for first in range(0, count, LISTENERS_AT_ONCE):
        cursor.execute(
            "CREATE OR REPLACE TEMP TABLE counted AS FROM chosen WHERE number BETWEEN $1 AND $2",
            [first + 1, first + LISTENERS_AT_ONCE],
        )
        for sign, lot in lots.items():
            cursor.execute("SET VARIABLE through_lot = $1", [lot])
            cursor.execute(base)
            signed = ", ".join(f"{sign} * coalesce({name}, 0)" for name in _SUMS)
            cursor.execute(
                "INSERT INTO changes"
                f" SELECT mart, cell, coalesce(genre, ''), coalesce(genres, []), {signed}"
                f" FROM ({sums})"
            )


def _add_up(rows: str, cursor: duckdb.DuckDBPyConnection) -> None:
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _SUMS)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE totals AS SELECT {', '.join(_KEYS)}, {sums}"
        f" FROM {rows} GROUP BY ALL HAVING sum(listeners) > 0"
    )


def _digest(folder: Path) -> str:
    files = sorted(folder.glob("*.sql"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def _number(cursor: duckdb.DuckDBPyConnection, query: str, none: int = 0) -> int:
    ((number,),) = cursor.execute(query).fetchall()
    return none if number is None else int(number)
