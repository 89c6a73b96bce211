"""Readiness and liveness by positions, with a clock of our own."""

from __future__ import annotations

from streams.app.progress import LONGEST_LOOK_S, Progress
from streams.transport.driver import Seen

FIRST, SECOND = ("plays", 0), ("plays", 1)
FETCHING, WORKING = Seen(0, 0, None), Seen(10, 1, None)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A progress of which somebody looks every second; ready within 60 s, exits after 300 s."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.progress = Progress(60.0, 300.0, self.clock)
        self.ends = {FIRST: 0, SECOND: 0}
        self.seen: dict[tuple[str, int], Seen] = {}
        self.restored = 0.0

    def look(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.clock.now += 1.0
            self.progress.look(self.ends, self.seen, self.restored)

    def stalled(self) -> list[str]:
        return [each.split(":")[0] for each in self.progress.troubles()]


def watched(*places: tuple[str, int]) -> Watched:
    one = Watched()
    one.progress.assign(set(places))
    one.look()
    return one


def test_not_ready_before_partitions_are_assigned_and_during_a_rebalance() -> None:
    one = Watched()
    assert one.progress.troubles()
    one.progress.assign({FIRST})
    assert not one.progress.troubles()
    one.progress.unassign()
    assert one.progress.troubles()


def test_lag_without_a_commit_is_trouble_after_the_stall_time_only() -> None:
    one = watched(FIRST, SECOND)
    one.ends[FIRST] = 50
    one.look(60)
    assert not one.progress.troubles()
    one.look()
    assert one.stalled() == ["plays/0"]
    one.progress.committed(*FIRST, 10)
    assert not one.progress.troubles()
    one.look(61)
    one.progress.committed(*FIRST, 10)  # the same offset again is no progress
    assert one.stalled() == ["plays/0"]
    one.progress.committed(*FIRST, 50)
    assert not one.progress.troubles()


def test_trouble_becomes_a_fault_after_the_exit_time() -> None:
    one = watched(FIRST)
    one.ends[FIRST] = 50
    one.look(300)
    assert one.progress.fault() is None
    one.look()
    assert one.progress.fault() == (
        "plays/0: 50 records of lag and no commit for 301 s; nothing is fetched."
    )
    one.progress.committed(*FIRST, 1)
    assert one.progress.fault() is None


def test_the_fault_says_what_does_not_go_on() -> None:
    hangs = {
        FETCHING: "nothing is fetched",
        WORKING: "a batch was fetched and is not finished",
        Seen(10, 0, 10): "what is finished is not committed",
        Seen(20, 1, 10): "what is finished is not committed",
    }
    for seen, said in hangs.items():
        one = watched(FIRST)
        one.ends[FIRST], one.seen[FIRST] = 50, seen
        one.look(301)
        assert said in (one.progress.fault() or "")


def test_idle_is_well_and_new_records_start_the_clock() -> None:
    one = watched(FIRST)
    one.ends[FIRST] = 50
    one.progress.committed(*FIRST, 50)
    one.look(1_000)
    one.ends[FIRST] = 51
    one.look(60)
    assert not one.progress.troubles()
    one.look()
    assert one.progress.troubles()


def test_what_was_read_to_its_end_is_no_lag_though_less_was_committed() -> None:
    # A transaction's mark, or records that retention removed, are never delivered.
    one = watched(FIRST)
    one.ends[FIRST] = 51
    one.progress.committed(*FIRST, 50)
    one.seen[FIRST] = Seen(51, 0, 50)
    one.look(1_000)
    assert not one.progress.troubles()
    assert one.progress.fault() is None
    one.seen[FIRST] = Seen(51, 1, 50)  # unless some of it is still to be finished
    one.look(301)
    assert one.progress.fault()


def test_a_partition_given_up_is_watched_no_longer() -> None:
    one = watched(FIRST, SECOND)
    one.ends[FIRST] = 5
    one.look(100)
    one.progress.assign({SECOND})
    assert not one.progress.troubles()


def test_a_rebalance_that_does_not_end_is_a_fault_unless_state_is_being_restored() -> None:
    one = watched(FIRST)
    one.progress.unassign()
    for _ in range(1_000):
        one.restored += 1
        one.look()
    assert one.progress.fault() is None
    one.look(301)
    assert "a rebalance does not end" in (one.progress.fault() or "")
    one.progress.assign({FIRST})
    assert one.progress.fault() is None


def test_a_silent_kafka_is_not_ready_and_no_fault() -> None:
    one = watched(FIRST)
    one.ends[FIRST] = 50
    one.look(200)
    for _ in range(1_000):
        one.clock.now += 1.0
        one.progress.unreachable("KafkaTimeoutError")
    assert one.progress.troubles() == ["Kafka does not answer: KafkaTimeoutError."]
    assert one.progress.fault() is None
    one.look()  # the time of silence is not held against the worker, what was before is
    assert one.stalled() == ["plays/0"]
    assert one.progress.fault() is None
    one.look(101)
    assert one.progress.fault() is not None


def test_a_process_that_was_stopped_is_given_time() -> None:
    one = watched(FIRST)
    one.ends[FIRST] = 50
    one.look()
    one.clock.now += 10_000.0
    one.look()
    assert not one.progress.troubles()
    one.look(int(300 - LONGEST_LOOK_S) + 1)
    assert one.progress.fault()


def test_topics_are_watched_apart() -> None:
    one = watched(FIRST, ("consent", 0))
    one.ends |= {FIRST: 5, ("consent", 0): 7}
    one.progress.committed("consent", 0, 7)
    one.look(61)
    assert one.stalled() == ["plays/0"]
