"""The peer in Quix Streams: state in RocksDB with a changelog, changed profiles by a sink.

Plays do not come by listener, so `group_by` sends them through a topic of its own first, as state
needs. Quix Streams has no timers; what happens every so often is its checkpoint, at which a sink
sends the newest profile of each listener seen since. Cells are counted in memory, before that: as
state they would take one more trip through a topic for every genre of every play.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from confluent_kafka import Producer
from quixstreams import Application, State
from quixstreams.sinks import BaseSink

from tests.bench.peers import job
from tests.bench.peers.by_hand_confluent import open_producer, send

GUARANTEE = "at least once, profiles in RocksDB with a changelog, cells in memory only"


class Profiles(BaseSink):  # type: ignore[misc]  # without types where it is not installed
    """Sends changed profiles at each checkpoint, before the offsets are committed."""

    def __init__(self, topic: str, producer: Producer) -> None:
        super().__init__()
        self._topic, self._producer = topic, producer
        self._changed: dict[str, job.State] = {}

    def add(self, value: job.State, key: str, *_: Any, **__: Any) -> None:
        """Remember the newest state of a listener."""
        self._changed[key] = value

    def flush(self) -> None:
        """Send what has changed and wait until the broker has it."""
        changed = ((key, job.profile(state)) for key, state in self._changed.items())
        send(self._producer, self._topic, changed)
        self._changed.clear()


def build(task: job.Job) -> Application:
    """The application, a checkpoint as often as profiles are wanted."""
    return Application(
        broker_address=task.brokers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        commit_interval=task.emit_every_s,
        state_dir=task.folder,
        producer_extra_config={"linger.ms": 5},
        loglevel="WARNING",
    )


def run(task: job.Job) -> None:
    """Until everything is folded, sent and committed."""
    app, producer, meter = build(task), open_producer(task), job.Meter(task)
    cells: Counter[str] = Counter()
    folded = 0

    def decode(value: bytes) -> list[Any]:
        meter.begin()
        play = job.decode(value)
        for key in job.cells(play):
            cells[key] += 1
        return list(play)

    def fold(value: list[Any], state: State) -> job.State:
        nonlocal folded
        known: job.State = state.get("profile") or job.empty()
        job.fold(known, job.Play(*value))
        state.set("profile", known)
        folded += 1
        if folded == task.events:
            app.stop()
        return known

    plays = app.topic(task.input, value_deserializer="bytes")
    frame = app.dataframe(plays).apply(decode)
    frame = frame.group_by(
        lambda play: play[0], name="listener", key_serializer="str", key_deserializer="str"
    )
    frame.apply(fold, stateful=True).sink(Profiles(task.profiles, producer))
    app.run()  # returns after a last checkpoint
    send(producer, task.cells, cells.items())
    meter.write(GUARANTEE)


if __name__ == "__main__":
    run(job.arguments())
