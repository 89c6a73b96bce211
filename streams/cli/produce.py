"""Commands that write to Kafka: replays, simulated plays, the catalogue."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from streams.app.roles import open_codecs
from streams.avro.encode import RecordEncoder
from streams.cli import console
from streams.errors import SourceError
from streams.settings import Settings
from streams.sources.detect import History, open_history
from streams.sources.play import Play
from streams.sources.rate import paced
from streams.sources.simulate import Simulation
from streams.topics import CATALOGUE, CONSENT, PLAYS
from streams.transport.producer import (
    open_producer,
    partitions_of,
    send_keyed,
    send_records,
)

OWN_PURPOSES = ("personalization", "analytics")

Chunks = Iterable[list[Play]] | AsyncIterator[list[Play]]


@dataclass(slots=True)
class Sent:
    """What was sent, and where each partition ended."""

    plays: int = 0
    ends: dict[int, int] = field(default_factory=dict)


async def send_plays(
    settings: Settings,
    chunks: Chunks,
    advance: Callable[[int], None],
    *,
    grant: Sequence[str] = OWN_PURPOSES,
) -> Sent:
    """Send plays without a key, chunk by chunk to one partition after another.

    Before a person's first play goes their consent to the purposes in ``grant``, effective for all
    of their plays: simulated people can be asked nothing, and whoever replays a history answers for
    whose it is.

    Raises:
        BrokerError: the topic is missing, or the broker does not take them.
    """
    sent = Sent()
    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        encoder = await codecs.records(PLAYS)
        partitions = await partitions_of(producer, PLAYS.name)
        granting = Granting(await codecs.records(CONSENT), producer, grant)
        number = 0
        async for chunk in _async(chunks):
            await granting.send({play["user_id"] for play in chunk})
            partition = partitions[number % len(partitions)]
            values = encoder.encode(chunk)
            sent.ends[partition] = await send_records(
                producer, PLAYS.name, partition, [None] * len(values), values
            )
            sent.plays += len(chunk)
            number += 1
            advance(len(chunk))
    return sent


class Granting:
    """Sends the consent of people to some purposes, once each."""

    def __init__(
        self, encoder: RecordEncoder, producer: AIOKafkaProducer, purposes: Sequence[str]
    ) -> None:
        self._encoder, self._producer, self._purposes = encoder, producer, purposes
        self._sent: set[str] = set()

    async def send(self, users: set[str]) -> None:
        """Have those of ``users`` allow the purposes, for all of their plays."""
        new = sorted(users - self._sent) if self._purposes else []
        self._sent.update(new)
        now_ms = int(time.time() * 1_000)
        decisions = [
            {
                "user_id": user,
                "purpose": purpose,
                "granted": True,
                "decided_at": now_ms,
                "effective_from": 0,
            }
            for user in new
            for purpose in self._purposes
        ]
        await send_consents(self._producer, self._encoder, decisions)


async def send_consents(
    producer: AIOKafkaProducer, encoder: RecordEncoder, decisions: Sequence[Mapping[str, Any]]
) -> None:
    """Send records of `consent`."""
    if decisions:
        keys = (f"{each['user_id']}/{each['purpose']}".encode() for each in decisions)
        await send_keyed(producer, CONSENT.name, zip(keys, encoder.encode(decisions), strict=True))


async def replay(
    settings: Settings, files: list[Path], user: str, rate: float | None, grant: Sequence[str]
) -> None:
    """Send histories and say what was read, left out and unreadable."""
    history = open_history(files, user)
    with console.progress("replaying", history.total_bytes) as advance:
        reached = 0

        def forward(position: int) -> None:
            nonlocal reached
            advance(position - reached)
            reached = position

        chunks = history.chunks(forward)
        sent = await send_plays(
            settings, paced(chunks, rate) if rate else chunks, lambda _: None, grant=grant
        )
    console.out.print(f"{sent.plays} plays sent")
    if not grant:
        console.err.print(
            "No consent was sent: the gate lets through what these listeners have allowed before. "
            "`--grant personalization --grant analytics` sends theirs, if it is yours to give."
        )
    for line in account(history):
        console.err.print(line)
    if not sent.plays:
        raise SourceError("No play could be read.", "See the reasons above.")


def account(history: History) -> Iterator[str]:
    """Lines that say what a history was and what of it is no play."""
    formats = ", ".join(f"{count} {name}" for name, count in history.formats.items())
    yield f"files: {formats}; others passed over: {history.other_files}"
    counts: tuple[tuple[str, Counter[str]], ...] = (
        ("left out", Counter({str(key): value for key, value in history.left_out.items()})),
        ("unreadable", Counter({str(key): value for key, value in history.unreadable.items()})),
    )
    for label, counter in counts:
        for reason, count in counter.most_common():
            yield f"{label}: {count} ({reason})"


async def simulate(
    settings: Settings, plays: int, listeners: int, days: int, seed: int, rate: float | None
) -> None:
    """Send the plays of simulated listeners, their catalogue first."""
    simulation = Simulation(end=today(), listeners=listeners, days=days, plays=plays, seed=seed)
    await send_catalogue(settings, simulation.catalogue())
    with console.progress("simulating", plays, "plays") as advance:
        chunks = simulation.chunks()
        sent = await send_plays(settings, paced(chunks, rate) if rate else chunks, advance)
    console.out.print(f"{sent.plays} plays sent")


async def load_catalogue(settings: Settings, file: Path) -> None:
    """Send a catalogue file."""
    entries = list(read_catalogue(file))
    await send_catalogue(settings, entries)
    console.out.print(f"{len(entries)} artists sent")


async def send_catalogue(
    settings: Settings, entries: Iterable[tuple[str, tuple[str, ...]]]
) -> None:
    """Send artists with their genres; a later entry of an artist replaces the earlier."""
    entries = list(entries)
    async with (
        open_codecs(settings) as codecs,
        open_producer(settings.kafka, idempotent=settings.idempotence) as producer,
    ):
        encoder = await codecs.records(CATALOGUE)
        # One partition: the order of two entries of an artist decides, and a catalogue is small.
        partition = (await partitions_of(producer, CATALOGUE.name))[0]
        await send_records(
            producer,
            CATALOGUE.name,
            partition,
            [artist.encode() for artist, _ in entries],
            encoder.encode(
                {"artist": artist, "genres": list(genres), "artist_mbid": None}
                for artist, genres in entries
            ),
        )


def read_catalogue(file: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Artists and genres of a CSV with the columns artist and genres, or of JSON lines.

    Raises:
        SourceError: the file is missing or of neither shape; names the line, not its content.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            if lines.read(1) == "{":
                lines.seek(0)
                yield from _json_catalogue(lines)
            else:
                lines.seek(0)
                yield from _csv_catalogue(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"The catalogue cannot be read: {type(error).__name__}.", "Name a UTF-8 text file."
        ) from None


def _csv_catalogue(lines: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    rows = csv.DictReader(lines)
    if not {"artist", "genres"} <= set(rows.fieldnames or ()):
        raise SourceError(
            "The catalogue has no columns artist and genres.",
            "Its first line must be artist,genres; genres are separated by ;.",
        )
    for row in rows:
        genres = tuple(genre.strip() for genre in (row["genres"] or "").split(";"))
        yield row["artist"], tuple(genre for genre in genres if genre)


def _json_catalogue(lines: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            artist, genres = entry["artist"], entry["genres"]
            if not isinstance(artist, str) or not all(isinstance(each, str) for each in genres):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise SourceError(
                f"Line {number} of the catalogue does not fit.",
                'Each line must be {"artist": text, "genres": [text, ...]}.',
            ) from None
        yield artist, tuple(genres)


def today() -> date:
    """The current day, UTC: simulated plays end before its first moment, none in the future."""
    return datetime.now(UTC).date()


async def _async(chunks: Chunks) -> AsyncIterator[list[Play]]:
    if isinstance(chunks, AsyncIterator):
        async for chunk in chunks:
            yield chunk
    else:
        for chunk in chunks:
            yield chunk
