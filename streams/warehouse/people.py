"""What privacy commands do to the warehouse, and what is held about single listeners."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import polars as pl

from streams.errors import StateError
from streams.warehouse.facts import FACTS, HOUR_MS, Partials, merged

_IN = "listener IN (SELECT unnest($1::VARCHAR[]))"


@dataclass(frozen=True, slots=True, repr=False)
class Due:
    """An answer that is owed for a command: its partition and offset, and the store that gives it.

    ``listeners`` are the pseudonyms the command is about.
    """

    partition: int
    offset: int
    store: str
    listeners: Collection[str] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Changes:
    """What privacy commands do to the warehouse."""

    erased: Mapping[str, int] = field(default_factory=dict)
    """By listener, the moment, ms since 1970 UTC: facts of plays that began before it go. Facts do
    not divide a day: of the last one all go, and `kept` has what of it stays."""
    kept: Sequence[Partials] = ()
    """Facts of plays on the last day, from that moment on, under the pseudonyms after `renamed`."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """New pseudonym by old one."""
    restricted: Mapping[str, bool] = field(default_factory=dict)
    """Whether they are from now on, by listener."""
    next_offset: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """By topic and partition of commands: every record before this offset is carried out."""
    due: Sequence[Due] = ()
    """Answers that are owed from now on."""

    @property
    def touched(self) -> set[str]:
        """Whose facts become others, or are used or not used from now on."""
        named = (self.erased, self.renamed, self.renamed.values(), self.restricted)
        return set().union(*named)


def carry_out(
    cursor: duckdb.DuckDBPyConnection, changes: Changes, now: datetime, lot: int
) -> dict[str, int]:
    """Make the changes, in the caller's transaction; rows of facts erased, by listener with any.

    What of facts is put back is of ``lot``.

    Raises:
        StateError: a position would go backwards: the commands are carried out already.
    """
    _advance(cursor, changes.next_offset)
    removed = erase(cursor, changes.erased)
    renamed = rename(cursor, changes.renamed)
    for table, rows in merged(changes.kept).items():
        rows = rows.with_columns(pl.lit(lot, pl.Int32).alias("lot"))
        cursor.register("kept", rows.to_arrow())
        cursor.execute(f"INSERT INTO {table} BY NAME FROM kept")
        cursor.unregister("kept")
    restrict(cursor, changes.restricted)
    _owe(cursor, changes.due, removed)
    if changes.erased or renamed:
        cursor.execute("INSERT INTO stale SELECT $1 WHERE NOT EXISTS (FROM stale)", [now])
    return removed


def command_positions(cursor: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], int]:
    """Next offset of commands and rekeys by topic and partition."""
    rows = cursor.execute("SELECT topic, partition, next_offset FROM command_positions").fetchall()
    return {(topic, partition): offset for topic, partition, offset in rows}


def due(cursor: duckdb.DuckDBPyConnection, partition: int) -> dict[tuple[int, str], int]:
    """Rows removed by the commands of ``partition`` that lack an answer, by offset and store."""
    rows = cursor.execute(
        "SELECT command_offset, store, removed FROM answers_due WHERE partition = ?", [partition]
    ).fetchall()
    return {(offset, store): removed for offset, store, removed in rows}


def answered(cursor: duckdb.DuckDBPyConnection, given: Iterable[Due]) -> None:
    """Forget answers that were owed."""
    rows = [(each.partition, each.offset, each.store) for each in given]
    if rows:
        columns = zip(("part", "command", "by_store"), zip(*rows, strict=True), strict=True)
        _register(cursor, "given", {name: list(values) for name, values in columns})
        cursor.execute(
            "DELETE FROM answers_due USING given"
            " WHERE partition = part AND command_offset = command AND store = by_store"
        )
        cursor.unregister("given")


def erase(cursor: duckdb.DuckDBPyConnection, moments: Mapping[str, int]) -> dict[str, int]:
    """Remove facts of each listener up to and with the day before whose end the moment lies.

    Returns:
        Rows removed, by listener with any.
    """
    removed: dict[str, int] = {}
    if moments:
        days = [_day(moment - 1) for moment in moments.values()]
        _register(cursor, "leaving", {"leaving": list(moments), "until": days})
        for fact in FACTS:
            meant = f"{fact.table}.listener = leaving AND day <= until"
            leaving = f"FROM {fact.table} JOIN leaving ON {meant}"
            counts = cursor.execute(f"SELECT leaving, count(*) {leaving} GROUP BY leaving")
            for listener, rows in counts.fetchall():
                removed[listener] = removed.get(listener, 0) + rows
            cursor.execute(f"DELETE FROM {fact.table} USING leaving WHERE {meant}")
        cursor.unregister("leaving")
    return removed


def playing_on(cursor: duckdb.DuckDBPyConnection, moments: Mapping[str, int]) -> set[str]:
    """Listeners of whom `erase` may take facts of plays that began at the moment or after it.

    That is, with plays in the hour of the moment or in a later one of the same day.
    """
    if not moments:
        return set()
    columns = {
        "asked": list(moments),
        "since_day": [_day(moment) for moment in moments.values()],
        "last_day": [_day(moment - 1) for moment in moments.values()],
        "since_hour": [moment // HOUR_MS % 24 for moment in moments.values()],
    }
    _register(cursor, "asked", columns)
    rows = cursor.execute("""
        SELECT DISTINCT listener FROM listener_day_hour JOIN asked
        ON listener = asked AND day = since_day AND day = last_day AND hour >= since_hour
    """).fetchall()
    cursor.unregister("asked")
    return {listener for (listener,) in rows}


def rename(cursor: duckdb.DuckDBPyConnection, names: Mapping[str, str]) -> int:
    """Have facts and restrictions go on under new pseudonyms, by old one; rows changed.

    Where the new one has rows already, those of the same key add up as those of any two appends do.
    Seconds per million rows, however many names there are.
    """
    if not names:
        return 0
    _register(cursor, "renames", {"old": list(names), "new": list(names.values())})
    changed = 0
    for table in (*(fact.table for fact in FACTS), "restricted"):
        row = cursor.execute(
            f"UPDATE {table} SET listener = renames.new FROM renames WHERE listener = renames.old"
        ).fetchone()
        changed += row[0] if row else 0
    cursor.unregister("renames")
    return changed


def restrict(cursor: duckdb.DuckDBPyConnection, restricted: Mapping[str, bool]) -> None:
    """Note whether listeners are restricted from now on."""
    if not restricted:
        return
    _register(cursor, "asked", {"asked": list(restricted), "yes": list(restricted.values())})
    cursor.execute("DELETE FROM restricted USING asked WHERE listener = asked")
    cursor.execute("INSERT INTO restricted SELECT asked FROM asked WHERE yes")
    cursor.unregister("asked")


def holds(cursor: duckdb.DuckDBPyConnection, listeners: Collection[str]) -> int:
    """Rows of facts about any of ``listeners``."""
    names = [list(listeners)]
    queries = [f"SELECT count(*) FROM {fact.table} WHERE {_IN}" for fact in FACTS]
    return sum(_number(cursor, query, names) for query in queries)


def holds_before(cursor: duckdb.DuckDBPyConnection, listeners: Collection[str], moment: int) -> int:
    """Those of `holds` that are of an earlier day than ``moment``, ms, or of an earlier hour."""
    names, day, hour = list(listeners), _day(moment), moment // HOUR_MS % 24
    queries = [f"SELECT count(*) FROM {fact.table} WHERE {_IN} AND day < $2" for fact in FACTS]
    hours = f"SELECT count(*) FROM listener_day_hour WHERE {_IN} AND day = $2 AND hour < $3"
    earlier = sum(_number(cursor, query, [names, day]) for query in queries)
    return earlier + _number(cursor, hours, [names, day, hour])


def is_restricted(cursor: duckdb.DuckDBPyConnection, listeners: Collection[str]) -> bool:
    """Whether any of ``listeners`` is."""
    query = f"SELECT count(*) FROM restricted WHERE {_IN}"
    return _number(cursor, query, [list(listeners)]) > 0


def held(cursor: duckdb.DuckDBPyConnection, listeners: Collection[str]) -> dict[str, Any]:
    """All that is held about a listener under its pseudonyms, as JSON knows it, without these.

    By fact table its ``columns`` and ``rows``, one per key and oldest first; days as ISO 8601.
    """
    tables = {}
    for fact in FACTS:
        keys = [name for name in fact.keys if name != "listener"]
        told = [f"{name}::VARCHAR AS day" if name == "day" else name for name in keys]
        sums = [f"sum({name})::BIGINT" for name in fact.sums]
        rows = cursor.execute(
            f"SELECT {', '.join((*told, *sums))} FROM {fact.table} WHERE {_IN}"
            " GROUP BY ALL ORDER BY ALL",
            [list(listeners)],
        ).fetchall()
        tables[fact.table] = {"columns": [*keys, *fact.sums], "rows": [list(row) for row in rows]}
    return {"restricted": is_restricted(cursor, listeners), "tables": tables}


def _day(moment: int) -> date:
    return datetime.fromtimestamp(moment / 1_000, UTC).date()


def _number(cursor: duckdb.DuckDBPyConnection, query: str, parameters: Iterable[object]) -> int:
    row = cursor.execute(query, list(parameters)).fetchone()
    return int(row[0]) if row else 0


def _owe(cursor: duckdb.DuckDBPyConnection, due: Sequence[Due], removed: Mapping[str, int]) -> None:
    if not due:
        return
    columns = {
        "partition": [each.partition for each in due],
        "command_offset": [each.offset for each in due],
        "store": [each.store for each in due],
        "removed": [sum(removed.get(name, 0) for name in each.listeners) for each in due],
    }
    _register(cursor, "owed", columns)
    cursor.execute("INSERT INTO answers_due BY NAME FROM owed")
    cursor.unregister("owed")


def _advance(cursor: duckdb.DuckDBPyConnection, next_offset: Mapping[tuple[str, int], int]) -> None:
    stored = command_positions(cursor)
    for (topic, partition), offset in next_offset.items():
        if offset < stored.get((topic, partition), 0):
            raise StateError(
                f"Positions of partition {partition} of {topic} would go backwards.",
                "Restart the worker: it resumes from the warehouse's own positions.",
            )
        cursor.execute(
            "INSERT OR REPLACE INTO command_positions VALUES (?, ?, ?)", [topic, partition, offset]
        )


def _register(cursor: duckdb.DuckDBPyConnection, name: str, columns: Mapping[str, Any]) -> None:
    cursor.register(name, pl.DataFrame(columns).to_arrow())
