"""The warehouse's files: how they are opened, and what else may lie beside them.

DuckDB spills what does not fit memory to ``spill``, and a rewrite is made in ``rewrite``, two
folders beside the warehouse that only their owner enters. Both are removed whenever the warehouse
is opened or closed, so nothing stays that a process left behind when it died.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from streams.errors import WarehouseError

STORAGE_VERSION = "v1.0.0"
"""Format of the files: any DuckDB from 1.0 on reads it, whichever version wrote it."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "storage_compatibility_version": STORAGE_VERSION,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


MEMORY_MB = 1_024
"""Memory that DuckDB may use before it spills, unless it is told otherwise; its own is most of the
machine's."""

_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)))
"""What a system says when a disk, a quota or a limit of a file's size is used up."""


def open_file(path: Path, memory_mb: int = MEMORY_MB) -> duckdb.DuckDBPyConnection:
    """Open or make the file at ``path``, with an empty folder to spill to.

    What needs more memory than ``memory_mb`` goes there.

    Raises:
        WarehouseError: another process holds it, its disk is full, or it is damaged.
    """
    try:
        connection = duckdb.connect(path, config=_CONFIG | {"memory_limit": f"{memory_mb}MiB"})
    except duckdb.Error as error:
        if "lock" in str(error):
            raise WarehouseError(
                "Another process holds the warehouse, most likely the report worker.",
                "Ask that worker with `sottovoce release`, or stop it first.",
            ) from None
        if _is_full(error):
            raise _full("open") from None
        raise WarehouseError(
            f"The warehouse cannot be opened ({type(error).__name__}).",
            "It is damaged or from a newer DuckDB: restore it, or move it away to start anew.",
        ) from None
    clear(path)  # only now: the folders belong to whoever holds the file
    spill = path.parent / "spill"
    try:
        with reported("open"):
            spill.mkdir(mode=0o700)
            connection.execute("SET temp_directory = $1", [str(spill)])
    except WarehouseError:
        connection.close()
        raise
    return connection


def close_file(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Let go of the file and remove what was spilled."""
    clear(path)
    connection.close()


def clear(path: Path) -> None:
    """Remove the folders beside the warehouse at ``path``."""
    for folder in (path.parent / "spill", rewrite_folder(path)):
        shutil.rmtree(folder, ignore_errors=True)


def rewrite_folder(path: Path) -> Path:
    """Where the warehouse at ``path`` is rewritten."""
    return path.parent / "rewrite"


@contextmanager
def reported(action: str) -> Iterator[None]:
    """Turn DuckDB's errors into ours.

    Its own messages can quote values of rows: only the kind of error goes on.

    Raises:
        WarehouseError: what happens within failed.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        if _is_full(error):
            raise _full(action) from None
        if isinstance(error, duckdb.OutOfMemoryException):
            raise WarehouseError(
                f"Could not {action} the warehouse: it needs more memory.",
                "Nothing was changed. Raise SOTTOVOCE_WAREHOUSE_MB.",
            ) from None
        raise WarehouseError(
            f"Could not {action} the warehouse ({type(error).__name__}).",
            "Nothing was changed; check the disk's space and health.",
        ) from None


@contextmanager
def rolled_back(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Undo the transaction of ``cursor`` if what happens within fails, and let it fail."""
    try:
        yield
    except BaseException:
        # A commit that fails has ended its transaction: there is nothing left to undo, and saying
        # so would hide why it failed.
        with suppress(duckdb.Error):
            cursor.rollback()
        raise


def _is_full(error: Exception) -> bool:
    return any(text in str(error) for text in _FULL)


def _full(action: str) -> WarehouseError:
    return WarehouseError(
        f"Could not {action} the warehouse: its disk is full.",
        "Nothing was changed. Free space where SOTTOVOCE_DATA lies and start the worker again; "
        "it goes on where the warehouse is.",
    )
