"""Backups of what taste and report remember: a folder with a manifest, written last.

``warehouse.duckdb`` is a copy of the warehouse; ``taste-state/<partition>.parquet`` has the newest
record of each key of the changelog. Each is of one moment, not both of the same: each has positions
of its own, and Kafka has what came after.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from streams import __version__
from streams.agents.role import Place
from streams.agents.taste_recovery import newest_records
from streams.cli import console
from streams.cli.resuming import stored_by_taste, stored_in
from streams.cli.survey import INPUTS, Survey, survey
from streams.errors import SourceError, WarehouseError
from streams.settings import Settings
from streams.topics import TASTE_STATE
from streams.transport.reader import partition_reader
from streams.warehouse import backup as copies
from streams.warehouse.store import Warehouse

MANIFEST = "manifest.json"
WAREHOUSE = "warehouse.duckdb"
CHANGELOG = pl.Schema({"key": pl.Binary, "value": pl.Binary})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is.

    Attributes:
        taken_at: Unix seconds when it was begun.
        seen: by role, by ``topic/partition``: what the copy includes at least.
    """

    taken_at: float
    version: str
    seen: Mapping[str, Mapping[str, int]]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        SourceError: there is no complete backup.
    """
    try:
        return Manifest(**json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        raise SourceError(
            f"{folder} holds no complete backup.", "`sottovoce backup` writes one."
        ) from None


async def make(settings: Settings, folder: Path, roles: Iterable[str], timeout_s: float) -> None:
    """Write a backup of the roles' stores to ``folder``; the workers may run.

    Raises:
        SourceError: there is something in ``folder``.
        BrokerError, WarehouseError, StateError: a store cannot be read; there is no manifest then.
    """
    roles = tuple(roles)
    _prepare(folder)
    wanted = {topic.name: topic for role in roles for topic in INPUTS[role]}
    began = time.time()
    # Before the copies: they include at least what is committed now.
    found = await survey(settings.kafka, [*wanted.values(), TASTE_STATE], roles)
    seen = {}
    if "taste" in roles:
        seen["taste"] = _seen("taste", found, await _dump(settings, folder, found))
    if "report" in roles:
        with console.err.status("copying the warehouse"):
            held = bool(found.groups["report"].members)
            stored = await asyncio.to_thread(_copy, settings, folder / WAREHOUSE, held, timeout_s)
        seen["report"] = _seen("report", found, stored)
    manifest = Manifest(began, __version__, seen)
    partial = folder / f".{MANIFEST}"
    partial.write_text(json.dumps(asdict(manifest), indent=2) + "\n", "utf-8")
    os.replace(partial, folder / MANIFEST)
    console.err.print("[dim]Pseudonymous data: keep it closed, and no longer than 30 days.[/]")


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        used = any(folder.iterdir())
    except OSError as error:
        raise SourceError(f"{folder}: {error.strerror}.", "Name another folder.") from None
    if used:
        raise SourceError(f"{folder} is not empty.", "Name a new folder for each backup.")


def _seen(role: str, found: Survey, stored: Mapping[Place, int]) -> dict[str, int]:
    """What a copy includes, by ``topic/partition``.

    The warehouse stores no position of commands that were not for it; what the group committed
    counts as well.
    """
    committed = found.groups[role].committed
    return {
        f"{place[0]}/{place[1]}": max(stored.get(place, 0), committed.get(place, 0))
        for topic in INPUTS[role]
        for place in found.places(topic.name)
    }


async def _dump(settings: Settings, folder: Path, found: Survey) -> dict[Place, int]:
    """Write the changelog; the positions that were there before count."""
    stored = await stored_by_taste(settings, found)
    target = folder / TASTE_STATE.name
    target.mkdir(mode=0o700)
    places = found.places(TASTE_STATE.name)
    with console.progress("copying taste-state", len(places), "partitions") as advance:
        async with partition_reader(settings.kafka) as reader:
            for _, number in places:
                newest = await newest_records(reader, number)
                rows = pl.DataFrame(
                    {"key": list(newest), "value": list(newest.values())}, schema=CHANGELOG
                )
                await asyncio.to_thread(rows.write_parquet, target / f"{number}.parquet")
                console.out.print(f"{len(newest):>9,}  records of {TASTE_STATE.name}/{number}")
                advance(1)
    return stored


def _copy(settings: Settings, target: Path, held: bool, timeout_s: float) -> dict[Place, int]:
    """Copy the warehouse from where it rests, or through the worker, if it is ``held`` by one."""
    if not settings.warehouse.exists():
        raise WarehouseError(
            f"There is no warehouse at {settings.warehouse}.",
            "Set SOTTOVOCE_DATA to where it is, or leave it out with --role taste.",
        )
    try:
        warehouse = Warehouse(settings.warehouse, settings.sql)
    except WarehouseError:
        if not held:
            raise
        shutil.move(copies.request_and_wait(settings.data, timeout_s), target)
    else:
        with warehouse:
            copies.copy(warehouse, target)
    console.out.print(f"{target.stat().st_size:>9,}  bytes of the warehouse")
    with Warehouse(target, settings.sql) as copied:  # proof that it is one
        return stored_in(copied)
