"""A release: the marts built into a new DuckDB file and renamed into place.

Analysts never open the warehouse. They open the released file, which holds the marts and nothing
else; who has the old one open finishes with it undisturbed. Every mart applies the minimum of
distinct listeners itself, in ``sql/marts``, in one snapshot of the warehouse.

A process that does not hold the warehouse asks the one that does by leaving a request file in the
data folder; the answer is the manifest beside it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from streams import __version__
from streams.errors import WarehouseError
from streams.warehouse.store import Warehouse

_POLL_S = 0.05
_BUILDING = ".building"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a release is: ``rows`` by mart, ``request`` the id of the request it answers, if any."""

    id: str
    published_at: str
    rows: dict[str, int]
    seconds: float
    request: str | None


def publish(
    warehouse: Warehouse,
    sql: Path,
    released: Path,
    min_listeners: int,
    now: datetime,
    request: str | None = None,
) -> Manifest:
    """Build the marts of ``sql/marts`` and put them in the place of ``released``.

    Safe beside a thread that appends. Interrupted at any moment, the old release stays.

    Raises:
        WarehouseError: the folder has no marts or the disk refuses.
    """
    began = time.monotonic()
    marts = sorted((sql / "marts").glob("*.sql"))
    if not marts:
        raise WarehouseError(f"{sql} holds no marts.", "Set SOTTOVOCE_SQL to the folder sql.")
    folder = released.parent
    folder.mkdir(parents=True, exist_ok=True)
    for debris in folder.glob(f"{released.name}.*{_BUILDING}*"):
        debris.unlink()
    release_id = secrets.token_hex(8)
    building = folder / f"{released.name}.{release_id}{_BUILDING}"
    variables: dict[str, str | int] = {
        "release_id": release_id,
        "published_at": now.isoformat(),
        "min_listeners": min_listeners,
        "version": __version__,
    }
    try:
        rows = _build(warehouse, marts, building, variables, folder / "parquet")
        _settle(building, released)
    except (duckdb.IOException, OSError) as error:
        raise WarehouseError(
            "The release cannot be written.", f"Free disk space in {folder} and try again."
        ) from error
    finally:
        building.unlink(missing_ok=True)
    manifest = Manifest(
        release_id, now.isoformat(), rows, round(time.monotonic() - began, 3), request
    )
    _write_whole(folder / "release.json", json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def _build(
    warehouse: Warehouse,
    marts: list[Path],
    building: Path,
    variables: dict[str, str | int],
    parquet: Path,
) -> dict[str, int]:
    """The marts as tables of ``building`` and as files in ``parquet``; rows by mart."""
    parquet.mkdir(exist_ok=True)
    with warehouse.reading() as cursor:
        cursor.execute(f"ATTACH '{_quoted(building)}' AS published")
        try:
            for name, value in variables.items():
                cursor.execute(f"SET VARIABLE {name} = $1", [value])
            _run_marts(cursor, marts)
            for mart in marts:
                partial = parquet / f"{mart.stem}{_BUILDING}"
                cursor.execute(
                    f"COPY published.{mart.stem} TO '{_quoted(partial)}' (FORMAT parquet)"
                )
                _settle(partial, parquet / f"{mart.stem}.parquet")
            return {mart.stem: _rows(cursor, mart.stem) for mart in marts}
        finally:
            cursor.execute("DETACH published")


def _run_marts(cursor: duckdb.DuckDBPyConnection, marts: list[Path]) -> None:
    cursor.begin()  # one snapshot of the warehouse for all of them
    try:
        for mart in marts:
            cursor.execute(mart.read_text("utf-8"))
    except BaseException:
        cursor.rollback()
        raise
    cursor.commit()


def _rows(cursor: duckdb.DuckDBPyConnection, mart: str) -> int:
    counted = cursor.execute(f"SELECT count(*) FROM published.{mart}").fetchone()  # noqa: S608 - a file name of ours
    assert counted is not None
    return int(counted[0])


def request_release(data: Path) -> str:
    """Ask the process that holds the warehouse for a release; the id that the manifest will carry."""
    request = secrets.token_hex(8)
    _write_whole(_request_file(data), request)
    return request


def pending_request(data: Path) -> str | None:
    """The id of a request nobody has taken yet, or None."""
    try:
        return _request_file(data).read_text("utf-8")
    except FileNotFoundError:
        return None


def take_request(data: Path) -> str | None:
    """Take the pending request, so that it is answered once."""
    request = pending_request(data)
    _request_file(data).unlink(missing_ok=True)
    return request


def read_manifest(data: Path) -> Manifest | None:
    """The manifest of the last release in ``data``, or None before the first."""
    try:
        return Manifest(**json.loads((data / "release.json").read_text("utf-8")))
    except FileNotFoundError:
        return None


def request_and_wait(data: Path, timeout_s: float) -> Manifest:
    """Ask for a release and wait for it. Blocks.

    Raises:
        WarehouseError: no answer in time.
    """
    request = request_release(data)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        manifest = read_manifest(data)
        if manifest is not None and manifest.request == request:
            return manifest
        time.sleep(_POLL_S)
    _request_file(data).unlink(missing_ok=True)
    raise WarehouseError(
        f"No release within {timeout_s:.0f} s.",
        "The report worker's log says why; `sottovoce release --timeout` waits longer.",
    )


def _request_file(data: Path) -> Path:
    return data / "release.request"


def _settle(partial: Path, target: Path) -> None:
    """Move a finished file into place: after a power cut, either the old or the whole new one."""
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(partial, target)


def _write_whole(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + _BUILDING)
    partial.write_text(text, "utf-8")
    _settle(partial, target)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
