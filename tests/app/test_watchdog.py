"""A blocked event loop is noticed from outside, with the place, and nothing else is."""

from __future__ import annotations

import asyncio
import time

from streams.app.watchdog import Watchdog


def held_up(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_loop_that_stands_still_is_told_with_its_place() -> None:
    told: list[str] = []
    with Watchdog(0.3, told.append):
        await asyncio.sleep(0.5)
        assert told == []  # the loop is idle, not blocked
        held_up(1.0)
    (places,) = told
    assert places.endswith("held_up")
    assert "test_watchdog.py" in places


async def test_a_loop_that_is_slow_but_goes_on_is_well() -> None:
    told: list[str] = []
    with Watchdog(1.0, told.append):
        for _ in range(15):
            held_up(0.1)
            await asyncio.sleep(0)
    assert told == []
