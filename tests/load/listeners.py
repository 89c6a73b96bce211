"""``python -m tests.load.listeners``: what a worker of taste takes with 50,000 and with a million.

A role in a process of its own, writing to real Apache Kafka, has so many listeners with some
sessions each. Measured are the memory they take while they rest, listens in sessions with a
checkpoint behind every 200,000, and checkpoints of 100,000 changed listeners: who rested before,
and who did not. Listens come unpacked, not from Kafka. Writes ``var/load/listeners.json`` and
prints a table.

A program, not a test: a busy machine changes its numbers; compare within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from streams.agents.taste import Taste
from streams.app.roles import codecs_of
from streams.app.worker import collecting_seldom
from streams.brokers.apache import ApacheBroker
from streams.settings import Kafka, load
from streams.taste.decay import BAND, DAY, MINUTE_MS
from streams.taste.state import PATIENCE
from streams.topics import ALL, LISTENS
from streams.transport.admin import create_topics
from streams.transport.batch import RecordBatch
from streams.transport.claims import Claim, OpenClaim
from streams.transport.producer import BATCH_BYTES, REQUEST_BYTES
from streams.transport.reader import partition_reader
from tests.load.recovery import ABSENT, JARS, Alone, memory, peak_memory, pseudonym
from tests.load.states import ARTISTS, World

OUT = Path("var/load/listeners.json")
SESSION = 6
"""Listens of a session."""
FILLED = 60_000
"""Sessions between two checkpoints of the history."""
CHECKPOINT = 200_000
"""Listens between two checkpoints that are measured."""
CHANGED = 100_000
END = 20_300 * DAY
err = Console(stderr=True)


class Sender(Alone):
    """Claims as a worker makes them."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka

    async def claim(self, name: str) -> Claim | OpenClaim:  # type: ignore[override]
        """A transactional id of Kafka's."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka.brokers,
            transactional_id=name,
            max_batch_size=BATCH_BYTES,
            max_request_size=REQUEST_BYTES,
        )
        return await Claim.take(producer)


class Listeners:
    """Sessions of ``count`` listeners, each with a taste of its own."""

    def __init__(self, count: int, partitions: int) -> None:
        self.count, self.partitions = count, partitions
        self.rng = np.random.default_rng(1)
        world = World.drawn(self.rng)
        self._names = pl.Series(
            [pseudonym(each % self.partitions, each) for each in range(self.count)]
        )
        self._artists, self._genres = pl.Series(world.artists), pl.Series(world.genres_of)
        self._offsets = np.zeros(self.partitions, np.int64)
        self._shuffled = self.rng.permutation(self.count)
        self._next = 0

    def sessions(self, count: int, listens: int = SESSION) -> Iterator[tuple[int, pl.DataFrame]]:
        """One session each of the next ``count`` listeners, by partition."""
        chosen = self._shuffled[np.arange(self._next, self._next + count) % self.count]
        self._next += count
        for number in range(self.partitions):
            its = np.repeat(chosen[chosen % self.partitions == number], listens)
            yield number, self._frame(number, self.rng.permutation(its))

    def back(self, count: int) -> None:
        """Have the last ``count`` listeners come next again."""
        self._next -= count

    def _frame(self, partition: int, who: NDArray[np.int64]) -> pl.DataFrame:
        count, rng = len(who), self.rng
        offset = self._offsets[partition] + np.arange(count)
        self._offsets[partition] += count
        favourites = (60 ** rng.random(count)).astype(np.int64) * 331
        artist = (favourites + who * 7_919) % ARTISTS
        return pl.DataFrame(
            {
                "offset": offset,
                "listener": self._names.gather(who),
                "epoch": pl.Series(np.full(count, 2), dtype=pl.Int32),
                "started_at": (END - rng.integers(0, BAND, count)) * MINUTE_MS,
                "ms_played": pl.Series(rng.integers(5, 300, count) * 1_000, dtype=pl.Int32),
                "completion": pl.Series(rng.integers(10, 101, count), dtype=pl.Int32),
                "counted": rng.random(count) < 0.9,
                "skipped": rng.random(count) < 0.1,
                "artist": self._artists.gather(artist),
                "genres": self._genres.gather(artist),
                "event": rng.integers(0, 2**62, count),
                "source_partition": pl.Series(np.full(count, partition), dtype=pl.Int32),
                "source_offset": offset,
                **{name: pl.Series([None] * count, dtype=pl.String) for name in ABSENT},
            }
        )


@dataclass(slots=True)
class Span:
    """Wall and CPU seconds of what runs within."""

    wall: float = 0.0
    cpu: float = 0.0

    def __enter__(self) -> None:
        self.wall -= time.monotonic()
        self.cpu -= time.process_time()

    def __exit__(self, *_: object) -> None:
        self.wall += time.monotonic()
        self.cpu += time.process_time()


async def run(kafka: Kafka, count: int, asked: argparse.Namespace) -> dict[str, Any]:
    """The role with ``count`` listeners. For a process of its own."""
    settings = load(brokers=kafka.brokers, partitions=asked.partitions)
    taste = Taste(settings, codecs_of(settings))
    encoder = await codecs_of(settings).columns(LISTENS)
    everyone = Listeners(count, asked.partitions)
    async with partition_reader(kafka) as reader:
        await taste.start(Sender(kafka), reader)
        places = {(topic.name, n) for topic in taste.inputs for n in range(asked.partitions)}
        await taste.resume(places, 1)
        before = memory()
        fill(taste, everyone, asked)
        rested = memory()

        async def through(listeners: int, listens: int) -> None:
            for number, frame in everyone.sessions(listeners, listens):
                for some in frame.iter_slices(20_000):
                    values = encoder.encode(some)
                    offsets = some["offset"].to_numpy()
                    batch = RecordBatch(
                        LISTENS.name, number, offsets, offsets, [None] * len(values), [*values], 0
                    )
                    with drained:
                        await taste.take(batch, lambda: None)

        drained, woken, last = Span(), Span(), Span()
        for _ in range(asked.rounds):
            await through(CHECKPOINT // SESSION, SESSION)
            with drained:
                await taste.checkpoint()
        rate = drained
        changed, drained = min(CHANGED, count), Span()
        for span in (woken, last):  # the same listeners
            await through(changed, 1)
            everyone.back(changed)
            with span:
                await taste.checkpoint()
        held = [partition.state for partition in taste._partitions.values()]
        found = {
            "listeners": sum(state.listeners for state in held),
            "resting": sum(state.resting for state in held),
            "plays_each": sum(everyone._offsets.tolist()) / count,
            "rested_bytes": (rested - before) / count,
            "bytes": (memory() - before) / count,
            "peak_rss_mb": peak_memory() / 2**20,
            "listens_per_s": asked.rounds * CHECKPOINT / rate.wall,
            "cpu_s_per_million": rate.cpu / asked.rounds / CHECKPOINT * 1e6,
            "woken_checkpoint_s": woken.wall,
            "checkpoint_s": last.wall,
            "checkpoint_cpu_s": last.cpu,
        }
    await taste.stop()
    return found


def fill(taste: Taste, everyone: Listeners, asked: argparse.Namespace) -> None:
    """A history of some sessions each, after which nobody is heard for long enough to rest."""
    states = {number: partition.state for number, partition in taste._partitions.items()}
    for _ in range(max(1, asked.sessions * everyone.count // FILLED)):
        for number, frame in everyone.sessions(min(FILLED, everyone.count)):
            states[number].fold(frame)
            states[number].checkpoint()
    for state in states.values():
        for _ in range(PATIENCE + everyone.count // 4_096 + 1):
            state.checkpoint()
    for number, partition in taste._partitions.items():
        partition.intake.next_offset = int(everyone._offsets[number])


async def measure(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Each number of listeners in a process of its own."""
    results = []
    for count in asked.listeners:
        async with ApacheBroker(JARS) as broker:
            await create_topics(broker.kafka, ALL, asked.partitions, 1)
            err.print(f"{count:,} listeners")
            command = [sys.executable, "-m", "tests.load.listeners", *sys.argv[1:]]
            command += ["--worker", broker.address, str(count)]
            done = await asyncio.to_thread(
                subprocess.run, command, stdout=subprocess.PIPE, check=True
            )
        results.append(json.loads(done.stdout.splitlines()[-1]))
    return results


def shown(results: list[dict[str, Any]]) -> Table:
    """A column for each number of listeners."""
    table = Table("", *(f"{each['listeners']:,}" for each in results), box=None)
    for name in results[0]:
        table.add_row(name.replace("_", " "), *(f"{each[name]:,.1f}" for each in results))
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.listeners")
    parser.add_argument("--listeners", type=int, nargs="+", default=[50_000, 1_000_000])
    parser.add_argument("--sessions", type=int, default=3, help="of each before it is measured")
    parser.add_argument("--rounds", type=int, default=5, help="checkpoints that are measured")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        address, count = asked.worker
        with collecting_seldom():
            print(json.dumps(asyncio.run(run(Kafka(address), int(count), asked))))
        return
    results = asyncio.run(measure(asked))
    Console().print(shown(results))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    written = {"load": round(os.getloadavg()[0], 1), "results": results}
    OUT.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
