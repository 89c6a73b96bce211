"""Facts and positions go forward together, in one process, and mean the same compacted or not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import polars as pl
import pytest

from streams.errors import StateError, WarehouseError
from streams.warehouse import facts, store
from streams.warehouse.facts import FACTS
from streams.warehouse.store import Counter, Positions, Warehouse
from tests.warehouse.generate import World, frame
from tests.warehouse.released import NOW, SQL, append

LISTENS = World(11, listeners=30, plays=900).listens()
HOLDER = """
import sys
from pathlib import Path
from streams.warehouse.store import Warehouse
with Warehouse(Path(sys.argv[1]), Path(sys.argv[2])):
    print("open", flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "warehouse" / "warehouse.duckdb"


@pytest.fixture
def warehouse(path: Path) -> Iterator[Warehouse]:
    with Warehouse(path, SQL) as warehouse:
        yield warehouse


def test_positions_are_read_back_after_reopening(path: Path) -> None:
    with Warehouse(path, SQL) as warehouse:
        assert warehouse.positions() == Positions({}, {})
        _move(warehouse, Positions({0: 10, 3: 7}, {0: {1: 99, 2: 5}}))
        _move(warehouse, Positions({3: 8}, {0: {1: 100}, 3: {0: 0}}))
        expected = Positions({0: 10, 3: 8}, {0: {1: 100, 2: 5}, 3: {0: 0}})
        assert warehouse.positions() == expected
    with Warehouse(path, SQL) as warehouse:
        assert warehouse.positions() == expected


@pytest.mark.parametrize(
    "back", [Positions({0: 9}), Positions({0: 11}, {0: {1: 98}}), Positions({1: 1, 0: 0})]
)
def test_backwards_is_refused_and_nothing_is_kept(back: Positions, warehouse: Warehouse) -> None:
    before = Positions({0: 10}, {0: {1: 99}})
    _move(warehouse, before)
    with pytest.raises(StateError, match=r"partition 0 .* backwards"):
        warehouse.append([facts.partials(frame(LISTENS))], back, {Counter.FOLDED: 1}, NOW)
    assert warehouse.positions() == before
    assert _number(warehouse, "SELECT count(*) FROM listener_day") == 0
    assert _number(warehouse, "SELECT count(*) FROM counters") == 0


def test_a_failed_append_keeps_nothing_and_tells_no_value(warehouse: Warehouse) -> None:
    parts = facts.partials(frame(LISTENS))
    without = parts["listener_day_hour"].with_columns(hour=pl.lit(None, pl.Int8))
    with pytest.raises(WarehouseError) as raised:
        warehouse.append([{**parts, "listener_day_hour": without}], Positions({0: 5}), {}, NOW)
    told = f"{raised.value} {raised.value.__cause__!r}"
    assert not any(listen["listener"] in told for listen in LISTENS)
    assert warehouse.positions() == Positions({}, {})
    assert _number(warehouse, "SELECT count(*) FROM listener_day") == 0
    append(warehouse, LISTENS, len(LISTENS))
    assert _number(warehouse, "SELECT sum(plays) FROM listener_day") == len(LISTENS)


def test_several_frames_are_one_append(warehouse: Warehouse) -> None:
    parts = [facts.partials(frame(LISTENS[begin::3])) for begin in range(3)]
    warehouse.append(parts, Positions({0: 900}), {}, NOW)
    whole = facts.partials(frame(LISTENS))
    for fact in FACTS:
        assert _number(warehouse, f"FROM {fact.table} SELECT count(*)") == len(whole[fact.table])


def test_positions_go_forward_without_rows(warehouse: Warehouse) -> None:
    warehouse.append([], Positions({0: 4}), {Counter.REPEATED: 4}, NOW)
    warehouse.append([facts.partials(frame([]))], Positions({0: 5}), {Counter.REPEATED: 1}, NOW)
    assert warehouse.positions().next_offset == {0: 5}
    assert _number(warehouse, "SELECT records FROM counters WHERE counter = 'repeated'") == 5


def test_counters_are_by_utc_day(warehouse: Warehouse) -> None:
    late = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    for offset, moment in enumerate((late, late, datetime(2026, 1, 1, 12, tzinfo=UTC))):
        warehouse.append([], Positions({0: offset}), {Counter.DUPLICATES: 2}, moment)
    with warehouse.reading() as reader:
        found = reader.execute("SELECT loaded_on::VARCHAR, records FROM counters ORDER BY 1")
        assert found.fetchall() == [("2025-12-31", 4), ("2026-01-01", 2)]


def test_compaction_leaves_one_row_a_key_that_means_the_same(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in range(90, 901, 90):
        append(warehouse, LISTENS[end - 90 : end], end)
    assert warehouse.compact() == 0
    before = {fact.table: _sums(warehouse, fact) for fact in FACTS}
    rows = sum(_number(warehouse, f"FROM {fact.table} SELECT count(*)") for fact in FACTS)
    monkeypatch.setattr(store, "COMPACT_ROWS", 1)
    saved = warehouse.compact()
    assert {fact.table: _sums(warehouse, fact) for fact in FACTS} == before
    assert saved == rows - sum(len(sums) for sums in before.values()) > 0
    for fact in FACTS:
        assert _number(warehouse, f"FROM {fact.table} SELECT count(*)") == len(before[fact.table])
    assert warehouse.compact() == 0


def test_compaction_waits_until_a_table_has_doubled(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "COMPACT_ROWS", 1)
    append(warehouse, LISTENS, 1)
    warehouse.compact()
    append(warehouse, LISTENS[:300], 2)
    assert warehouse.compact() == 0
    append(warehouse, LISTENS, 3)
    assert warehouse.compact() > 0


def test_appends_and_compactions_of_several_threads_take_turns(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "COMPACT_ROWS", 1)

    def appending(partition: int) -> None:
        for end in range(100, 901, 100):
            warehouse.append(
                [facts.partials(frame(LISTENS[end - 100 : end]))],
                Positions({partition: end}),
                {},
                NOW,
            )
            warehouse.compact()

    threads = [threading.Thread(target=appending, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warehouse.positions().next_offset == {0: 900, 1: 900, 2: 900}
    for fact in FACTS:
        assert _number(warehouse, f"FROM {fact.table} SELECT sum(plays)") == 3 * len(LISTENS)


def test_a_second_process_is_told_who_holds_it(path: Path) -> None:
    with _holder(path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(WarehouseError, match=r"Another process .* report worker.*release"):
            Warehouse(path, SQL)
        holder.communicate("")
    with Warehouse(path, SQL):
        pass


def test_what_is_no_warehouse_is_not_touched(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else " * 1_000)
    with pytest.raises(WarehouseError, match="cannot be opened"):
        Warehouse(path, SQL)
    assert path.read_bytes() == b"something else " * 1_000


def test_a_newer_warehouse_is_refused_and_let_go(path: Path) -> None:
    with Warehouse(path, SQL):
        pass
    with duckdb.connect(path) as connection:
        connection.execute("INSERT INTO migrations VALUES (999, 'later', TIMESTAMP '2030-01-01')")
    with pytest.raises(WarehouseError, match="version 999"):
        Warehouse(path, SQL)
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT max(version) FROM migrations").fetchone() == (999,)


def test_any_duckdb_since_1_0_reads_the_file(path: Path) -> None:
    with Warehouse(path, SQL) as warehouse:
        append(warehouse, LISTENS, 900)
    assert _number_in(path, "SELECT tags['storage_version'] FROM duckdb_databases() "
                            "WHERE database_name = 'warehouse'") == "v1.0.0+"  # fmt: skip


def _move(warehouse: Warehouse, positions: Positions) -> None:
    warehouse.append([], positions, {}, NOW)


def _holder(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(path), str(SQL)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _number(warehouse: Warehouse, query: str) -> int:
    with warehouse.reading() as reader:
        row = reader.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _number_in(path: Path, query: str) -> object:
    with duckdb.connect(path, read_only=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def _sums(warehouse: Warehouse, fact: facts.Fact) -> set[tuple[object, ...]]:
    """What the rows of each key add up to."""
    sums = ", ".join(f"sum({name})::BIGINT" for name in fact.sums)
    keys = ", ".join(f"{name}::VARCHAR" for name in fact.keys)
    with warehouse.reading() as reader:
        return set(
            reader.execute(f"FROM {fact.table} SELECT {keys}, {sums} GROUP BY ALL").fetchall()
        )
