"""The warehouse file: facts, and the positions they include, written together or not at all.

One process holds it. Rows are appended, never updated; `Warehouse.compact` adds them up when there
are many. Several threads may use one `Warehouse`: writers take turns, a reader sees one moment.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import polars as pl

from streams.errors import StateError
from streams.warehouse import people, rewriting, totals
from streams.warehouse.facts import FACTS, Fact, Partials, merged
from streams.warehouse.files import (
    MEMORY_MB,
    close_file,
    open_file,
    reported,
    rewrite_folder,
    rolled_back,
)
from streams.warehouse.migrations import migrate
from streams.warehouse.people import Changes, Due

COMPACT_ROWS = 1_000_000
"""A fact table smaller than this is not compacted."""


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

    def __init__(self, path: Path, sql: Path, memory_mb: int = MEMORY_MB) -> None:
        """Open or make the file at ``path`` and apply the migrations in ``sql``/warehouse.

        DuckDB spills what needs more than ``memory_mb`` to disk.

        Raises:
            WarehouseError: another process holds it, it is damaged, or a newer program wrote it.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._memory_mb = memory_mb
        self._totals = sql / "totals"
        self._taken_out = 0
        self._writing = Lock()
        self._reading = Lock()
        self._connection = open_file(path, memory_mb)
        try:
            with reported("open"):
                migrate(self._connection, sql / "warehouse")
                self._positions = self._read_positions()
            with self._transaction("read") as cursor:
                self._lot = totals.newest_lot(cursor) + 1
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
        close_file(self._connection, self._path)

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
                    lot = pl.lit(self._lot, pl.Int32).alias("lot")
                    _insert(cursor, f"INSERT INTO {table} BY NAME", rows.with_columns(lot))
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

    def carry_out(self, changes: Changes, now: datetime) -> dict[str, int]:
        """Do what commands ask for and go forward to their positions, in one transaction.

        Blocks until the disk has it. Rows of facts that were erased, by listener with any.

        Raises:
            StateError: a position would go backwards: the commands are carried out already.
            WarehouseError: the file cannot be written; nothing was changed.
        """
        with self._writing, self._transaction("carry out commands in") as cursor:
            touched = changes.touched
            self._taken_out += len(touched)
            again = bool(touched) and totals.take_out(cursor, self._totals, touched)
            removed = people.carry_out(cursor, changes, _utc(now), self._lot)
            if again:
                totals.count_again(cursor, touched, self._lot)
            return removed

    def command_positions(self) -> dict[tuple[str, int], int]:
        """How far commands are carried out: next offset by topic and partition."""
        with self._looking() as cursor:
            return people.command_positions(cursor)

    def due(self, partition: int) -> dict[tuple[int, str], int]:
        """Answers that are owed for commands of a partition.

        Rows that the command removed, by its offset and the store that is to answer.
        """
        with self._looking() as cursor:
            return people.due(cursor, partition)

    def answered(self, due: Iterable[Due]) -> None:
        """Forget that these answers were owed.

        Raises:
            WarehouseError: the file cannot be written; they are given again.
        """
        with self._writing, self._transaction("write to") as cursor:
            people.answered(cursor, due)

    def playing_on(self, moments: Mapping[str, int]) -> set[str]:
        """Listeners some of whose plays since a moment an erasure takes along: `Changes.kept`."""
        with self._looking() as cursor:
            return people.playing_on(cursor, moments)

    def holds(self, listeners: Collection[str]) -> int:
        """Rows of facts about any of ``listeners``."""
        with self._looking() as cursor:
            return people.holds(cursor, listeners)

    def holds_before(self, listeners: Collection[str], moment: int) -> int:
        """Those of `holds` of a day before ``moment``, ms, or of an hour before."""
        with self._looking() as cursor:
            return people.holds_before(cursor, listeners, moment)

    def is_restricted(self, listeners: Collection[str]) -> bool:
        """Whether any of ``listeners`` is."""
        with self._looking() as cursor:
            return people.is_restricted(cursor, listeners)

    def held(self, listeners: Collection[str]) -> dict[str, Any]:
        """All that is held about a listener, see `people.held`."""
        with self._looking() as cursor:
            return people.held(cursor, listeners)

    def is_stale(self) -> bool:
        """Whether the file may hold bytes of rows that were erased or renamed."""
        with self._looking() as cursor:
            return cursor.execute("FROM stale").fetchone() is not None

    def rewrite(self, listeners: Collection[str] = ()) -> set[str]:
        """Put a new file of the rows that are left in the place of the file.

        Writers and readers wait meanwhile, seconds per million rows. A process that dies in it
        leaves the old file or the new one whole. Those of ``listeners`` whose pseudonym was found
        in the new file's bytes.

        Raises:
            WarehouseError: the new file cannot be made, the old one stays; or another process took
                the new one at once, then nothing else works on this warehouse any more.
        """
        folder = rewrite_folder(self._path)
        with self._reading, self._writing, reported("rewrite"):
            try:
                with closing(self._connection.cursor()) as cursor:
                    file = rewriting.copy(cursor, folder, emptied="stale")
                    present = rewriting.found(file, listeners)
                    # Nothing may be left in the log beside the file: it is about the old one.
                    cursor.execute("CHECKPOINT")
                rewriting.put(file, self._path)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            close_file(self._connection, self._path)
            self._connection = open_file(self._path, self._memory_mb)
        return present

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own for one reader, who may attach and write other files with it.

        Readers take turns, for what one attaches all connections see.
        """
        with self._reading, closing(self._connection.cursor()) as cursor:
            yield cursor

    @contextmanager
    def counting(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """A transaction of `reading` in which the temporary table ``totals`` tells of all facts.

        Once it has been committed, the next one goes on from these totals. Other threads may append
        meanwhile.
        """
        with self._writing:
            lot, taken_out = self._lot, self._taken_out
            self._lot += 1
            cursor.begin()
            cursor.execute("FROM kept_through").fetchall()  # from here on it sees this moment
        with rolled_back(cursor):
            totals.count(cursor, self._totals)
            yield
            cursor.commit()
        with self._writing:
            if taken_out == self._taken_out:  # else they are of listeners who were erased since
                cursor.begin()
                with rolled_back(cursor):
                    totals.keep(cursor, self._totals, lot)
                    cursor.commit()

    @contextmanager
    def _looking(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A look between two writes, which does not wait until a release has been read."""
        with self._writing, self._transaction("read") as cursor:
            yield cursor

    @contextmanager
    def _transaction(self, action: str) -> Iterator[duckdb.DuckDBPyConnection]:
        with reported(action), closing(self._connection.cursor()) as cursor:
            cursor.begin()
            with rolled_back(cursor):
                yield cursor
                cursor.commit()

    def _read_positions(self) -> Positions:
        offsets = self._connection.execute("SELECT partition, next_offset FROM positions")
        next_offset = dict(offsets.fetchall())
        highest: dict[int, dict[int, int]] = {}
        for partition, source, offset in self._connection.execute(
            "SELECT partition, source_partition, highest_source_offset FROM source_positions"
        ).fetchall():
            highest.setdefault(partition, {})[source] = offset
        return Positions(next_offset, highest)


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
    lot = f"greatest(lot, {totals.kept_lot(cursor)}) AS lot"
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE sums AS SELECT {', '.join(fact.keys)}, {lot}, {sums}"
        f" FROM {fact.table} GROUP BY ALL"
    )
    cursor.execute(f"DELETE FROM {fact.table}")
    cursor.execute(f"INSERT INTO {fact.table} BY NAME SELECT * FROM sums ORDER BY listener")
    cursor.execute("DROP TABLE sums")
    after = _rows(cursor, fact)
    cursor.execute("INSERT OR REPLACE INTO compactions VALUES (?, ?)", [fact.table, after])
    return before - after


def _rows(cursor: duckdb.DuckDBPyConnection, fact: Fact) -> int:
    row = cursor.execute(f"SELECT count(*) FROM {fact.table}").fetchone()
    return int(row[0]) if row else 0
