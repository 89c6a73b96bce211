"""What is produced, always the same for a seed, and what a gate must make of it.

The second half knows nothing of the code under test: one play, one listen, from the definitions in
the schemas and the policy.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from streams.errors import Reason
from streams.sources.play import Play
from streams.sources.simulate import Simulation

END = date(2026, 6, 1)
"""Plays lie in the four weeks before, so no step of a clock makes one impossible."""
CHUNK = 100
WAVES_EVERY = 4_000
"""Plays of a wave. A listener plays in two waves and is silent in the others, so that what was
overwritten is not always healed by the next play."""
MINUTE_MS = 60_000
_TEN_YEARS_MS = 10 * 365 * 86_400_000
_UNKNOWN_ID = 2**31 - 7

POISON: Mapping[str, Reason] = {
    "wrong magic": Reason.MALFORMED,
    "garbage": Reason.MALFORMED,
    "empty": Reason.MALFORMED,
    "no value": Reason.MALFORMED,
    "unknown schema": Reason.UNKNOWN_SCHEMA,
    "truncated": Reason.UNDECODABLE,
    "lying length": Reason.UNDECODABLE,
    "no user": Reason.MISSING_FIELD,
    "no artist": Reason.MISSING_FIELD,
    "impossible time": Reason.IMPOSSIBLE_TIME,
    "future": Reason.IMPOSSIBLE_TIME,
    "negative amount": Reason.INVALID_VALUE,
}
"""Why the gate must reject a record of each kind."""

_LOOKUP = (
    ("headphones", ("headphone", "over-ear", "on-ear")),
    ("earbuds", ("earbud", "in-ear", "buds")),
    ("speaker", ("speaker", "soundbar", "hub")),
    ("phone", ("phone", "mobile", "android", "ios")),
    (
        "computer",
        ("laptop", "desktop", "computer", "macbook", "windows", "osx", "macos", "linux", "pc"),
    ),
)


@dataclass(frozen=True)
class History:
    """``number`` plays of ``listeners`` listeners, each event once, in the order of producing."""

    seed: int
    number: int
    listeners: int
    plays: list[Play] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Draw them."""
        drawn = {play["event_id"]: play for chunk in self._simulation.chunks() for play in chunk}
        object.__setattr__(self, "plays", list(_in_waves(list(drawn.values()), self.seed)))

    @cached_property
    def _simulation(self) -> Simulation:
        return Simulation(END, listeners=self.listeners, plays=self.number, seed=self.seed)

    @cached_property
    def users(self) -> list[str]:
        """Everybody who plays."""
        return sorted({play["user_id"] for play in self.plays})

    def catalogue(self) -> list[tuple[str, tuple[str, ...]]]:
        """Genres of artists."""
        return self._simulation.catalogue()

    def chunks(self) -> Iterator[range]:
        """Indices of the plays that are sent together."""
        for begin in range(0, len(self.plays), CHUNK):
            yield range(begin, min(begin + CHUNK, len(self.plays)))


def _in_waves(plays: list[Play], seed: int) -> Iterator[Play]:
    draw = random.Random(seed)
    waves = max(2, len(plays) // WAVES_EVERY)
    by_user: dict[str, list[int]] = {}
    for index, play in enumerate(plays):
        by_user.setdefault(play["user_id"], []).append(index)
    wave = [0] * len(plays)
    for indices in by_user.values():
        first, second = sorted(draw.sample(range(waves), 2))
        for place, index in enumerate(indices):
            wave[index] = first if 2 * place < len(indices) else second
    for index in sorted(range(len(plays)), key=lambda index: (wave[index], index)):
        yield plays[index]


def play_key(index: int) -> bytes:
    """Kafka key of a play: it says which one it is, whatever became of its value."""
    return f"e{index}".encode()


def poison_key(kind: str, number: int) -> bytes:
    """Kafka key of a poisonous record."""
    return f"x{number}/{kind}".encode()


def poisoned(play: Play, kind: str, now_ms: int) -> Play:
    """``play`` with a value that no listen can have, for the kinds that decode."""
    match kind:
        case "no user":
            return {**play, "user_id": " "}
        case "no artist":
            return {**play, "artist": {"name": "", "mbid": None}}
        case "impossible time":
            return {**play, "started_at": 1_000}
        case "future":
            return {**play, "started_at": now_ms + _TEN_YEARS_MS}
        case "negative amount":
            return {**play, "ms_played": -5}
    return play


def spoilt(value: bytes, kind: str) -> bytes | None:
    """An encoded play made undecodable, for the kinds that are."""
    match kind:
        case "wrong magic":
            return b"\x01" + value[1:]
        case "garbage":
            return b"\xde\xad\xbe\xef" * 9
        case "empty":
            return b""
        case "no value":
            return None
        case "unknown schema":
            return b"\0" + _UNKNOWN_ID.to_bytes(4, "big") + value[5:]
        case "truncated":
            return value[: len(value) // 2]
        case "lying length":
            return value[:5] + b"\xfe\xff\xff\xff\x0f" + value[6:]
    return value


def listen_of(
    play: Play, listener: str, epoch: int, genres: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The listen that a play must become; ``genres`` is the catalogue by lower-case artist."""
    heard, length = play["ms_played"], play["track"]["duration_ms"]
    known = length is not None and length > 0
    enough = heard is not None and (heard >= 240_000 or (known and 2 * heard >= (length or 0)))
    by_button = play["end_reason"] in ("fwdbtn", "backbtn")
    skipped = play["skipped"] if play["skipped"] is not None else by_button and not enough
    if heard is None:
        counted = not skipped
    else:
        counted = enough or (not known and play["end_reason"] == "trackdone" and heard > 0)
    completion = None
    if heard is not None and known:
        completion = 100 * min(heard, length or 0) // (length or 1)
    artist = play["artist"]["name"]
    return {
        "listener": listener,
        "epoch": epoch,
        "started_at": play["started_at"] // MINUTE_MS * MINUTE_MS,
        "ms_played": None if heard is None else heard // 1_000 * 1_000,
        "completion": completion,
        "counted": counted,
        "skipped": skipped,
        "artist": artist,
        "genres": play["genres"] or list(genres.get(artist.strip().lower(), ())),
        "country": play["location"]["country"],
        "device_class": _device_class(play["device"]["model"]),
    }


def _device_class(model: str | None) -> str | None:
    if model is None:
        return None
    found = (name for name, words in _LOOKUP if any(word in model.lower() for word in words))
    return next(found, "other")
