"""Readiness: by positions, with a clock of our own."""

from __future__ import annotations

from streams.app.progress import Progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_not_ready_before_partitions_are_assigned_and_during_a_rebalance() -> None:
    progress = Progress("plays", 60.0, Clock())
    assert progress.troubles()
    progress.assign({0})
    assert not progress.troubles()
    progress.unassign()
    assert progress.troubles()


def test_lag_without_a_commit_is_trouble_after_the_stall_time_only() -> None:
    clock = Clock()
    progress = Progress("plays", 60.0, clock)
    progress.assign({0, 1})
    progress.ends({0: 50, 1: 0})
    clock.now += 60.0
    assert not progress.troubles()
    clock.now += 1.0
    assert [each.split()[0] for each in progress.troubles()] == ["plays/0:"]
    progress.committed(0, 10)
    assert not progress.troubles()
    clock.now += 61.0
    assert progress.troubles()
    progress.committed(0, 10)  # the same offset again is no progress
    assert progress.troubles()
    progress.committed(0, 50)
    assert not progress.troubles()


def test_idle_is_well_and_new_records_start_the_clock() -> None:
    clock = Clock()
    progress = Progress("plays", 60.0, clock)
    progress.assign({0})
    progress.committed(0, 50)
    clock.now += 10_000.0
    progress.ends({0: 50})
    progress.ends({0: 51})
    assert not progress.troubles()
    clock.now += 61.0
    assert progress.troubles()


def test_a_partition_given_up_is_watched_no_longer() -> None:
    clock = Clock()
    progress = Progress("plays", 60.0, clock)
    progress.assign({0, 1})
    progress.ends({0: 5, 1: 0})
    clock.now += 100.0
    progress.assign({1})
    assert not progress.troubles()
