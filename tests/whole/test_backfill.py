"""Late, early and old plays: profiles and marts are those of a recount, whatever came when."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.brokers.apache import ApacheBroker
from streams.errors import Reason
from streams.privacy import boundary, keyring, keys, policy
from streams.privacy.boundary import Boundary
from streams.settings import load
from tests.load.backfill import Plays, backfill
from tests.privacy.test_boundary import EVERYTHING, NOW_MS, PLAY, PLAY_ID, batch, encoded, simulated

EARLIEST_MS, TOLERANCE_MS = 1_000_000_000_000, 300_000


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_years_imported_beside_live_traffic(kafka_cache: Path, tmp_path: Path) -> None:
    plays = Plays(imported=4_000, live=600, listeners=10, rate=500)
    async with ApacheBroker(kafka_cache) as broker:
        outcome = await backfill(broker, tmp_path, plays)
    assert outcome.problems == []
    assert outcome.sent == 600 + 4_000 + 750  # three of 16 pieces came twice
    assert outcome.arrived_s < 120


@pytest.fixture
def gate(tmp_path: Path) -> Boundary:
    keys.create(tmp_path / "key.hex")
    settings = load(
        key_file=tmp_path / "key.hex",
        earliest=EARLIEST_MS // 1_000,
        future_tolerance_s=TOLERANCE_MS // 1_000,
    )
    opened = boundary.from_settings(
        settings,
        schema_files.load(settings.schemas),
        policy.load(settings.policy),
        keyring.load(settings),
    )
    assert opened.open(PLAY_ID, PLAY) is None
    return opened


def rejected(gate: Boundary, moments: list[int], now_ms: int) -> dict[int, str]:
    """What is rejected of plays that began at ``moments``, and why."""
    play = next(each for each in simulated(20) if not each["private_session"])
    records = batch(encoded([{**copy.deepcopy(play), "started_at": moment} for moment in moments]))
    crossing = gate.cross(records, wire.split(records.values), EVERYTHING, now_ms)
    assert {each.reason for each in crossing.rejections} <= {Reason.IMPOSSIBLE_TIME}
    assert all(
        len(listens) + len(crossing.rejections) == len(moments)
        for listens in crossing.listens.values()
    )
    return {moments[each.row]: each.detail for each in crossing.rejections}


def test_the_bounds_are_exact_to_the_millisecond(gate: Boundary) -> None:
    latest = NOW_MS + TOLERANCE_MS
    moments = [EARLIEST_MS - 1, EARLIEST_MS, NOW_MS, latest, latest + 1, 2**62]
    assert rejected(gate, moments, NOW_MS) == {
        EARLIEST_MS - 1: "started_at before the earliest",
        latest + 1: "started_at in the future",
        2**62: "started_at in the future",
    }


@pytest.mark.parametrize("step_s", [-3_600, -300, -299, 0, 299, 3_600])
def test_a_clock_that_steps_moves_the_bound_and_nothing_else(gate: Boundary, step_s: int) -> None:
    now_ms = NOW_MS + step_s * 1_000
    moments = [NOW_MS + seconds * 1_000 for seconds in range(-4_000, 4_001, 100)]
    late = {moment for moment in moments if moment > now_ms + TOLERANCE_MS}
    assert rejected(gate, moments, now_ms).keys() == late
    assert rejected(gate, moments, NOW_MS).keys() == {
        moment for moment in moments if moment > NOW_MS + TOLERANCE_MS
    }
