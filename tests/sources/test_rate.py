"""Pacing, against arithmetic, on a clock that only sleeping and working move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sources.rate import SLICE_S, paced


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


async def letting_go(
    chunks: list[list[int]], per_second: float, clock: Clock, work_s: float = 0
) -> list[tuple[float, list[int]]]:
    seen = []
    async for piece in paced(chunks, per_second, clock=clock, sleep=clock.sleep):
        seen.append((clock.now, piece))
        clock.now += work_s
    return seen


@given(st.lists(st.lists(st.integers(), max_size=30), max_size=30), st.floats(0.1, 1e5))
async def test_everything_comes_in_order_at_the_rate(
    chunks: list[list[int]], per_second: float
) -> None:
    clock = Clock()
    seen = await letting_go(chunks, per_second, clock)
    assert [item for _, piece in seen for item in piece] == [item for c in chunks for item in c]
    before = 0
    for at, piece in seen:
        assert at - 1_000 == pytest.approx(before / per_second, abs=1e-6)
        assert 0 < len(piece) <= max(1, per_second * SLICE_S + 1)
        before += len(piece)


@pytest.mark.parametrize("per_second", [10.0, 1_000.0])
async def test_work_that_fits_between_does_not_slow_it_down(per_second: float) -> None:
    clock = Clock()
    count = int(per_second * 20)
    await letting_go([[0]] * count, per_second, clock, work_s=0.5 / per_second)
    assert clock.now - 1_000 == pytest.approx(20, rel=0.02)


async def test_a_stall_is_not_caught_up_with() -> None:
    clock = Clock()
    pieces = paced([[0] * 1_000], 100, clock=clock, sleep=clock.sleep)
    await anext(pieces)
    clock.now += 60
    resumed = clock.now
    rest = [(clock.now, len(piece)) async for piece in pieces]
    soon = sum(count for at, count in rest if at < resumed + 1)
    assert 100 <= soon <= 100 * (1 + 2 * SLICE_S)
