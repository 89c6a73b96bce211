"""Time by stage, of a program that measures itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """Wall and CPU seconds by stage; what runs within a stage counts there only."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = defaultdict(float)
        self.cpu: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._last = time.monotonic(), time.process_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs within."""
        self._note()
        self._open.append(name)
        try:
            yield
        finally:
            self._note()
            self._open.pop()

    def _note(self) -> None:
        now = time.monotonic(), time.process_time()
        if self._open:
            self.wall[self._open[-1]] += now[0] - self._last[0]
            self.cpu[self._open[-1]] += now[1] - self._last[1]
        self._last = now

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Count every call of a function that is awaited as ``stage``."""
        asked = getattr(owner, name)

        async def watched(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return await asked(*args, **kwargs)

        setattr(owner, name, watched)

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """``function``, each call of which counts as ``stage``."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return function(*args, **kwargs)

        return watched
