"""A thread that notices when the event loop stands still, which no task in it can."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

_FRAMES = 8
_LOOKS = 10
"""Looks within the bound; each wakes the loop once."""
_LONGEST_LOOK_S = 5.0


class Watchdog:
    """Calls ``bitten`` from its own thread when the running loop stood still for ``bound_s``.

    ``bitten`` is told the places where the loop's thread is, innermost last, no values. Use it as
    ``with``. Time in which the whole process was stopped does not count.
    """

    def __init__(self, bound_s: float, bitten: Callable[[str], None]) -> None:
        self._bound_s, self._bitten = bound_s, bitten
        self._look_s = min(bound_s / _LOOKS, _LONGEST_LOOK_S)
        self._loop = asyncio.get_running_loop()
        self._looped_in = threading.get_ident()
        self._beat = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        still = 0
        while not self._over.is_set():
            self._beat.clear()
            self._loop.call_soon_threadsafe(self._beat.set)
            # A look, not a clock, is what counts: one ends late when the process was stopped.
            while not self._over.wait(self._look_s) and not self._beat.is_set():
                still += 1
                if still * self._look_s >= self._bound_s:
                    self._bitten(self._places())
                    return
            still = 0

    def _places(self) -> str:
        frame = sys._current_frames().get(self._looped_in)
        if frame is None:
            return "the thread of the event loop is gone"
        stack = traceback.extract_stack(frame)[-_FRAMES:]
        return " > ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in stack)
