"""A release: the marts built into a new DuckDB file and renamed into place.

Analysts never open the warehouse. They open the released file, which holds the marts and nothing
else; who has the old one open finishes with it undisturbed. What may be published is decided in
`streams.warehouse.protection`, in one snapshot of the warehouse, before any mart is built.

A process that does not hold the warehouse asks the one that does by leaving a request file in the
data folder; the answer is the manifest beside it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from streams import __version__
from streams.errors import WarehouseError
from streams.warehouse.files import STORAGE_VERSION
from streams.warehouse.protection import hold_back
from streams.warehouse.store import Warehouse

_POLL_S = 0.05


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
    *,
    forget: bool = False,
) -> Manifest:
    """Build the marts of ``sql`` in the place of ``released`` and of ``parquet`` beside it.

    Other threads may append meanwhile. Interrupted at any moment, the old release stays whole and
    the next release clears away what was begun. The Parquet files of the release before stay until
    the next, for readers between listing and opening them; with ``forget``, after an erasure, they
    go at once. Who has a file open finishes with it in any case.

    Raises:
        WarehouseError: there are no marts, or the disk refuses; the old release stays.
    """
    began = time.monotonic()
    release_id = secrets.token_hex(8)
    marts = {mart.stem: mart.read_text("utf-8") for mart in sorted((sql / "marts").glob("*.sql"))}
    if not marts:
        raise WarehouseError(
            "The marts' SQL is not there.", "Correct the setting `sql` or reinstall."
        )
    variables: dict[str, str | int | datetime] = {
        "release_id": release_id,
        "published_at": now.astimezone(UTC).replace(tzinfo=None),
        "min_listeners": min_listeners,
        "version": __version__,
    }
    try:
        building = _Building(released, release_id)
        with warehouse.reading() as cursor:
            for name, value in variables.items():
                cursor.execute(f"SET VARIABLE {name} = $1", [value])
            rows = _build(warehouse, cursor, sql / "protection", marts, building)
        building.settle()
        if forget:
            building.clear()
    except (duckdb.Error, OSError) as error:
        raise WarehouseError(
            f"The release cannot be made ({type(error).__name__}); the last one stays.",
            "Check the space and the rights of the data folder, and the setting `sql`.",
        ) from None
    seconds = round(time.monotonic() - began, 3)
    manifest = Manifest(release_id, now.isoformat(), rows, seconds, request)
    _write_whole(released.parent / "release.json", json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


class _Building:
    """Where a release is built, and how it takes the place of the one before."""

    def __init__(self, released: Path, release_id: str) -> None:
        folder = released.parent
        folder.mkdir(parents=True, exist_ok=True)
        self._released = released
        self._link = folder / "parquet"
        self.clear()
        self.database = folder / f"{released.name}.tmp-{release_id}"
        self.parquet = folder / f".parquet-{release_id}"
        self.parquet.mkdir()

    def settle(self) -> None:
        """Each of the two changes at once and whole: a file is renamed, a link points elsewhere."""
        for file in (*self.parquet.iterdir(), self.parquet, self.database):
            _sync(file)
        link = self._link.with_name(f".parquet-link-{self.parquet.name}")
        link.symlink_to(self.parquet.name)
        if self._link.is_dir() and not self._link.is_symlink():
            shutil.rmtree(self._link)
        os.replace(link, self._link)
        os.replace(self.database, self._released)
        _sync(self._released.parent)

    def clear(self) -> None:
        """Remove what interrupted releases left, and Parquet files of older releases."""
        for found in others(self._released):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()


def others(released: Path) -> list[Path]:
    """What lies beside ``released`` of releases before it, or of such as were interrupted."""
    folder, link = released.parent, released.parent / "parquet"
    current = os.readlink(link) if link.is_symlink() else None
    names = (f"{released.name}.tmp-*", ".parquet-*", ".release.json.*")
    found = [each for name in names for each in folder.glob(name)]
    return [each for each in found if each.name != current]


def _build(
    warehouse: Warehouse,
    cursor: duckdb.DuckDBPyConnection,
    protection: Path,
    marts: Mapping[str, str],
    building: _Building,
) -> dict[str, int]:
    """The marts as tables of the new file and as Parquet files; rows by mart."""
    cursor.execute(
        f"ATTACH {_quoted(building.database)} AS published (STORAGE_VERSION '{STORAGE_VERSION}')"
    )
    try:
        with warehouse.counting(cursor):  # one moment for all of them
            hold_back(cursor, protection)
            for script in marts.values():
                cursor.execute(script)
        for mart in marts:
            file = _quoted(building.parquet / f"{mart}.parquet")
            cursor.execute(f"COPY published.{mart} TO {file} (FORMAT parquet, COMPRESSION zstd)")
        cursor.execute("CHECKPOINT published")
        return {mart: _rows(cursor, mart) for mart in marts}
    finally:
        cursor.execute("DETACH published")


def _rows(cursor: duckdb.DuckDBPyConnection, mart: str) -> int:
    row = cursor.execute(f"SELECT count(*) FROM published.{mart}").fetchone()
    return int(row[0]) if row else 0


def request_release(data: Path) -> str:
    """Ask the process that holds the warehouse for a release; the id its manifest will carry.

    Who asks while another request waits shares its answer.
    """
    request = pending_request(data) or secrets.token_hex(8)
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
    taken = data / "release.taken"
    try:
        os.replace(_request_file(data), taken)  # one that comes after this is not lost
    except FileNotFoundError:
        return None
    request = taken.read_text("utf-8")
    taken.unlink()
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


def _write_whole(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    partial.write_text(text, "utf-8")
    _sync(partial)
    os.replace(partial, target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
