"""The peer in Pathway: a stateful reducer by listener, counts by its own `groupby`.

Pathway has no timers: what it read in the time between two commits is one step, after which each
changed profile goes out once, so the connector commits as often as profiles are wanted. Output goes
through `subscribe` and a producer, as Pathway's own writer would write the former profile, too. A
topic has no end for it, so the program counts plays and leaves when the step with the last one is
over. Its reader commits offsets on a timer of the client's, whatever has become of the plays.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pathway as pw
from confluent_kafka import Producer

from tests.bench.peers import job
from tests.bench.peers.by_hand_confluent import open_producer, send

GUARANTEE = "none: state in memory only, offsets committed on a timer"


class Output:
    """Takes changes of both tables, sends profiles, and ends the program after the last step."""

    def __init__(self, task: job.Job, meter: job.Meter, producer: Producer) -> None:
        self._task, self._meter, self._producer = task, meter, producer
        self._changed: dict[str, bytes] = {}
        self._cells: Counter[str] = Counter()
        self._folded = 0
        self._ended = {"profiles": -1, "cells": -1}

    def profile(self, row: dict[str, Any], is_addition: bool, **_: Any) -> None:
        """A profile came or went."""
        if is_addition:
            self._changed[row["listener"]] = row["profile"]
            self._folded += row["plays"]
        else:
            self._folded -= row["plays"]

    def cell(self, row: dict[str, Any], is_addition: bool, **_: Any) -> None:
        """A count came or went."""
        if is_addition:
            self._cells[row["cell"]] = row["count"]

    def end_profiles(self, time: int) -> None:
        """All profiles of a step are known."""
        records = ((key, orjson.Fragment(value)) for key, value in self._changed.items())
        send(self._producer, self._task.profiles, records)
        self._changed.clear()
        self._end("profiles", time)

    def end_cells(self, time: int) -> None:
        """All counts of a step are known."""
        self._end("cells", time)

    def _end(self, table: str, time: int) -> None:
        self._ended[table] = time
        if self._folded == self._task.events and len(set(self._ended.values())) == 1:
            send(self._producer, self._task.cells, self._cells.items())
            self._meter.write(GUARANTEE)
            os._exit(0)  # Pathway goes on until its process ends


def build(task: job.Job, output: Output, meter: job.Meter) -> None:
    """The dataflow."""

    def decode(value: bytes) -> pw.PyObjectWrapper[job.Play]:
        meter.begin()
        return pw.wrap_py_object(job.decode(value))

    def listener(play: pw.PyObjectWrapper[job.Play]) -> str:
        found: str = play.value.listener
        return found

    def cells(play: pw.PyObjectWrapper[job.Play]) -> list[str]:
        return job.cells(play.value)

    def taste(known: Any, rows: list[tuple[list[Any], int]]) -> tuple[int, bytes, Any]:
        state = known[2].value if known is not None else job.empty()
        for (play,), times in rows:  # a play sent twice is one row
            for _ in range(times):
                job.fold(state, play.value)
        return state["plays"], orjson.dumps(job.profile(state)), pw.wrap_py_object(state)

    settings = {
        "bootstrap.servers": task.brokers,
        "group.id": task.group,
        "auto.offset.reset": "earliest",
    }
    every_ms = int(task.emit_every_s * 1_000)
    records = pw.io.kafka.read(settings, task.input, format="raw", autocommit_duration_ms=every_ms)
    plays = records.select(play=pure(decode)(pw.this.data))
    plays = plays.select(pw.this.play, listener=pure(listener)(pw.this.play))
    told = pw.reducers.stateful_many(taste)(pw.this.play)
    folded = plays.groupby(pw.this.listener).reduce(pw.this.listener, told=told)
    profiles = folded.select(pw.this.listener, plays=pw.this.told[0], profile=pw.this.told[1])
    keys = plays.select(cell=pure(cells)(pw.this.play)).flatten(pw.this.cell)
    counts = keys.groupby(pw.this.cell).reduce(pw.this.cell, count=pw.reducers.count())
    pw.io.subscribe(profiles, output.profile, on_time_end=output.end_profiles)
    pw.io.subscribe(counts, output.cell, on_time_end=output.end_cells)


def pure(function: Callable[..., Any]) -> Any:
    """The same for columns; what they answer need not be kept."""
    return pw.udf(function, deterministic=True)


def run(task: job.Job) -> None:
    """Until everything is folded and sent."""
    meter = job.Meter(task)
    build(task, Output(task, meter, open_producer(task)), meter)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    run(job.arguments())
