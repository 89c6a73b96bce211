"""The warehouse's files: how they are opened, and what else may lie beside them.

DuckDB spills what does not fit memory to ``spill``, and a rewrite is made in ``rewrite``, two
folders beside the warehouse that only their owner enters. Both are removed whenever the warehouse
is opened or closed, so nothing stays that a process left behind when it died.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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


def open_file(path: Path) -> duckdb.DuckDBPyConnection:
    """Open or make the file at ``path``, with an empty folder to spill to.

    Raises:
        WarehouseError: another process holds it, or it is damaged.
    """
    try:
        connection = duckdb.connect(path, config=_CONFIG)
    except duckdb.Error as error:
        if "lock" in str(error):
            raise WarehouseError(
                "Another process holds the warehouse, most likely the report worker.",
                "Ask that worker with `sottovoce release`, or stop it first.",
            ) from None
        raise WarehouseError(
            f"The warehouse cannot be opened ({type(error).__name__}).",
            "It is damaged or from a newer DuckDB: restore it, or move it away to start anew.",
        ) from None
    clear(path)  # only now: the folders belong to whoever holds the file
    spill = path.parent / "spill"
    spill.mkdir(mode=0o700)
    connection.execute("SET temp_directory = $1", [str(spill)])
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
        raise WarehouseError(
            f"Could not {action} the warehouse ({type(error).__name__}).",
            "Nothing was changed; check the disk's space and health.",
        ) from None
