"""The model's units and sums, by hand for round figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.load.model import MEASURED, Measured, Target, disk_bytes, limits, need, traffic_gb_s

ROUND = Measured(
    gate_cpu_s=20.0,
    taste_cpu_s=10.0,
    emission_cpu_s=0.0,
    report_cpu_s=5.0,
    report_listens_s=100_000.0,
    kafka_cpu_s_gb=10.0,
    play_bytes=400.0,
    listen_bytes=200.0,
    analytics_bytes=100.0,
    state_bytes=2_000.0,
    profile_bytes=1_000.0,
    consent_bytes=50.0,
    listens_per_play=1.0,
    fact_bytes=40.0,
    listener_bytes=1_000.0,
    gate_listener_bytes=200.0,
    gate_decision_us=10.0,
    takeover_s=30.0,
    release_s=60.0,
    worker_mb=100.0,
)
TARGET = Target(
    listeners=10e6,
    peak_plays_s=100_000.0,
    plays_a_day=8.64,
    busy=0.5,
    replication=1,
    takeover_s=30.0,
    core_hour=0.1,
)


def test_cores_are_cpu_seconds_a_second_over_the_share_that_may_be_used() -> None:
    found = need(TARGET, ROUND)
    assert found.gate_cores == pytest.approx(4.0)  # 0.1 million plays a second at 20 s
    assert found.taste_cores == pytest.approx(2.0)
    assert found.report_cores == pytest.approx(1.0)
    assert found.cores == pytest.approx(7.0 + found.kafka_cores)
    assert found.monthly_cost == pytest.approx(found.cores * 73.0)
    emissions = replace(ROUND, emission_cpu_s=5.0)
    assert need(TARGET, emissions).taste_cores == pytest.approx(3.0, rel=0.02)


def test_profiles_come_once_for_each_listener_that_changed() -> None:
    assert TARGET.emissions_s == pytest.approx(100_000.0 * MEASURED.listens_per_play, rel=0.02)
    rarely = replace(TARGET, checkpoint_s=1e6)
    assert rarely.emissions_s == pytest.approx(10e6 / 1e6)


def test_traffic_counts_every_copy_once_in_and_once_out() -> None:
    still = replace(ROUND, state_bytes=0.0, profile_bytes=0.0)
    assert traffic_gb_s(TARGET, still) == pytest.approx((0.07, 0.07))
    thrice = replace(TARGET, replication=3)
    assert traffic_gb_s(thrice, still) == pytest.approx((0.21, 0.21))
    found = need(thrice, still)
    assert found.kafka_cores == pytest.approx(0.42 * 10.0 / 0.5)
    profiles = TARGET.emissions_s * 3_000.0 / 1e9
    assert traffic_gb_s(TARGET, ROUND) == pytest.approx((0.07 + profiles, 0.07))


def test_disks_hold_what_retention_keeps_of_average_days() -> None:
    assert TARGET.average_plays_s == pytest.approx(1_000.0)
    day = 1_000.0 * 86_400
    kept = day * (7 * 400.0 + 30 * 200.0 + 30 * 100.0)
    compacted = 2 * 10e6 * (2_000.0 + 1_000.0 + 2 * 50.0)
    assert disk_bytes(TARGET, ROUND) == pytest.approx(kept + compacted)
    found = need(replace(TARGET, replication=3), ROUND)
    assert found.kafka_disk_tb == pytest.approx(3 * (kept + compacted) / 1e12)
    assert found.warehouse_gb_day == pytest.approx(day * 40.0 / 1e9)


def test_every_gate_knows_everybody_and_tastes_share_the_listeners() -> None:
    found = need(TARGET, ROUND)
    assert found.gates == 4
    assert found.gate_memory_gb == pytest.approx(4 * (2.0 + 0.1))
    assert found.taste_memory_gb == pytest.approx(10.0 + found.tastes * 0.1)
    narrow = need(replace(TARGET, worker_memory_gb=1.1), ROUND)
    assert narrow.tastes == 10
    assert narrow.taste_memory_gb == pytest.approx(11.0)


def test_there_are_partitions_for_all_workers_and_for_quick_takeovers() -> None:
    assert need(TARGET, ROUND).partitions == 16  # of 10 million listeners, a million in 30 s
    assert need(replace(TARGET, takeover_s=300.0), ROUND).partitions == 4


def test_the_limit_that_is_met_first_is_named_first() -> None:
    found = limits(TARGET, ROUND)
    times = {each.name: each.times for each in found}
    assert times["releases from one DuckDB"] == pytest.approx(10.0)
    assert times["a gate's start reads all consents"] == pytest.approx(200.0 / 60.0)
    assert times["a gate's memory holds all consents"] == pytest.approx(2.0 / 15.9)
    assert times["one report writes, average day"] == pytest.approx(0.01)
    assert times["one report writes, busiest second"] == pytest.approx(1.0)
    assert [each.times for each in found] == sorted(times.values(), reverse=True)
