"""The process around a role: what it checks before it joins, and how it treats Python's garbage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from streams.app import worker
from streams.errors import BrokerError
from streams.topics import LISTENS, PLAYS, PROFILES

COLLECTING = """
import gc
{before}
from streams.app.worker import collecting_seldom
gc.disable()
with collecting_seldom():
    assert gc.isenabled()
    assert gc.get_threshold()[0] > 100_000
print(gc.get_freeze_count() > 0)
"""


async def test_the_first_topic_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def end_offsets(_reader: object, topic: str) -> Mapping[int, int]:
        asked.append(topic)
        return {0: 7} if topic == PLAYS.name else {}

    monkeypatch.setattr(worker, "end_offsets", end_offsets)
    reader: Any = None
    with pytest.raises(BrokerError, match=f"Topic {LISTENS.name} does not exist"):
        await worker.require_topics(reader, (PLAYS, LISTENS, PROFILES, PLAYS))
    assert asked == [PLAYS.name, LISTENS.name, PROFILES.name]
    await worker.require_topics(reader, (PLAYS,))


@pytest.mark.parametrize(("before", "left_out"), [("", True), ("import duckdb", False)])
def test_what_is_left_at_the_end_is_not_looked_through(before: str, left_out: bool) -> None:
    code = COLLECTING.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == str(left_out)
    assert done.stderr == ""
