"""A disk that takes no more, and memory that does not suffice, cost nothing and say what to do."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from streams.errors import WarehouseError
from streams.warehouse import facts
from streams.warehouse.files import open_file, reported
from streams.warehouse.store import Counter, Positions, Warehouse
from tests.warehouse import recount
from tests.warehouse.generate import World, frame
from tests.warehouse.released import SQL, added_up

WORLD = World(13, listeners=80, plays=3_000, artists=900)
STEP = 300
LARGEST = 300 * 1024
"""What the disk takes of a file, bytes."""


def appending(path: Path) -> None:
    """Append until the disk takes no more; print why."""
    listens = frame(WORLD.listens())
    with Warehouse(path, SQL) as warehouse:
        begin = warehouse.positions().next_offset.get(0, 0)
        # Neither the log of changes nor, when it is closed, the file itself can grow beyond it.
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, resource.RLIM_INFINITY))
        try:
            for end in range(begin + STEP, len(listens) + 1, STEP):
                chunk = listens.slice(end - STEP, STEP)
                position = Positions({0: end}, {0: {3: end}})
                folded = {Counter.FOLDED: len(chunk)}
                warehouse.append([facts.partials(chunk)], position, folded, datetime.now(UTC))
        except WarehouseError as error:
            print(error)


def test_what_was_appended_before_a_disk_was_full_stays_and_the_rest_follows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "warehouse" / "warehouse.duckdb"
    world, reached, refusals = WORLD.listens(), 0, 0
    while reached < len(world):
        command = [sys.executable, "-m", "tests.warehouse.test_files", str(path)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        refusals += said.count("its disk is full")
        assert said.count("\n") == said.count("SOTTOVOCE_DATA") == said.count("its disk is full")
        with Warehouse(path, SQL) as warehouse:
            end = warehouse.positions().next_offset[0]
            assert end > reached
            reached = end
            assert added_up(warehouse) == recount.facts(world[:end])
            with warehouse.reading() as reader:
                assert reader.execute("SELECT sum(records) FROM counters").fetchone() == (end,)
    assert refusals > 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_of_being_full_is_told(code: int) -> None:
    text = os.strerror(code)
    for error in (OSError(code, text), duckdb.IOException(f"Could not write a file: {text}")):
        with pytest.raises(WarehouseError, match="disk is full") as raised, reported("append to"):
            raise error
        assert "SOTTOVOCE_DATA" in raised.value.remedy


def test_a_full_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise duckdb.IOException(f"Could not write: {os.strerror(errno.ENOSPC)}")

    monkeypatch.setattr(duckdb, "connect", full)
    with pytest.raises(WarehouseError, match="disk is full") as raised:
        open_file(tmp_path / "warehouse.duckdb")
    assert "restore" not in str(raised.value)


def test_memory_has_a_limit_that_the_error_names(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "w" / "warehouse.duckdb", SQL, 64) as warehouse:
        with warehouse.reading() as reader:
            row = reader.execute("SELECT current_setting('memory_limit')").fetchone()
        assert row == ("64.0 MiB",)
        with pytest.raises(WarehouseError, match="WAREHOUSE_MB"), reported("read"):
            raise duckdb.OutOfMemoryException("too much")
        warehouse.rewrite()
        with warehouse.reading() as reader:
            assert reader.execute("SELECT current_setting('memory_limit')").fetchone() == row


if __name__ == "__main__":
    appending(Path(sys.argv[1]))
