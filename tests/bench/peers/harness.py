"""Runs the peers, each in a process of its own on topics of its own, and checks what they wrote.

A peer that cannot run, or whose output is not what a recount says, is named on stderr with the
reason and has no figures.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.app.roles import open_codecs
from streams.brokers import guard
from streams.settings import Kafka, Settings
from streams.sources.simulate import Simulation
from streams.topics import PLAYS, Topic, Zone
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import partition_reader, read_span
from tests.bench.peers.recount import Columns, Recount
from tests.bench.results import Result

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "var" / "bench" / "venv" / "bin" / "python"
JAR = ROOT / "var" / "bench" / "kafka-streams-peer.jar"
PARTITIONS = 4
EMIT_EVERY_S = 5.0
"""Changed profiles go out this often, ours and the peers'."""
AT_THE_END_S = 3_600.0
"""So rarely that all profiles go out once, at the end."""
LIMIT_S = 1_800.0
"""A peer that takes longer is stopped."""
DAY_MS = 86_400_000
err = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that does the job."""

    name: str
    command: tuple[str, ...]
    events: int
    """As many as it takes in about a minute."""
    one_emission: bool = False
    """Whether it is also run with all profiles sent once, at the end."""

    @property
    def missing(self) -> str:
        """What it needs and is not here; empty if it can run."""
        for each in self.command:
            if each.startswith("/") and not Path(each).exists():
                return f"{Path(each).relative_to(ROOT)} is not there: `make bench` makes it"
        return "" if shutil.which(self.command[0]) else f"{self.command[0]} is not on the PATH"


def python(module: str) -> tuple[str, ...]:
    """The command that runs a peer of this folder."""
    return str(PYTHON), "-m", f"tests.bench.peers.{module}"


PEERS = (
    Peer("faust-table", python("faust_table"), 30_000),
    Peer("faust-take", python("faust_take"), 100_000),
    Peer("quix", python("quix"), 200_000),
    Peer("bytewax", python("bytewax_flow"), 200_000),
    Peer("pathway", python("pathway_flow"), 200_000),
    Peer("by-hand-aiokafka", python("by_hand_aiokafka"), 1_000_000, one_emission=True),
    Peer("by-hand-confluent", python("by_hand_confluent"), 1_000_000, one_emission=True),
    Peer("kafka-streams", ("java", "-Xmx1g", "-jar", str(JAR)), 1_000_000, one_emission=True),
)


def chosen(names: str) -> list[Peer]:
    """Peers by their names, separated by commas; ``all`` or ``none``.

    Raises:
        ValueError: there is no such peer.
    """
    if names in ("all", "none"):
        return list(PEERS) if names == "all" else []
    known = {each.name: each for each in PEERS}
    if unknown := set(names.split(",")) - known.keys():
        raise ValueError(
            f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return [known[name] for name in names.split(",")]


def sized(peers: Iterable[Peer], scale: float, most: int) -> Iterator[Peer]:
    """The same with ``scale`` times their events, at most ``most``."""
    for peer in peers:
        yield replace(peer, events=min(most, max(1, round(peer.events * scale))))


async def measure(settings: Settings, peers: Iterable[Peer], like: Simulation) -> list[Result]:
    """Run ``peers`` one after another on simulated plays ``like`` those, as many as each takes."""
    results: list[Result] = []
    by_size: dict[int, list[Peer]] = {}
    for peer in peers:
        if peer.missing:
            left_out(peer.name, peer.missing)
        else:
            by_size.setdefault(peer.events, []).append(peer)
    for events, group in by_size.items():
        topic = await create(settings, f"bench-plays-{events}")
        expected = await fill(settings, topic, replace(like, plays=events))
        for peer in group:
            results += await run(settings, peer, topic, expected, peer.name, EMIT_EVERY_S)
            if peer.one_emission:
                name = f"{peer.name}, one emission"
                results += await run(settings, peer, topic, expected, name, AT_THE_END_S)
    return results


def left_out(name: str, why: str) -> None:
    """Say that a peer has no figures."""
    err.print(f"{name} is left out: {why}", markup=False)


async def create(settings: Settings, name: str) -> str:
    """Make a topic; its name."""
    topic = Topic(name, Zone.PUBLISHED, "", "", "of the benchmark's peers", retention_ms=DAY_MS)
    await create_topics(settings.kafka, [topic], PARTITIONS, 1)
    return name


async def fill(settings: Settings, topic: str, simulation: Simulation) -> Recount:
    """Send plays, chunk by chunk to one partition after another, and count them."""
    columns = Columns()
    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        encoder = await codecs.records(PLAYS)
        for number, chunk in enumerate(simulation.chunks()):
            values = encoder.encode(chunk)
            keys = [None] * len(values)
            await send_records(producer, topic, number % PARTITIONS, keys, values)
            columns.add(chunk)
    return Recount.of(columns)


async def run(
    settings: Settings, peer: Peer, topic: str, expected: Recount, name: str, emit_every_s: float
) -> list[Result]:
    """Its result, if it ran to the end and what it wrote is right."""
    err.print(f"{name}: {peer.events:,} plays", markup=False)
    slug = name.replace(", ", "-").replace(" ", "-")
    profiles = await create(settings, f"bench-{slug}-profiles")
    cells = await create(settings, f"bench-{slug}-cells")
    out = settings.data / f"{slug}.json"
    folder = out.with_suffix("")
    folder.mkdir()
    log = settings.data / f"{slug}.log"
    arguments = (settings.brokers, topic, profiles, cells, str(out), str(peer.events))
    ended = await start((*peer.command, *arguments, str(emit_every_s)), folder, log)
    if ended or not out.exists():
        said = log.read_text(errors="replace").strip().splitlines()[-1:]
        left_out(name, f"{ended or 'it wrote no result'}. {' '.join(said)}")
        return []
    problems = expected.wrong(
        await newest(settings.kafka, profiles), await newest(settings.kafka, cells)
    )
    if problems:
        left_out(name, f"its output is wrong: {'; '.join(problems)}")
        return []
    return [result(name, json.loads(out.read_text()))]


async def start(command: tuple[str, ...], folder: Path, log: Path) -> str:
    """Run a command to its end, or to ours; why it is not a good one, or nothing."""
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__, str(folder), *command),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=file,
            stderr=file,
        )
        assert process.stdin is not None
        try:
            async with asyncio.timeout(LIMIT_S):
                code = await process.wait()
        except TimeoutError:
            return f"it was stopped after {LIMIT_S:g} s"
        finally:
            process.stdin.close()
            await process.wait()
    return f"it ended with {code}" if code else ""


async def newest(kafka: Kafka, topic: str) -> dict[str, Any]:
    """The newest value of each key."""
    found: dict[bytes, bytes] = {}
    async with partition_reader(kafka) as reader:
        for partition in range(PARTITIONS):
            async for batch in read_span(reader, topic, partition):
                for key, value in zip(batch.keys, batch.values, strict=True):
                    assert key is not None
                    assert value is not None
                    found[key] = value
    return {key.decode(): json.loads(value) for key, value in found.items()}


def result(name: str, measured: Mapping[str, Any]) -> Result:
    """What a peer wrote of itself."""
    return Result.of(
        name,
        "peer",
        measured["events"],
        measured["seconds"],
        measured["cpu_s"],
        measured["peak_rss_mb"],
        measured["guarantee"],
    )
