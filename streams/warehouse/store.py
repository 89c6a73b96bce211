"""The warehouse file: facts, and the positions they include, written together or not at all.

One process holds it. Rows are appended, never updated; `Warehouse.compact` adds them up when there
are many. Several threads may use one `Warehouse`: writers take turns, a reader sees one moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Lock

import duckdb
import polars as pl

from streams.errors import StateError, WarehouseError
from streams.warehouse.facts import FACTS, Fact, Partials, merged
from streams.warehouse.migrations import migrate

STORAGE_VERSION = "v1.0.0"
"""Format of the files: any DuckDB from 1.0 on reads it, whichever version wrote it."""

COMPACT_ROWS = 1_000_000
"""A fact table smaller than this is not compacted."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "storage_compatibility_version": STORAGE_VERSION,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class Counter(StrEnum):
    """What became of a record of ``listens``."""

    FOLDED = "folded"
    """It is in the facts."""
    REPEATED = "repeated"
    """Its play was included already: the gate wrote it again."""
    DUPLICATES = "duplicates"
    """A client had sent its event before."""
    UNREADABLE = "unreadable"
    """It does not decode."""


@dataclass(frozen=True, slots=True)
class Positions:
    """What the facts include of ``listens``."""

    next_offset: Mapping[int, int] = field(default_factory=dict)
    """By partition: every record before this offset."""
    highest: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    """By partition, by partition of ``plays``: the highest offset seen."""


class Warehouse:
    """An open warehouse; a context manager."""

    def __init__(self, path: Path, sql: Path) -> None:
        """Open or make the file at ``path`` and apply the migrations in ``sql``/warehouse.

        Raises:
            WarehouseError: another process holds it, it is damaged, or a newer program wrote it.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._writing = Lock()
        self._reading = Lock()
        self._connection = _open(path)
        try:
            with _reported("open"):
                migrate(self._connection, sql / "warehouse")
                self._positions = self._read_positions()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Warehouse:
        """The warehouse itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        self.close()

    def close(self) -> None:
        """Let go of the file; what was appended stays."""
        self._connection.close()

    def positions(self) -> Positions:
        """How far the facts go; what to resume from."""
        return self._positions

    def append(
        self,
        partials: Sequence[Partials],
        positions: Positions,
        counters: Mapping[Counter, int],
        now: datetime,
    ) -> None:
        """Add rows to the facts, go forward to ``positions`` and count, in one transaction.

        Partitions that ``positions`` does not name stay where they are. Blocks until the disk has
        it; when this raises, nothing of it was kept.

        Raises:
            StateError: a position would go backwards: these rows may be included already.
            WarehouseError: the file cannot be written.
        """
        tables = merged(partials)
        with self._writing:
            going = _forward(self._positions, positions)
            with self._transaction("append to") as cursor:
                for table, rows in tables.items():
                    _insert(cursor, f"INSERT INTO {table} BY NAME", rows)
                _store_positions(cursor, positions, now)
                _count(cursor, counters, now)
            self._positions = going

    def compact(self) -> int:
        """Add up rows of the same key in every fact table that has doubled since the last time.

        The facts mean the same before and after. Writers wait meanwhile, seconds per million
        rows. Returns the rows saved, 0 when nothing was due.

        Raises:
            WarehouseError: the file cannot be written; nothing was changed.
        """
        with self._writing, self._transaction("compact") as cursor:
            return sum(_compact(cursor, fact) for fact in FACTS if _due(cursor, fact))

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for one reader, who may attach and write other files with it.

        Readers take turns, for what one attaches all connections see.
        """
        with self._reading, closing(self._connection.cursor()) as cursor:
            yield cursor

    @contextmanager
    def _transaction(self, action: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with _reported(action), closing(self._connection.cursor()) as cursor:
            cursor.begin()
            try:
                yield cursor
                cursor.commit()
            except BaseException:
                cursor.rollback()
                raise

    def _read_positions(self) -> Positions:
        offsets = self._connection.execute("SELECT partition, next_offset FROM positions")
        next_offset = dict(offsets.fetchall())
        highest: dict[int, dict[int, int]] = {}
        for partition, source, offset in self._connection.execute(
            "SELECT partition, source_partition, highest_source_offset FROM source_positions"
        ).fetchall():
            highest.setdefault(partition, {})[source] = offset
        return Positions(next_offset, highest)


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(path, config=_CONFIG)
    except duckdb.Error as error:
        if "lock" in str(error):
            raise WarehouseError(
                "Another process holds the warehouse, most likely the report worker.",
                "Ask that worker with `sottovoce release`, or stop it first.",
            ) from None
        raise WarehouseError(
            f"The warehouse cannot be opened ({type(error).__name__}).",
            "It is damaged or from a newer DuckDB: restore it, or move it away to start anew.",
        ) from None


@contextmanager
def _reported(action: str) -> Iterator[None]:
    # DuckDB's own messages can quote values of rows: only the kind of error goes on.
    try:
        yield
    except duckdb.Error as error:
        raise WarehouseError(
            f"Could not {action} the warehouse ({type(error).__name__}).",
            "Nothing was changed; check the disk's space and health.",
        ) from None


def _forward(old: Positions, new: Positions) -> Positions:
    """``old`` gone forward to ``new``."""
    for partition, offset in new.next_offset.items():
        if offset < old.next_offset.get(partition, 0):
            raise _backwards(partition)
    highest = {partition: dict(sources) for partition, sources in old.highest.items()}
    for partition, sources in new.highest.items():
        seen = highest.setdefault(partition, {})
        if any(offset < seen.get(source, -1) for source, offset in sources.items()):
            raise _backwards(partition)
        seen.update(sources)
    return Positions({**old.next_offset, **new.next_offset}, highest)


def _backwards(partition: int) -> StateError:
    return StateError(
        f"Positions of partition {partition} of listens would go backwards.",
        "Restart the worker: it resumes from the warehouse's own positions.",
    )


def _insert(cursor: duckdb.DuckDBPyConnection, into: str, rows: pl.DataFrame) -> None:
    cursor.register("incoming", rows.to_arrow())
    cursor.execute(f"{into} SELECT * FROM incoming")
    cursor.unregister("incoming")


def _store_positions(
    cursor: duckdb.DuckDBPyConnection, positions: Positions, now: datetime
) -> None:
    offsets = [(part, offset, _utc(now)) for part, offset in positions.next_offset.items()]
    if offsets:
        rows = pl.DataFrame(offsets, ["partition", "next_offset", "loaded_at"], orient="row")
        _insert(cursor, "INSERT OR REPLACE INTO positions", rows)
    highest = [
        (partition, source, offset)
        for partition, sources in positions.highest.items()
        for source, offset in sources.items()
    ]
    if highest:
        rows = pl.DataFrame(highest, ["partition", "source", "offset"], orient="row")
        _insert(cursor, "INSERT OR REPLACE INTO source_positions", rows)


def _count(
    cursor: duckdb.DuckDBPyConnection, counters: Mapping[Counter, int], now: datetime
) -> None:
    for counter, records in counters.items():
        cursor.execute(
            "INSERT INTO counters VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET records = records + excluded.records",
            [_utc(now).date(), counter.value, records],
        )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _due(cursor: duckdb.DuckDBPyConnection, fact: Fact) -> bool:
    # Doubling keeps the work of all compactions in proportion to what was ever appended.
    row = cursor.execute(
        "SELECT rows_after FROM compactions WHERE fact = ?", [fact.table]
    ).fetchone()
    return _rows(cursor, fact) >= max(COMPACT_ROWS, 2 * row[0] if row else 0)


def _compact(cursor: duckdb.DuckDBPyConnection, fact: Fact) -> int:
    before = _rows(cursor, fact)
    sums = ", ".join(f"sum({column})::BIGINT AS {column}" for column in fact.sums)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE sums AS SELECT {', '.join(fact.keys)}, {sums}"
        f" FROM {fact.table} GROUP BY ALL"
    )
    cursor.execute(f"DELETE FROM {fact.table}")
    cursor.execute(f"INSERT INTO {fact.table} BY NAME SELECT * FROM sums")
    cursor.execute("DROP TABLE sums")
    after = _rows(cursor, fact)
    cursor.execute("INSERT OR REPLACE INTO compactions VALUES (?, ?)", [fact.table, after])
    return before - after


def _rows(cursor: duckdb.DuckDBPyConnection, fact: Fact) -> int:
    row = cursor.execute(f"SELECT count(*) FROM {fact.table}").fetchone()
    return int(row[0]) if row else 0
