"""Replaying plays at a rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

SLICE_S = 0.1
"""Items are let go in slices of this much time, so that a low rate flows and does not gush."""


async def paced(
    chunks: Iterable[list[Item]],
    per_second: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[list[Item]]:
    """The items of ``chunks`` in order, in slices, ``per_second`` of them a second on average.

    ``per_second`` is above 0. A consumer that falls behind is not flooded afterwards: what it
    missed beyond one slice is not caught up with. ``clock`` and ``sleep`` are in seconds.
    """
    size = max(1, round(per_second * SLICE_S))
    due = clock()
    for chunk in chunks:
        for at in range(0, len(chunk), size):
            piece = chunk[at : at + size]
            wait = due - clock()
            if wait > 0:
                await sleep(wait)
            yield piece
            due = max(due, clock() - SLICE_S) + len(piece) / per_second
