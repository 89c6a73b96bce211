"""Makes warehouses and releases of synthetic listens, and reads what was released."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from streams.warehouse import facts
from streams.warehouse.facts import FACTS
from streams.warehouse.release import Manifest, publish
from streams.warehouse.store import Counter, Positions, Warehouse
from tests.warehouse import recount
from tests.warehouse.generate import frame
from tests.warehouse.recount import Listen, Marts

SQL = Path(__file__).parents[2] / "sql"
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)


def append(
    warehouse: Warehouse,
    listens: Sequence[Listen],
    next_offset: int,
    counters: Mapping[Counter, int] | None = None,
) -> None:
    """Listens as the next records of partition 0."""
    counts = {Counter.FOLDED: len(listens)} if counters is None else counters
    warehouse.append([facts.partials(frame(listens))], Positions({0: next_offset}), counts, NOW)


@contextmanager
def holding(folder: Path, listens: Sequence[Listen]) -> Iterator[Warehouse]:
    """A warehouse of its own with the listens in it."""
    with Warehouse(folder / "warehouse" / "warehouse.duckdb", SQL) as warehouse:
        append(warehouse, listens, len(listens))
        yield warehouse


def release(
    warehouse: Warehouse, folder: Path, minimum: int, request: str | None = None
) -> Manifest:
    return publish(warehouse, SQL, folder / "reporting.duckdb", minimum, NOW, request)


def released(folder: Path, listens: Sequence[Listen], minimum: int) -> Marts:
    """The marts of a release of these listens."""
    with holding(folder, listens) as warehouse:
        release(warehouse, folder, minimum)
    return read(folder / "reporting.duckdb")


def read(path: Path) -> Marts:
    """Every table of a released file."""
    with duckdb.connect(path, read_only=True) as connection:
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        return {table: rows(connection, table) for (table,) in tables}


def rows(connection: duckdb.DuckDBPyConnection, table: str) -> list[recount.Row]:
    result = connection.execute(f"FROM {table}")
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def added_up(warehouse: Warehouse) -> dict[str, dict[tuple[object, ...], dict[str, int]]]:
    """The stored facts, partial sums of a key added up here."""
    found: dict[str, dict[tuple[object, ...], dict[str, int]]] = {}
    with warehouse.reading() as reader:
        for fact in FACTS:
            sums = found.setdefault(fact.table, {})
            for row in rows(reader, fact.table):
                key = tuple(_hashable(row[name]) for name in fact.keys)
                so_far = sums.setdefault(key, dict.fromkeys(fact.sums, 0))
                for name in fact.sums:
                    so_far[name] += row[name]
    return found


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
