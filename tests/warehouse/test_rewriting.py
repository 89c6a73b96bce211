"""A rewrite leaves nothing of who is gone and loses nothing else, whenever it is killed."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from streams.errors import WarehouseError
from streams.warehouse import files, fresh, rewriting
from streams.warehouse.people import Changes
from streams.warehouse.rewriting import found
from streams.warehouse.store import Warehouse
from tests.warehouse import recount
from tests.warehouse.dying import WORLD, kill_at_work, rewriting_on
from tests.warehouse.generate import DAY_MS, SUNDAY, World, pseudonym
from tests.warehouse.released import NOW, SQL, added_up, append, holding, release

LISTENS = World(31, listeners=300, plays=6_000).listens()
PEOPLE = sorted({each["listener"] for each in LISTENS})
LATER = SUNDAY + 400 * DAY_MS
SHAPE = """
    SELECT table_name, sql, comment FROM duckdb_tables()
    UNION ALL
    SELECT table_name, column_name || ' ' || is_nullable || ' ' || data_type, comment
    FROM duckdb_columns() WHERE NOT internal
    UNION ALL
    SELECT table_name, constraint_type || ' ' || constraint_text, NULL FROM duckdb_constraints()
    ORDER BY ALL
"""


def test_tables_comments_keys_and_rows_stay(tmp_path: Path) -> None:
    with holding(tmp_path, LISTENS) as warehouse:
        changes = Changes(
            restricted={PEOPLE[0]: True}, next_offset={("privacy-commands", 0): 3},
            erased={"nobody": LATER},
        )  # fmt: skip
        warehouse.carry_out(changes, NOW)
        before, shape = _contents(warehouse), _shape(warehouse)
        assert warehouse.is_stale()
        warehouse.rewrite()
        assert not warehouse.is_stale()
        assert before.pop("stale") != []
        after = _contents(warehouse)
        assert after.pop("stale") == []
        assert after == before
        assert _shape(warehouse) == shape
        assert any(comment for _, _, comment in shape)
        append(warehouse, LISTENS[:10], len(LISTENS) + 10)
        release(warehouse, tmp_path, 1)
        assert warehouse.positions().next_offset == {0: len(LISTENS) + 10}
    path = tmp_path / "warehouse" / "warehouse.duckdb"
    with duckdb.connect(path, read_only=True) as connection:
        version = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE NOT internal"
        assert connection.execute(version).fetchall() == [("v1.0.0+",)]


def test_bytes_of_who_is_erased_or_renamed_are_gone(tmp_path: Path) -> None:
    """DELETE and UPDATE leave them; in the new file every pseudonym that is held can be found."""
    path = tmp_path / "warehouse" / "warehouse.duckdb"
    new = {name: name[::-1] for name in PEOPLE[100:]}
    held = [*PEOPLE[50:100], *new.values()]
    with holding(tmp_path, LISTENS) as warehouse:
        warehouse.rewrite()
        warehouse.carry_out(Changes(erased=dict.fromkeys(PEOPLE[:50], LATER), renamed=new), NOW)
    assert found(path, PEOPLE) == set(PEOPLE)
    with Warehouse(path, SQL) as warehouse:
        assert warehouse.rewrite(PEOPLE + held) == set(held)
    assert found(path, PEOPLE + held) == set(held)


@pytest.mark.parametrize("place", [0, 3, 4, 95, 96, 97, 100, 168])
def test_a_search_finds_what_lies_across_pieces(
    place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "_CHUNK", 100)
    name, file = pseudonym(1, 1), tmp_path / "file"
    file.write_bytes(b"\xff" * place + name.encode() + b"\x00" * 70)
    assert found(file, [name, pseudonym(1, 2), name[1:] + "x"]) == {name}
    assert found(file, []) == set()


def test_a_rewrite_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding(tmp_path, LISTENS) as warehouse:
        whole = added_up(warehouse)
        broken = tmp_path / "broken.py"
        broken.write_text(f"print({PEOPLE[0]!r}); raise SystemExit(3)", "utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(fresh, "__file__", str(broken))
            with pytest.raises(WarehouseError, match="status 3") as raised:
                warehouse.rewrite()
        assert PEOPLE[0] not in f"{raised.value!s} {raised.value.__cause__!r}"
        assert added_up(warehouse) == whole
        assert not (tmp_path / "warehouse" / "rewrite").exists()
        warehouse.rewrite()
        assert added_up(warehouse) == whole


class Dead(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", ["before", "after"])
def test_stopped_around_the_change_it_is_one_file_or_the_other(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "warehouse" / "warehouse.duckdb"
    replace = os.replace

    def dying(*paths: Path) -> None:
        if step == "after":
            replace(*paths)
        raise Dead

    with holding(tmp_path, LISTENS) as warehouse:
        whole = added_up(warehouse)
        monkeypatch.setattr(os, "replace", dying)
        with pytest.raises(Dead):
            warehouse.rewrite()
    monkeypatch.undo()
    with Warehouse(path, SQL) as warehouse:
        assert added_up(warehouse) == whole


def test_killed_at_any_moment_a_rewrite_leaves_whole_facts_and_no_other_file(
    tmp_path: Path,
) -> None:
    draw = random.Random(3)
    world = WORLD.listens()
    folder = tmp_path / "warehouse"
    for _ in range(4):
        kill_at_work(rewriting_on, tmp_path, draw.uniform(0.0, 1.5))
        with Warehouse(folder / "warehouse.duckdb", SQL) as warehouse:
            end = warehouse.positions().next_offset[0]
            assert added_up(warehouse) == recount.facts(
                [world[number % len(world)] for number in range(end)]
            )
            names = {each.name for each in folder.iterdir()}
            assert names <= {"warehouse.duckdb", "warehouse.duckdb.wal", "spill"}


def test_what_spills_is_gone_when_the_warehouse_closes(tmp_path: Path) -> None:
    spill = tmp_path / "warehouse" / "spill"
    with holding(tmp_path, LISTENS) as warehouse:
        assert stat.S_IMODE(spill.stat().st_mode) == 0o700
        with warehouse.reading() as reader:
            reader.execute("SET memory_limit = '40MB'")
            reader.execute(SPILLING)
            assert any(spill.iterdir())
    assert not spill.exists()


SPILLING = """
    CREATE TEMP TABLE much AS
    SELECT listener || n AS text FROM listener_day, range(1000) AS numbers (n)
"""
SPILLER = f"""
import os, signal, sys
from pathlib import Path
from streams.warehouse.store import Warehouse
warehouse = Warehouse(Path(sys.argv[1]), Path(sys.argv[2]))
with warehouse.reading() as reader:
    reader.execute("SET memory_limit = '40MB'")
    reader.execute('''{SPILLING}''')
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_spilled_is_gone_when_the_next_one_opens(tmp_path: Path) -> None:
    path = tmp_path / "warehouse" / "warehouse.duckdb"
    with holding(tmp_path, LISTENS):
        pass
    command = [sys.executable, "-c", SPILLER, str(path), str(SQL)]
    subprocess.run(command, cwd=SQL.parent, check=False)
    spill = path.parent / "spill"
    assert any(spill.iterdir())
    (path.parent / "rewrite").mkdir()
    (path.parent / "rewrite" / "listener_day.parquet").write_bytes(b"left over")
    with Warehouse(path, SQL):
        assert not any(spill.iterdir())
        assert not files.rewrite_folder(path).exists()


def _shape(warehouse: Warehouse) -> list[tuple[object, ...]]:
    with warehouse.reading() as reader:
        return reader.execute(SHAPE).fetchall()


def _contents(warehouse: Warehouse) -> dict[str, list[tuple[object, ...]]]:
    with warehouse.reading() as reader:
        tables = reader.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        return {
            table: reader.execute(f"FROM {table} ORDER BY ALL").fetchall() for (table,) in tables
        }
