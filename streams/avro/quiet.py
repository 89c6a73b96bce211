"""Keeping Rust's panic messages off standard error.

A panic in Polars' Avro reader names the length it ran into ("range end index 4242 out of range"),
and in a damaged body that number is made of a field's bytes. Rust prints it before Python sees the
exception, straight to file descriptor 2, and offers Python no way to say no.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2
_PANIC = b"panicked at"


@contextmanager
def panics_silenced() -> Iterator[None]:
    """Hold back what goes to standard error, and drop it if a panic message is among it.

    What other threads write meanwhile is passed on at the end, or dropped along with a panic
    message, from which it cannot be told apart; so enter it for milliseconds only. Several threads
    may be in it at once.
    """
    _diversion.begin()
    try:
        yield
    finally:
        _diversion.end()


class _Diversion:
    """File descriptor 2 led into memory while at least one caller wants it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.callers = 0
        self.saved: int | None = None
        self.held: int | None = None

    def begin(self) -> None:
        with self.lock:
            if self.callers == 0:
                self.divert()
            self.callers += 1

    def end(self) -> None:
        with self.lock:
            self.callers -= 1
            if self.callers == 0 and self.saved is not None and self.held is not None:
                os.dup2(self.saved, _STDERR)
                os.close(self.saved)
                self.pass_on(self.held)

    def divert(self) -> None:
        if self.held is None:
            self.held = _memory_file()
        try:
            self.saved = os.dup(_STDERR)
        except OSError:  # the process has no standard error, so nobody reads it
            self.saved = None
        else:
            os.dup2(self.held, _STDERR)

    def pass_on(self, held: int) -> None:
        size = os.lseek(held, 0, os.SEEK_CUR)
        if size == 0:
            return
        written = os.pread(held, size, 0)
        os.ftruncate(held, 0)
        os.lseek(held, 0, os.SEEK_SET)
        if _PANIC not in written:
            os.write(_STDERR, written)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("stderr")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_diversion = _Diversion()
