"""A short run of the harness; `make chaos` runs it for as long as you like."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.report import Plan
from tests.chaos.run import run

SOME = (
    "kill gate",
    "kill taste",
    "kill report",
    "zombie taste",
    "client retries without idempotence",
    "poison",
    "schema upgraded",
    "erasure",
    "key rotated",
)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_faults_change_nothing(kafka_cache: Path, tmp_path: Path) -> None:
    plan = Plan(seed=3, seconds=20, partitions=4, faults=SOME, rate=250, listeners=150)
    result = await run(plan, kafka_cache, tmp_path)
    assert result.problems == []
    assert result.differences == []
    assert set(result.faults) == set(SOME)
    assert result.faults["zombie taste"]["woke up"] > 0
    assert result.records["rejected: undecodable"] > 0
    assert result.records["duplicate"] > 0
