"""The peer in Bytewax: a dataflow with recovery on and a timer for each changed listener.

Bytewax keeps its place in a recovery store of its own, not in Kafka: an epoch ends as often as
profiles are wanted, and then offsets and the state of every key that changed go to SQLite. Counts
are summed up within each batch before they go to their keys, and come out when the input ends.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from tests.bench.peers import job

GUARANTEE = "at least once, state and offsets in SQLite"


class Taste(StatefulBatchLogic):  # type: ignore[misc]  # without types where it is not installed
    """The state of one listener; tells the profile so long after a change."""

    def __init__(self, every: timedelta, resumed: job.State | None) -> None:
        self._every = every
        self._state = resumed or job.empty()
        self._due = datetime.now(UTC) if resumed else None

    def on_batch(self, values: list[job.Play]) -> tuple[Iterable[bytes], bool]:
        """Fold plays."""
        for play in values:
            job.fold(self._state, play)
        if self._due is None:
            self._due = datetime.now(UTC) + self._every
        return (), self.RETAIN

    def on_notify(self) -> tuple[Iterable[bytes], bool]:
        """It is time to tell the profile."""
        self._due = None
        return (orjson.dumps(job.profile(self._state)),), self.RETAIN

    def on_eof(self) -> tuple[Iterable[bytes], bool]:
        """No more plays."""
        return self.on_notify() if self._due is not None else ((), self.RETAIN)

    def notify_at(self) -> datetime | None:
        """When to tell the profile next."""
        return self._due

    def snapshot(self) -> job.State:
        """A copy of the state for recovery."""
        return {
            "plays": self._state["plays"],
            "artists": {item: list(each) for item, each in self._state["artists"].items()},
            "genres": {item: list(each) for item, each in self._state["genres"].items()},
        }


def build(task: job.Job, meter: job.Meter) -> Dataflow:
    """The dataflow."""
    every = timedelta(seconds=task.emit_every_s)

    def decode(records: list[Any]) -> list[job.Play]:
        if records:
            meter.begin()
        return [job.decode(record.value) for record in records]

    def count(plays: list[job.Play]) -> Iterable[tuple[str, int]]:
        return Counter(key for play in plays for key in job.cells(play)).items()

    flow = Dataflow("peer")
    source = KafkaSource([task.brokers], [task.input], tail=False)
    plays = op.flat_map_batch("decode", op.input("plays", flow, source), decode)
    listeners = op.key_on("listener", plays, lambda play: play.listener)
    profiles = op.stateful_batch("taste", listeners, lambda resumed: Taste(every, resumed))
    cells = op.reduce_final("sum", op.flat_map_batch("count", plays, count), operator.add)
    told = op.map("profile", profiles, lambda pair: message(task.profiles, *pair))
    summed = op.map("cell", cells, lambda pair: message(task.cells, pair[0], b"%d" % pair[1]))
    op.output("out", op.merge("all", told, summed), KafkaSink([task.brokers], topic=None))
    return flow


def message(topic: str, key: str, value: bytes) -> Any:
    """A record for ``topic``."""
    return KafkaSinkMessage(key.encode(), value, topic=topic)


def run(task: job.Job) -> None:
    """Until the end of the input."""
    meter = job.Meter(task)
    init_db_dir(task.folder, 1)
    cli_main(
        build(task, meter),
        epoch_interval=timedelta(seconds=task.emit_every_s),
        recovery_config=RecoveryConfig(str(task.folder)),
    )
    meter.write(GUARANTEE)


if __name__ == "__main__":
    run(job.arguments())
