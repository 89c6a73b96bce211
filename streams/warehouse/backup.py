"""A copy of the warehouse while a worker goes on writing to it.

The copy is of one moment, positions included, and has no bytes of rows that were erased before: it
is made as a rewrite makes the new file. A process that does not hold the warehouse asks the one
that does by leaving ``backup.request`` in the data folder; the answer is a file in ``backup``, a
folder only its owner enters, from where the asking process takes it away.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from streams.errors import WarehouseError
from streams.warehouse import rewriting
from streams.warehouse.files import reported
from streams.warehouse.store import Warehouse

_POLL_S = 0.05
_TAKEN_S = 600.0
"""A copy that nobody took away for so long is abandoned."""


def copy(warehouse: Warehouse, target: Path) -> None:
    """Put a copy at ``target``, whose folder is there. Blocks: seconds per million rows.

    Other threads may append meanwhile; releases and rewrites wait.

    Raises:
        WarehouseError: it cannot be made; nothing is at ``target``.
    """
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with reported("copy"), warehouse.reading() as cursor:
        try:
            cursor.begin()  # one moment for all tables
            try:
                file = rewriting.copy(cursor, folder, emptied="stale")
            finally:
                cursor.rollback()
            file.chmod(0o600)
            os.replace(file, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def request_and_wait(data: Path, timeout_s: float) -> Path:
    """Ask the process that holds the warehouse for a copy, and wait for it. Blocks.

    Returns:
        The file, which the caller takes away.

    Raises:
        WarehouseError: no answer in time, or somebody else is waiting for one.
    """
    request = secrets.token_hex(8)
    _ask(data, request)
    answer = _folder(data) / request
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            if answer.exists():
                return answer
            time.sleep(_POLL_S)
    finally:
        if not answer.exists():
            with suppress(FileNotFoundError):
                _request(data).unlink()
    raise WarehouseError(
        f"No copy of the warehouse within {timeout_s:.0f} s.",
        "The report worker's log says why; --timeout waits longer.",
    )


def pending(data: Path) -> bool:
    """Whether somebody waits for a copy."""
    return _request(data).exists()


def answer(warehouse: Warehouse, data: Path) -> None:
    """Make the copy that somebody waits for. Copies that nobody took away are removed.

    Raises:
        WarehouseError: it cannot be made; nobody gets an answer.
    """
    with reported("copy"):
        request = _request(data).read_text("utf-8")
        _request(data).unlink()
        shutil.rmtree(_folder(data), ignore_errors=True)
        _folder(data).mkdir(mode=0o700)
    copy(warehouse, _folder(data) / Path(request).name)


def tidy(data: Path) -> None:
    """Remove copies that were abandoned: no erasure would reach them."""
    with suppress(OSError):
        for file in _folder(data).iterdir():
            if time.time() - file.stat().st_mtime > _TAKEN_S:
                file.unlink()


def _ask(data: Path, request: str) -> None:
    partial = _request(data).with_name(f".backup.{request}")
    try:
        partial.write_text(request, "utf-8")
        os.link(partial, _request(data))  # whole, or not at all
    except FileExistsError:
        raise WarehouseError(
            "Another backup waits for the report worker.",
            f"Let it end; if none runs, remove {_request(data)}.",
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _request(data: Path) -> Path:
    return data / "backup.request"


def _folder(data: Path) -> Path:
    return data / "backup"
