"""The job that every peer in Python does, and how it is measured.

Plays come as Avro in Confluent's framing. Each adds to a profile of its listener, who is known by a
pseudonym from then on, and to counts by day, country and genre. What identifies a recording, a
device or a place more closely is decoded at most and never kept.

A peer is started as a module with BROKERS INPUT PROFILES CELLS RESULT EVENTS EMIT_EVERY_S, reads
EVENTS plays, writes profiles and cells, then its figures to RESULT.
"""

from __future__ import annotations

import hmac
import io
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

HALF_LIVES_DAYS = (28.0, 182.0, 365.0)
TERMS = range(len(HALF_LIVES_DAYS))
ORIGIN_S = 1.7e9
"""Weights are relative to this moment, so that old ones need no decaying."""
DAY_S = 86_400
TOP = 20
KEY = b"\x5a" * 32
_HEADER = 5
_SCHEMA = Path(__file__).parents[3] / "schemas" / "play.avsc"

Weights = dict[str, list[float]]
"""By item: its weight in each term."""
State = dict[str, Any]
"""What is known of a listener: ``plays``, and `Weights` of ``artists`` and ``genres``."""


class Play(NamedTuple):
    """What is kept of a play."""

    listener: str
    minute: int
    country: str
    artist: str
    genres: list[str]


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer is told on its command line."""

    brokers: str
    input: str
    profiles: str
    cells: str
    result: Path
    events: int
    emit_every_s: float

    @property
    def group(self) -> str:
        """A consumer group that nobody else has."""
        return f"{self.profiles}-peer"

    @property
    def folder(self) -> Path:
        """Where a peer may keep files; the harness makes it."""
        return self.result.with_suffix("")


def arguments() -> Job:
    """The job on the command line."""
    brokers, topic, profiles, cells, result, events, emit_every_s = sys.argv[1:]
    return Job(brokers, topic, profiles, cells, Path(result), int(events), float(emit_every_s))


def _schema() -> dict[str, Any]:
    """The schema of plays with the time as a number: making a datetime of it costs a fifth more."""
    schema = json.loads(_SCHEMA.read_text())
    for each in schema["fields"]:
        if each["name"] == "started_at":
            each["type"] = "long"
    parsed: Any = fastavro.parse_schema(schema)
    return dict(parsed)


SCHEMA = _schema()


def decode(value: bytes) -> Play:
    """A record of the input."""
    play: Any = fastavro.schemaless_reader(io.BytesIO(value[_HEADER:]), SCHEMA, None)
    return Play(
        hmac.digest(KEY, play["user_id"].encode(), "sha256").hex()[:32],
        play["started_at"] // 60_000 * 60,
        play["location"]["country"] or "",
        play["artist"]["name"],
        play["genres"],
    )


@lru_cache(maxsize=100_000)
def weights(minute: int) -> tuple[float, ...]:
    """What a play of that minute weighs in each term."""
    return tuple(2.0 ** ((minute - ORIGIN_S) / DAY_S / each) for each in HALF_LIVES_DAYS)


@lru_cache(maxsize=10_000)
def day(number: int) -> str:
    """The date so many days after 1970-01-01."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()


def empty() -> State:
    """A listener of whom nothing is known."""
    return {"plays": 0, "artists": {}, "genres": {}}


def fold(state: State, play: Play) -> None:
    """Add a play to the state of its listener."""
    state["plays"] += 1
    added = weights(play.minute)
    _add(state["artists"], play.artist, added)
    if play.genres:
        share = len(play.genres)
        parts = [each / share for each in added]
        for genre in play.genres:
            _add(state["genres"], genre, parts)


def _add(known: Weights, item: str, added: tuple[float, ...] | list[float]) -> None:
    found = known.get(item)
    if found is None:
        known[item] = list(added)
    else:
        for term in TERMS:
            found[term] += added[term]


def profile(state: State) -> dict[str, Any]:
    """What is told of a listener: the heaviest items of each term."""
    return {
        "plays": state["plays"],
        "artists": [top(state["artists"], term) for term in TERMS],
        "genres": [top(state["genres"], term) for term in TERMS],
    }


def top(known: Weights, term: int) -> list[tuple[str, float]]:
    """The heaviest items of a term with their weights; of equals the first by name."""
    found = [(item, each[term]) for item, each in known.items()]
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    return found[:TOP]


def cells(play: Play) -> list[str]:
    """Keys of the cells that a play counts in."""
    prefix = f"{day(play.minute // DAY_S)}|{play.country}|"
    return [prefix + genre for genre in play.genres]


@dataclass(slots=True)
class Memory:
    """All state in dicts, for the peers that keep it there."""

    states: dict[str, State] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    cells: Counter[str] = field(default_factory=Counter)
    folded: int = 0

    def add(self, value: bytes) -> None:
        """Fold a record of the input."""
        play = decode(value)
        state = self.states.get(play.listener)
        if state is None:
            state = self.states[play.listener] = empty()
        fold(state, play)
        self.changed.add(play.listener)
        for key in cells(play):
            self.cells[key] += 1
        self.folded += 1

    def take_changed(self) -> list[tuple[str, dict[str, Any]]]:
        """Profiles that changed since the last call, by listener."""
        found = [(listener, profile(self.states[listener])) for listener in self.changed]
        self.changed.clear()
        return found


class Meter:
    """Measures from the first record in hand to everything acknowledged and committed."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        """There is a record in hand; calls after the first do nothing."""
        if self._began is None:
            self._began = time.monotonic(), _cpu_s()

    def write(self, guarantee: str) -> None:
        """All is done: write the figures, and what would survive a crash."""
        assert self._began is not None
        self._job.result.write_text(
            json.dumps(
                {
                    "events": self._job.events,
                    "seconds": time.monotonic() - self._began[0],
                    "cpu_s": _cpu_s() - self._began[1],
                    "peak_rss_mb": _peak_kb() / 1024,
                    "guarantee": guarantee,
                }
            )
        )


def _cpu_s() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in usages)


def _peak_kb() -> int:
    """As Linux tells it of this program: ``ru_maxrss`` begins with what the one before it had."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # macOS counts bytes
