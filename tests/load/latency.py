"""``python -m tests.load.latency``: from a play's arrival to its listen, profile and release.

Real Apache Kafka, one worker of each role, plays at a steady rate for minutes. A consumer notes
when each record of a topic could first be read; the releases are looked at as analysts would.
Arrival is the time that the client gave the play when it sent it. Prints the median, the 99th
percentile and the longest of all plays after a warm-up, and writes ``var/load/latency.json``.

A program, not a test: the times are those of the machine and what else runs there.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
from aiokafka import TopicPartition
from rich.console import Console
from rich.table import Table

from streams.app.roles import codecs_of
from streams.brokers.process import free_port
from streams.cli.choose import local_broker
from streams.cli.processes import Workers
from streams.privacy import keys
from streams.settings import Settings, load
from streams.sources.simulate import Simulation
from streams.topics import ALL, ANALYTICS_LISTENS, LISTENS, PLAYS, PROFILES, Topic
from streams.transport.admin import create_topics
from streams.transport.reader import end_offsets, partition_reader, read_span
from tests.load.flood import Flood, prepare

OUT = Path("var/load/latency.json")
WATCHED = (LISTENS, ANALYTICS_LISTENS, PROFILES)
LIMITS_MS = {"listen": 250, "profile": 2_000, "release": 90_000}
"""What the p99 is held against."""
_SOURCE = ("source_partition", "source_offset")
_LOOK_S = 0.5
_SETTLE_S = 15.0
"""Before the first play, and after the last release that is due."""
err = Console(stderr=True)


@dataclass(slots=True)
class Seen:
    """When what could first be read; times in milliseconds since 1970-01-01 UTC."""

    records: list[tuple[str, int, int, int]] = field(default_factory=list)
    """Topic, partition, offset of the last record of an answer, time."""
    releases: list[tuple[int, Mapping[int, int]]] = field(default_factory=list)
    """Time, and by partition of the analysts' listens the offset up to which they are included."""

    async def watch(self, settings: Settings) -> None:
        """Read everything as it comes, until cancelled."""
        partitions = [
            TopicPartition(topic.name, number)
            for topic in WATCHED
            for number in range(settings.partitions)
        ]
        async with partition_reader(settings.kafka) as reader:
            reader.assign(partitions)
            await reader.seek_to_beginning(*partitions)
            while True:
                answers = await reader.getmany(timeout_ms=1_000)
                now = _now_ms()
                for tp, records in answers.items():
                    if records:
                        self.records.append((tp.topic, tp.partition, records[-1].offset, now))

    async def look(self, released: Path) -> None:
        """Look at every release, until cancelled."""
        before = 0.0
        while True:
            changed = await asyncio.to_thread(_changed, released)
            if changed != before:
                now, before = _now_ms(), changed
                positions = await asyncio.to_thread(_positions, released)
                self.releases.append((now, positions))
            await asyncio.sleep(_LOOK_S)

    def frame(self, topic: Topic) -> pl.DataFrame:
        """Columns partition, offset and seen; every record up to the offset was there by then."""
        rows = [row[1:] for row in self.records if row[0] == topic.name]
        schema = {"partition": pl.Int64, "offset": pl.Int64, "seen": pl.Int64}
        return pl.DataFrame(rows, schema, orient="row").sort("offset")


def _now_ms() -> int:
    return int(time.time() * 1_000)


def _changed(released: Path) -> float:
    return released.stat().st_mtime if released.exists() else 0.0


def _positions(released: Path) -> Mapping[int, int]:
    with duckdb.connect(str(released), read_only=True) as connection:
        row = connection.execute("SELECT positions FROM release").fetchone()
    return (row and row[0]) or {}


async def contents(settings: Settings, topic: Topic, columns: Sequence[str]) -> pl.DataFrame:
    """A topic's records: partition, offset, time of sending, and columns of the record."""
    codecs, frames = codecs_of(settings), []
    async with partition_reader(settings.kafka) as reader:
        for number in await end_offsets(reader, topic.name):
            async for batch in read_span(reader, topic.name, number):
                place = {"partition": batch.partition, "offset": batch.offsets}
                frame = pl.DataFrame({**place, "sent": batch.timestamps})
                if columns:
                    values = [value or b"" for value in batch.values]
                    frame = pl.concat(
                        [frame, await codecs.decode(values, columns)], how="horizontal"
                    )
                frames.append(frame.with_columns(pl.col("partition").cast(pl.Int64)))
    await codecs.close()
    return pl.concat(frames)


def first_seen(records: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """``records`` with when each could first be read."""
    return records.sort("offset").join_asof(
        seen, on="offset", by="partition", strategy="forward", check_sortedness=False
    )


async def latencies(settings: Settings, seen: Seen, since: int) -> dict[str, pl.Series]:
    """Milliseconds from the arrival of each play that came at ``since`` or later; private sessions
    and repeats go nowhere."""
    plays = await contents(settings, PLAYS, ())
    arrived = plays.select(
        pl.col("partition").cast(pl.Int32).alias(_SOURCE[0]),
        pl.col("offset").alias(_SOURCE[1]),
        pl.col("sent").alias("arrived"),
    )
    found = {}
    for topic in (LISTENS, ANALYTICS_LISTENS):
        records = await contents(settings, topic, ("listener", "event", *_SOURCE))
        records = records.join(arrived, on=_SOURCE).unique(["listener", "event"], keep="first")
        found[topic.name] = first_seen(records, seen.frame(topic))
    listens = found[LISTENS.name]
    profiles = await contents(settings, PROFILES, ("listener", "plays"))
    profiled = first_seen(profiles, seen.frame(PROFILES)).sort("plays")
    counted = listens.sort("offset").with_columns(
        plays=pl.int_range(1, pl.len() + 1).over("listener").cast(profiled.schema["plays"])
    )
    covered = counted.sort("plays").join_asof(
        profiled.select("listener", "plays", profiled="seen"),
        on="plays", by="listener", strategy="forward", check_sortedness=False,
    )  # fmt: skip
    released = pl.concat(list(_released(found[ANALYTICS_LISTENS.name], seen.releases)))
    times = {"listen": (listens, "seen"), "profile": (covered, "profiled"),
             "release": (released, "released")}  # fmt: skip
    return {
        name: plays.filter(pl.col("arrived") >= since).select(pl.col(at) - pl.col("arrived"))[at]
        for name, (plays, at) in times.items()
    }


def _released(
    listens: pl.DataFrame, releases: Sequence[tuple[int, Mapping[int, int]]]
) -> Iterator[pl.DataFrame]:
    for (number,), its in listens.group_by("partition"):
        rows = [(included.get(number, 0) - 1, at) for at, included in releases]
        releases_of = pl.DataFrame(rows, {"offset": pl.Int64, "released": pl.Int64}, orient="row")
        yield its.sort("offset").join_asof(
            releases_of.sort("offset", "released"), on="offset", strategy="forward"
        )


@asynccontextmanager
async def running(
    options: argparse.Namespace, folder: Path
) -> AsyncIterator[tuple[Settings, Flood]]:
    """Kafka with consents and the catalogue, and the three workers."""
    keys.create(folder / "key.hex")
    async with local_broker(apache=True) as broker:
        settings = load(brokers=broker.address, data=folder, key_file=folder / "key.hex")
        await create_topics(settings.kafka, ALL, settings.partitions, 1)
        simulation = Simulation(
            end=date(2026, 6, 1),
            listeners=options.listeners,
            plays=int(options.rate * (options.warm_up_s + options.seconds)),
        )
        flood = await prepare(settings, simulation)
        gc.disable()  # looking for cycles among the plays stops this process for 0.3 s each time
        environment = {"SOTTOVOCE_BROKERS": broker.address, "SOTTOVOCE_DATA": str(folder)}
        if options.checkpoint_s:
            environment["SOTTOVOCE_CHECKPOINT_S"] = str(options.checkpoint_s)
        async with Workers(environment) as workers:
            for role in ("gate", "taste", "report"):
                own = {"SOTTOVOCE_KEY_FILE": str(settings.key_file)} if role == "gate" else {}
                await workers.start(role, free_port(), folder / f"{role}.log", own)
            yield settings, flood


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, pl.Series]:
    """Send, watch, wait for the last release, and compare times."""
    seen = Seen()
    async with running(options, folder) as (settings, flood):
        watching = [
            asyncio.create_task(seen.watch(settings)),
            asyncio.create_task(seen.look(settings.released)),
        ]
        await asyncio.sleep(_SETTLE_S)
        since = _now_ms() + int(options.warm_up_s * 1_000)
        err.print(f"{len(flood.values):,} plays at {options.rate:,} a second")
        await flood.send(settings, lambda: options.rate)
        await asyncio.sleep(settings.release_s + settings.checkpoint_s + _SETTLE_S)
        for task in watching:
            task.cancel()
        for ended in await asyncio.gather(*watching, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        err.print("reading what came of them")
        return await latencies(settings, seen, since)


def shown(found: Mapping[str, pl.Series]) -> tuple[Table, dict[str, dict[str, float]]]:
    """The table, and the same for the file."""
    table = Table("to the", "plays", "never", "p50, ms", "p99, ms", "max, ms", box=None)
    figures = {}
    for name, times in found.items():
        p50, p99 = (times.quantile(share, "nearest") or 0.0 for share in (0.5, 0.99))
        figures[name] = {
            "plays": len(times), "never": times.null_count(), "p50_ms": p50, "p99_ms": p99,
            "max_ms": float(times.max() or 0),  # type: ignore[arg-type]
        }  # fmt: skip
        table.add_row(name, *(f"{value:,.0f}" for value in figures[name].values()))
    return table, figures


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.load.latency")
    parser.add_argument("--rate", type=float, default=5_000, help="plays a second")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--listeners", type=int, default=50_000)
    parser.add_argument("--checkpoint-s", type=float, help="the default if not given")
    parser.add_argument("--warm-up-s", type=float, default=30, help="plays sent, not counted")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sottovoce-latency-") as folder:
        found = asyncio.run(measure(options, Path(folder)))
    table, figures = shown(found)
    Console().print(table)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    load_1, _, _ = os.getloadavg()
    written = {"options": vars(options), "load": round(load_1, 1), "latency": figures}
    OUT.write_text(json.dumps(written, indent=1) + "\n")
    for name, limit in LIMITS_MS.items():
        if figures[name]["p99_ms"] > limit:
            err.print(f"{name}: more than {limit:,} ms")


if __name__ == "__main__":
    main()
