"""``python -m tests.load.recovery``: how long a worker takes to have a million listeners back.

Fills the topics of the taste role on real Apache Kafka, as checkpoints would have, with states of
`tests.load.states`, some of them in an older version first, listens to look back on, commands and
rekeys. Then a worker's role takes all partitions over in a process of its own, and is measured:
seconds by stage, memory, and what the listeners cost that are then needed. Writes
``var/load/recovery.json`` and prints a table.

A program, not a test: a busy machine changes its numbers; CPU seconds are changed least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from streams.agents import taste_recovery
from streams.agents.codecs import Codecs
from streams.agents.commands import Held
from streams.agents.intake import ListenReader
from streams.agents.role import Place
from streams.agents.taste import Taste
from streams.agents.taste_partition import POSITIONS_KEY, Positions
from streams.app.roles import codecs_of
from streams.app.worker import collecting_seldom
from streams.brokers.apache import ApacheBroker
from streams.privacy.policy import PRODUCT
from streams.settings import Kafka, Settings, load
from streams.taste.state import TasteState
from streams.topics import LISTENS, PRIVACY_COMMANDS, PRIVACY_REKEYS, TASTE_STATE, Topic
from streams.transport import reader
from streams.transport.admin import create_topics
from streams.transport.claims import OpenClaim
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import partition_reader
from tests.load import states
from tests.load.clock import Clock

OUT = Path("var/load/recovery.json")
JARS = Path("var/kafka")
PAGE = 5_000
EPOCH = 2
ABSENT = ("artist_mbid", "country", "device_class", "context_type")
STAGES = ("read", "newest", "unpack", "load", "look back", "commands", "other")
err = Console(stderr=True)


class Fill:
    """Writes what workers would have left behind, partition by partition."""

    def __init__(self, settings: Settings, codecs: Codecs, asked: argparse.Namespace) -> None:
        self._settings, self._codecs, self._asked = settings, codecs, asked
        self._dump = states.states(asked.distinct)
        self._share = asked.listeners // asked.partitions
        self.bytes = 0
        """Of the newest states, as they are in Kafka."""

    async def run(self) -> None:
        """Fill all partitions."""
        self._states = await self._codecs.columns(TASTE_STATE)
        async with open_producer(self._settings.kafka, idempotent=True) as self._producer:
            for number in range(self._asked.partitions):
                await self._partition(number)

    async def _partition(self, number: int) -> None:
        names = [pseudonym(number, each) for each in range(self._share)]
        listens = self._settings.duplicate_horizon + 1
        rekeys, commands = (
            each // self._asked.partitions for each in (self._asked.rekeys, self._asked.commands)
        )
        await self._listens(number, names, listens)
        await self._rows(PRIVACY_REKEYS, number, _rekeys(number, names, rekeys))
        for begin in range(0, commands, PAGE):
            await self._commands(number, names, range(begin, min(begin + PAGE, commands)))
        stale = round(self._share * self._asked.stale)
        for share, shift in ((stale, 1), (self._share, 0)):
            for begin in range(0, share, PAGE):
                await self._page(number, names[begin : min(begin + PAGE, share)], begin + shift)
        positions = Positions(listens, {0: listens}, commands, rekeys)
        await self._send(TASTE_STATE, number, [POSITIONS_KEY], self._states.encode(positions.row()))

    async def _page(self, number: int, names: list[str], first: int) -> None:
        chosen = [(first + each) % self._asked.distinct for each in range(len(names))]
        rows = pl.DataFrame(
            {
                "listens_offset": [self._dump.offsets[each] for each in chosen],
                "body": [self._dump.bodies[each] for each in chosen],
            }
        )
        values = self._states.encode(rows)
        self.bytes += sum(map(len, values)) if first % PAGE == 0 else 0
        await self._send(TASTE_STATE, number, [name.encode() for name in names], values)

    async def _listens(self, number: int, names: list[str], count: int) -> None:
        rng = np.random.default_rng(number)
        world = states.World.drawn(rng)
        few = pl.concat([states.listens(world, rng, name) for name in names[:20]])
        for begin in range(0, count, len(few)):
            offset = np.arange(begin, min(begin + len(few), count))
            page = few[: len(offset)].with_columns(
                event=offset,
                source_partition=0,
                source_offset=offset,
                **dict.fromkeys(ABSENT, pl.lit(None, pl.String)),
            )
            await self._rows(LISTENS, number, page)

    async def _rows(self, topic: Topic, number: int, rows: pl.DataFrame) -> None:
        values = (await self._codecs.columns(topic)).encode(rows)
        await self._send(topic, number, [b"key"] * len(values), values)

    async def _commands(self, number: int, names: list[str], numbers: range) -> None:
        encoder = await self._codecs.records(PRIVACY_COMMANDS)
        values = encoder.encode(
            {
                "request": pseudonym(number, each, 0),
                "audience": PRODUCT,
                "listener": names[each % len(names)],
                "action": "erase",
                "before": 0,
                "issued_at": 0,
            }
            for each in numbers
        )
        await self._send(PRIVACY_COMMANDS, number, [b"key"] * len(values), values)

    async def _send(
        self, topic: Topic, number: int, keys: list[bytes], values: list[bytes]
    ) -> None:
        await send_records(self._producer, topic.name, number, keys, values)


def pseudonym(partition: int, number: int, epoch: int = EPOCH) -> str:
    """As the gate makes them: 32 hexadecimal digits."""
    return blake2b(f"{partition} {number} {epoch}".encode(), digest_size=16).hexdigest()


def _rekeys(partition: int, names: list[str], count: int) -> pl.DataFrame:
    chosen = [number % len(names) for number in range(count)]
    return pl.DataFrame(
        {
            "audience": [PRODUCT] * count,
            "old": [pseudonym(partition, number, EPOCH - 1) for number in chosen],
            "new": [names[number] for number in chosen],
            "epoch": [EPOCH] * count,
            "issued_at": [0] * count,
        },
        schema_overrides={"epoch": pl.Int32},
    )


def watch_all(clock: Clock) -> None:
    """Count the stages of a recovery."""
    read_span, load_many = reader.read_span, TasteState.load_many

    async def spans(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        batches = read_span(*args, **kwargs)
        while True:
            with clock.stage("read"):
                batch = await anext(batches, None)
            if batch is None:
                return
            yield batch

    def loaded(*args: Any) -> None:
        with clock.stage("load"):
            load_many(*args)

    taste_recovery.read_span = spans  # type: ignore[attr-defined]
    TasteState.load_many = loaded  # type: ignore[method-assign, assignment]
    clock.watch(taste_recovery, "newest_records", "newest")
    clock.watch(Codecs, "tails", "unpack")
    clock.watch(ListenReader, "look_back", "look back")
    clock.watch(Held, "load", "commands")


class Alone:
    """A claimant where nobody else is."""

    async def send_records(
        self, topic: str, partition: int, keys: Iterable[bytes | None], values: Iterable[Any]
    ) -> int:
        raise AssertionError("a recovery writes nothing")

    async def claim(self, name: str) -> OpenClaim:
        return OpenClaim(self.send_records)


async def take_over(kafka: Kafka, asked: argparse.Namespace) -> dict[str, Any]:
    """Take all partitions over; what it took. For a process of its own."""
    settings = settings_for(kafka)
    taste, clock = Taste(settings, codecs_of(settings)), Clock()
    watch_all(clock)
    async with partition_reader(kafka) as consumer:
        await taste.start(Alone(), consumer)
        places: set[Place] = {
            (topic.name, number) for topic in taste.inputs for number in range(asked.partitions)
        }
        before, began = memory(), time.monotonic()
        with clock.stage("other"):
            await taste.resume(places, 1)
        seconds = time.monotonic() - began
        after, peak = memory(), peak_memory()
        held = [partition.state for partition in taste._partitions.values()]
        listeners = sum(state.listeners for state in held)
        assert listeners == asked.listeners // asked.partitions * asked.partitions
        woken_s, woken = wake(held[0], [pseudonym(0, each) for each in range(asked.woken)])
    await taste.stop()
    return {
        "listeners": listeners,
        "partitions": asked.partitions,
        "seconds": seconds,
        "cpu_s": sum(clock.cpu.values()),
        "stages": {name: [clock.wall[name], clock.cpu[name]] for name in STAGES},
        "rss_before_mb": before / 1e6,
        "rss_mb": after / 1e6,
        "peak_rss_mb": peak / 1e6,
        "bytes_per_listener": (after - before) / listeners,
        "woken": woken,
        "woken_cpu_us": woken_s / max(1, woken) * 1e6,
        "woken_bytes": (memory() - after) / max(1, woken),
    }


def wake(state: TasteState, names: list[str]) -> tuple[float, int]:
    """CPU seconds that it takes until listeners can be folded into, and how many there were."""
    began = time.process_time()
    there = sum(state.span(name) is not None for name in names[:1])
    state.rename_many([(name, name, 0) for name in names])
    return time.process_time() - began, len(names) if there else 0


def memory() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_memory() -> int:
    """The most of it so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def settings_for(kafka: Kafka) -> Settings:
    """The defaults, but for the broker."""
    return load(brokers=kafka.brokers)


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Fill a broker, and have a process of its own take over."""
    async with ApacheBroker(JARS) as broker:
        settings = settings_for(broker.kafka)
        topics = (LISTENS, PRIVACY_COMMANDS, PRIVACY_REKEYS, TASTE_STATE)
        await create_topics(broker.kafka, topics, asked.partitions, 1)
        fill = Fill(settings, codecs_of(settings), asked)
        began = time.monotonic()
        await fill.run()
        err.print(f"filled in {time.monotonic() - began:.0f} s")
        command = [sys.executable, "-m", "tests.load.recovery", *sys.argv[1:]]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, "--worker", broker.address],
            stdout=subprocess.PIPE,
            check=True,
        )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # logs come first
    load_1m = os.getloadavg()[0]
    return result | {
        "date": date.today().isoformat(),
        "state_bytes": fill.bytes / asked.listeners,
        "load": load_1m,
        "asked": vars(asked),
    }


def table(result: dict[str, Any]) -> Table:
    """The result for people."""
    count = result["listeners"]
    shown = Table(title=f"{count:,} listeners, {result['partitions']} partitions, one worker")
    for column in ("stage", "seconds", "CPU s", "CPU us/listener"):
        shown.add_column(column, justify="right" if column != "stage" else "left")
    rows = {**result["stages"], "total": [result["seconds"], result["cpu_s"]]}
    for name, (wall, cpu) in rows.items():
        shown.add_row(name, f"{wall:.2f}", f"{cpu:.2f}", f"{cpu / count * 1e6:.2f}")
    shown.caption = (
        f"{count / result['seconds']:,.0f} listeners/s, {result['state_bytes']:,.0f} bytes of"
        f" state each; {result['bytes_per_listener']:,.0f} bytes of memory each, peak"
        f" {result['peak_rss_mb']:,.0f} MB; once needed {result['woken_cpu_us']:.1f} us and"
        f" {result['woken_bytes']:,.0f} bytes more each; load {result['load']:.1f}"
    )
    return shown


def main() -> None:
    """Read the command line, measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.recovery")
    parser.add_argument("--listeners", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--stale", type=float, default=0.3, help="share with an older record")
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--rekeys", type=int, default=0)
    parser.add_argument("--distinct", type=int, default=1_000, help="states that are drawn")
    parser.add_argument("--woken", type=int, default=20_000, help="listeners needed afterwards")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        with collecting_seldom():
            print(json.dumps(asyncio.run(take_over(Kafka(asked.worker), asked))))
        return
    result = asyncio.run(measure(asked))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=2) + "\n")
    Console().print(table(result))


if __name__ == "__main__":
    main()
