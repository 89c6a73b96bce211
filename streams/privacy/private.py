"""Files for their owner alone: read, created, replaced in one step, changed by one at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import KeyMaterialError

MAX_BYTES = 1 << 20
_OWNER = 0o600
_READS = 3
"""A file that is replaced while it is read may be half overwritten; then it is read again."""


def read(path: Path, name: str, remedy: str) -> bytes:
    """What is in a file that nobody but its owner may open; at most `MAX_BYTES`.

    Args:
        name: what messages call the file, as in "The key file".
        remedy: what to do if there is no such file, as a sentence without its full stop.

    Raises:
        KeyMaterialError: it cannot be opened, is no regular file, or is open to others.
    """
    for _ in range(_READS):
        content, replaced = _read(path, name, remedy)
        if not replaced:
            break
    return content


def _read(path: Path, name: str, remedy: str) -> tuple[bytes, bool]:
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise KeyMaterialError(
            f"{name} {path} cannot be opened: {error.strerror}.", f"{remedy}."
        ) from None
    try:
        opened = os.fstat(file)
        if not stat.S_ISREG(opened.st_mode):
            raise KeyMaterialError(f"{name} {path} is not a regular file.", f"{remedy}.")
        if opened.st_mode & 0o077:
            raise KeyMaterialError(
                f"{name} {path} is open to its group or to others.",
                f"Run `chmod 600 {path}`; if others may have read it, replace what it holds.",
            )
        content = b""
        while len(content) < MAX_BYTES and (more := os.read(file, MAX_BYTES - len(content))):
            content += more
        return content, not _is_at(path, opened)
    finally:
        os.close(file)


def create(path: Path, content: bytes, name: str) -> None:
    """Write a new file, in folders (where made) of its owner alone.

    Raises:
        KeyMaterialError: there is such a file (none is ever overwritten), or it cannot be written.
    """
    try:
        for folder in reversed([path.parent, *path.parent.parents]):
            if not folder.exists():
                folder.mkdir(mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER)
        try:
            _write(file, content)
        finally:
            os.close(file)
        _sync_folder(path)
    except FileExistsError:
        raise KeyMaterialError(
            f"{name} {path} is there already.", "Keep it, or name another file."
        ) from None
    except OSError as error:
        raise KeyMaterialError(
            f"{name} {path} cannot be created: {error.strerror}.", "Name another file."
        ) from None


def replace(path: Path, content: bytes, name: str, *, wipe: bool = False) -> None:
    """Put ``content`` in place of what is at ``path``: a reader, or whoever looks after a crash,
    finds all of the old or all of the new. To be called within `changing`.

    With ``wipe`` the blocks of the old file are overwritten then. That is a best effort: file
    systems that copy on write, journals, snapshots and flash memory keep older blocks.

    Raises:
        KeyMaterialError: it cannot be written; the old content is still in place.
    """
    path = path.resolve()  # a link stays one
    fresh = path.with_name(f"{path.name}.new")  # always the same: a crash leaves one at most
    try:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _OWNER)
        try:
            os.fchmod(file, _OWNER)
            _write(file, content)
        finally:
            os.close(file)
        old = os.open(path, os.O_WRONLY) if wipe and path.exists() else None
        try:
            os.rename(fresh, path)
            _sync_folder(path)
            if old is not None:
                _write(old, bytes(os.fstat(old).st_size))
        finally:
            if old is not None:
                os.close(old)
    except OSError as error:
        raise _unwritable(path, name, error) from None


@contextmanager
def changing(path: Path, name: str) -> Iterator[None]:
    """Hold the only right to change the file; the lock is a file beside it, which stays.

    Raises:
        KeyMaterialError: another process holds it, or the folder cannot be written.
    """
    path = path.resolve()
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        lock = os.open(path.with_name(f"{path.name}.lock"), flags, _OWNER)
    except OSError as error:
        raise _unwritable(path, name, error) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise _unwritable(path, name, error) from None
            raise KeyMaterialError(
                f"{name} {path} is being changed by another command.",
                "Wait for it, then look at what it did: `sottovoce keys list`.",
            ) from None
        yield
    finally:
        os.close(lock)


def _unwritable(path: Path, name: str, error: OSError) -> KeyMaterialError:
    return KeyMaterialError(
        f"{name} {path} cannot be changed: {error.strerror}.",
        "Run the command as its owner, where its folder can be written.",
    )


def _is_at(path: Path, opened: os.stat_result) -> bool:
    try:
        return os.path.samestat(opened, path.stat())
    except OSError:
        return False


def _write(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
    os.fsync(file)


def _sync_folder(path: Path) -> None:
    """Make the name of a file outlast a crash."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
