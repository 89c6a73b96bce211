"""A release takes the place of the last one whole or not at all, whatever happens beside it."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from streams.errors import WarehouseError
from streams.warehouse import release as module
from streams.warehouse.release import (
    pending_request,
    publish,
    read_manifest,
    request_and_wait,
    request_release,
    take_request,
)
from streams.warehouse.store import Warehouse
from tests.warehouse import recount
from tests.warehouse.dying import kill_at_work, publishing
from tests.warehouse.generate import World
from tests.warehouse.released import SQL, append, holding, read, release

LISTENS = World(4, listeners=40, plays=600).listens()
PARTITIONS = (
    "artists",
    "countries",
    "daily_activity",
    "devices",
    "hour_of_week",
    "listener_segments",
)
READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
for _ in sys.stdin:
    print(connection.execute("SELECT id FROM release").fetchone()[0], flush=True)
    print(connection.execute("SELECT sum(plays) FROM artists").fetchone()[0], flush=True)
"""


class Reader:
    """Another process with the released file open."""

    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self) -> tuple[str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip(), self._process.stdout.readline().strip()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def test_readers_keep_the_file_they_have_open(tmp_path: Path) -> None:
    file = tmp_path / "reporting.duckdb"
    with holding(tmp_path, LISTENS[:300]) as warehouse:
        old = release(warehouse, tmp_path, 1)
        with Reader(file) as reader:
            assert reader.ask() == (old.id, "300")
            append(warehouse, LISTENS[300:], len(LISTENS))
            new = release(warehouse, tmp_path, 1)
            assert reader.ask() == (old.id, "300")
            with Reader(file) as later:
                assert later.ask() == (new.id, "600")
            assert reader.ask() == (old.id, "300")


def test_parquet_of_the_release_before_stays_for_one_release(tmp_path: Path) -> None:
    with holding(tmp_path, LISTENS) as warehouse:
        release(warehouse, tmp_path, 1)
        listed = (tmp_path / "parquet").resolve()
        release(warehouse, tmp_path, 1)
        assert listed.is_dir()
        assert (tmp_path / "parquet").resolve() != listed
        release(warehouse, tmp_path, 1)
        assert not listed.exists()


def test_killed_at_any_moment_a_release_is_whole_and_leaves_no_debris(tmp_path: Path) -> None:
    draw = random.Random(8)
    with holding(tmp_path, LISTENS) as warehouse:
        release(warehouse, tmp_path, 1)
    whole = _contents(tmp_path)
    for _ in range(4):
        kill_at_work(publishing, tmp_path, draw.uniform(0.0, 0.5))
        assert _contents(tmp_path) == whole
        assert read_manifest(tmp_path) is not None
    with Warehouse(tmp_path / "warehouse" / "warehouse.duckdb", SQL) as warehouse:
        _publish_and_find_nothing_else(warehouse, tmp_path)


class Dead(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("call", "step"),
    [("fsync", 0), ("symlink", 0), ("replace", 0), ("replace", 1), ("replace", 2)],
)
def test_stopped_at_each_step_a_release_is_whole_and_leaves_no_debris(
    call: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding(tmp_path, LISTENS[:200]) as warehouse:
        release(warehouse, tmp_path, 1)
        whole = _contents(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, _dying(getattr(os, call), step))
            with pytest.raises(Dead):
                release(warehouse, tmp_path, 1)
        assert _contents(tmp_path) == whole
        _publish_and_find_nothing_else(warehouse, tmp_path)


def _dying(call: object, step: int) -> object:
    calls = iter(range(1_000))

    def dying(*args: object, **options: object) -> object:
        if next(calls) == step:
            raise Dead
        return call(*args, **options)  # type: ignore[operator]

    return dying


def _contents(folder: Path) -> recount.Marts:
    """The marts of the released file; each has its Parquet file, with as many rows."""
    marts = read(folder / "reporting.duckdb")
    with duckdb.connect() as connection:
        for mart, of in marts.items():
            file = folder / "parquet" / f"{mart}.parquet"
            assert connection.execute(f"SELECT count(*) FROM '{file}'").fetchone() == (len(of),)
    return {mart: marts[mart] for mart in recount.KEYS}


def _publish_and_find_nothing_else(warehouse: Warehouse, folder: Path) -> None:
    release(warehouse, folder, 1)
    names = {file.name for file in folder.iterdir()}
    parquet = {name for name in names if name.startswith(".parquet-")}
    assert len(parquet) == 2
    assert (folder / "parquet").resolve().name in parquet
    assert names - parquet == {"parquet", "release.json", "reporting.duckdb", "warehouse"}


def test_releases_beside_appends_are_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.warehouse.store.COMPACT_ROWS", 200)
    listens = World(6, listeners=40, plays=6_000).listens()
    done = threading.Event()
    with holding(tmp_path, listens[:50]) as warehouse:

        def appending() -> None:
            for end in _cuts(50, len(listens)):
                if done.is_set():
                    return
                begin = warehouse.positions().next_offset[0]
                append(warehouse, listens[begin:end], end)
                warehouse.compact()

        thread = threading.Thread(target=appending)
        thread.start()
        seen = []
        for _ in range(4):
            release(warehouse, tmp_path, 1)
            seen.append(_agreed_plays(tmp_path))
        done.set()
        thread.join()
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def _cuts(begin: int, end: int) -> Iterator[int]:
    draw = random.Random(2)
    while begin < end:
        begin = min(end, begin + draw.randrange(1, 60))
        yield begin


def _agreed_plays(folder: Path) -> int:
    marts = read(folder / "reporting.duckdb")
    read_until: int = marts["release"][0]["listens_read"]
    for mart in PARTITIONS:
        assert sum(row["plays"] for row in marts[mart]) == read_until, mart
    listeners = sum(row["listeners"] for row in marts["listener_segments"])
    began = [row["listeners"] for row in marts["retention"] if row["weeks_later"] == 0]
    assert sum(began) == listeners
    return read_until


def test_a_broken_mart_leaves_the_last_release(tmp_path: Path) -> None:
    sql = tmp_path / "sql"
    shutil.copytree(SQL, sql)
    (sql / "marts" / "zzz.sql").write_text(
        "CREATE TABLE published.zzz AS SELECT cell::INTEGER AS n FROM totals WHERE listeners > 0",
        "utf-8",
    )
    with holding(tmp_path, LISTENS) as warehouse:
        old = release(warehouse, tmp_path, 1)
        whole = _contents(tmp_path)
        with pytest.raises(WarehouseError) as raised:
            publish(warehouse, sql, tmp_path / "reporting.duckdb", 1, datetime.now(UTC))
        told = f"{raised.value!s} {raised.value!r} {raised.value.__cause__!r}"
        assert "Artist" not in told
        assert read_manifest(tmp_path) == old
        assert _contents(tmp_path) == whole
        assert release(warehouse, tmp_path, 1).id != old.id


def test_a_folder_without_marts_is_refused(tmp_path: Path) -> None:
    with holding(tmp_path, LISTENS) as warehouse, pytest.raises(WarehouseError, match="SQL"):
        publish(warehouse, tmp_path, tmp_path / "reporting.duckdb", 1, datetime.now(UTC))
    assert not (tmp_path / "reporting.duckdb").exists()


def test_a_path_may_hold_a_quote(tmp_path: Path) -> None:
    folder = tmp_path / "it's"
    with holding(folder, LISTENS) as warehouse:
        release(warehouse, folder, 1)
    assert len(read(folder / "reporting.duckdb")["artists"]) > 0


def test_only_its_owner_enters_the_warehouse(tmp_path: Path) -> None:
    with holding(tmp_path, LISTENS) as warehouse:
        release(warehouse, tmp_path, 1)
    assert stat.S_IMODE((tmp_path / "warehouse").stat().st_mode) == 0o700
    assert (tmp_path / "reporting.duckdb").stat().st_mode & stat.S_IRUSR


def test_a_request_is_taken_once(tmp_path: Path) -> None:
    assert pending_request(tmp_path) is None
    request = request_release(tmp_path)
    assert pending_request(tmp_path) == request
    assert take_request(tmp_path) == request
    assert take_request(tmp_path) is None
    assert pending_request(tmp_path) is None
    assert [file.name for file in tmp_path.iterdir()] == []


def test_who_asks_gets_the_release_that_answers(tmp_path: Path) -> None:
    with holding(tmp_path, LISTENS) as warehouse:
        before = release(warehouse, tmp_path, 1)
        asked = threading.Event()

        def answering() -> None:
            asked.wait(10)
            release(warehouse, tmp_path, 1, take_request(tmp_path))

        worker = threading.Thread(target=answering)
        worker.start()
        original = module.request_release

        def asking(data: Path) -> str:
            request = original(data)
            asked.set()
            return request

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "request_release", asking)
            manifest = request_and_wait(tmp_path, 20)
        worker.join()
    assert manifest.id != before.id
    assert manifest.request is not None
    assert read_manifest(tmp_path) == manifest
    assert read(tmp_path / "reporting.duckdb")["release"][0]["id"] == manifest.id


def test_a_request_nobody_answers_is_withdrawn(tmp_path: Path) -> None:
    with holding(tmp_path, LISTENS) as warehouse:
        release(warehouse, tmp_path, 1, "an older request")
    with pytest.raises(WarehouseError, match="No release"):
        request_and_wait(tmp_path, 0.01)
    assert pending_request(tmp_path) is None


def test_before_the_first_release_there_is_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
