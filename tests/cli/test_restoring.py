"""Which backups are refused, and what is not overwritten."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from streams.agents.role import Place
from streams.cli import backups
from streams.cli.backups import Manifest
from streams.cli.restoring import require_whole
from streams.cli.survey import INPUTS, Group, Span, Survey
from streams.errors import SourceError, StateError, WarehouseError
from streams.settings import bundled
from streams.topics import LISTENS, PRIVACY_COMMANDS, PRIVACY_REKEYS
from streams.warehouse import backup as copies
from streams.warehouse.store import Warehouse

DAY_S = 86_400
NOW = 1_800_000_000.0
SEEN = {f"{topic.name}/0": 40 for topic in INPUTS["taste"]}
FRESH = Manifest(NOW - DAY_S, "0", {"taste": SEEN})


def kafka(place: Place | None = None, span: Span | None = None) -> Survey:
    """Kafka with all that came since, but for one place."""
    spans = {(topic.name, 0): Span(40, 60) for topic in INPUTS["taste"]}
    if place is not None and span is not None:
        spans[place] = span
    return Survey(1, {}, spans, {"taste": Group("Empty", (), {})})


def test_a_backup_is_taken_whose_every_successor_is_in_kafka() -> None:
    require_whole(FRESH, "taste", kafka(), NOW)
    require_whole(replace(FRESH, taken_at=NOW - 29 * DAY_S), "taste", kafka(), NOW)


def test_one_older_than_privacy_commands_are_kept_is_refused_with_the_reason() -> None:
    old = replace(FRESH, taken_at=NOW - 31 * DAY_S)
    with pytest.raises(StateError, match=r"31 days old.*privacy commands for 30.*forgotten"):
        require_whole(old, "taste", kafka(), NOW)


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        (LISTENS.name, "5 records of listens/0 that came after it are gone"),
        (PRIVACY_COMMANDS.name, "forgotten since could be back"),
        (PRIVACY_REKEYS.name, "an epoch that nobody can link"),
    ],
)
def test_one_with_a_gap_is_refused(topic: str, why: str) -> None:
    with pytest.raises(StateError, match=why):
        require_whole(FRESH, "taste", kafka((topic, 0), Span(45, 60)), NOW)


def test_one_of_other_topics_is_refused() -> None:
    with pytest.raises(StateError, match="listens was made anew"):
        require_whole(FRESH, "taste", kafka((LISTENS.name, 0), Span(0, 39)), NOW)


def test_only_a_whole_backup_is_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no complete backup"):
        backups.read_manifest(tmp_path)
    (tmp_path / backups.MANIFEST).write_text('{"taken_at": 1}')
    with pytest.raises(SourceError, match="no complete backup"):
        backups.read_manifest(tmp_path)


async def test_a_folder_in_use_is_no_place_for_a_backup(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(SourceError, match="not empty"):
        backups._prepare(tmp_path)
    backups._prepare(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_a_request_for_a_copy_is_answered_once_and_waits_no_longer_than_it_may(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with Warehouse(data / "warehouse" / "warehouse.duckdb", bundled("sql")) as warehouse:
        with pytest.raises(WarehouseError, match="No copy"):
            copies.request_and_wait(data, 0.1)
        assert not copies.pending(data)
        (data / "backup.request").write_text("abc")
        with pytest.raises(WarehouseError, match="Another backup"):
            copies.request_and_wait(data, 0.1)
        copies.answer(warehouse, data)
        assert not copies.pending(data)
        assert [file.name for file in (data / "backup").iterdir()] == ["abc"]
        assert stat.S_IMODE((data / "backup").stat().st_mode) == 0o700
        (data / "backup.request").write_text("def")
        copies.answer(warehouse, data)  # who asked before did not take the copy away
        assert [file.name for file in (data / "backup").iterdir()] == ["def"]
    with Warehouse(data / "backup" / "def", bundled("sql")) as copied:
        assert copied.positions().next_offset == {}
