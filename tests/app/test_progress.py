"""Readiness: by positions, with a clock of our own."""

from __future__ import annotations

from streams.app.progress import Progress

FIRST, SECOND = ("plays", 0), ("plays", 1)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_not_ready_before_partitions_are_assigned_and_during_a_rebalance() -> None:
    progress = Progress(60.0, Clock())
    assert progress.troubles()
    progress.assign({FIRST})
    assert not progress.troubles()
    progress.unassign()
    assert progress.troubles()


def test_lag_without_a_commit_is_trouble_after_the_stall_time_only() -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    progress.assign({FIRST, SECOND})
    progress.ends("plays", {0: 50, 1: 0})
    clock.now += 60.0
    assert not progress.troubles()
    clock.now += 1.0
    assert [each.split()[0] for each in progress.troubles()] == ["plays/0:"]
    progress.committed(*FIRST, 10)
    assert not progress.troubles()
    clock.now += 61.0
    assert progress.troubles()
    progress.committed(*FIRST, 10)  # the same offset again is no progress
    assert progress.troubles()
    progress.committed(*FIRST, 50)
    assert not progress.troubles()


def test_idle_is_well_and_new_records_start_the_clock() -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    progress.assign({FIRST})
    progress.committed(*FIRST, 50)
    clock.now += 10_000.0
    progress.ends("plays", {0: 50})
    progress.ends("plays", {0: 51})
    assert not progress.troubles()
    clock.now += 61.0
    assert progress.troubles()


def test_a_partition_given_up_is_watched_no_longer() -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    progress.assign({FIRST, SECOND})
    progress.ends("plays", {0: 5, 1: 0})
    clock.now += 100.0
    progress.assign({SECOND})
    assert not progress.troubles()


def test_topics_are_watched_apart() -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    progress.assign({FIRST, ("consent", 0)})
    progress.ends("plays", {0: 5})
    progress.ends("consent", {0: 7})
    progress.committed("consent", 0, 7)
    clock.now += 61.0
    assert [each.split()[0] for each in progress.troubles()] == ["plays/0:"]
