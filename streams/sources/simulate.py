"""Plays of listeners who do not exist, in any number and always the same for the same arguments.

Listeners have tastes, weekly rhythms, devices and homes; they listen in sessions and skip what they
like less. Everything random comes from the seed, so the plays are the same byte for byte on the
same versions of Python and NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np

from streams.errors import SettingsError
from streams.sources import world
from streams.sources.audience import Audience, Ints, gather
from streams.sources.canary import ADDRESS, marks
from streams.sources.draws import (
    ADDRESSES,
    DAY_MS,
    END_REASONS,
    KINDS,
    NAMES,
    SKIPPED,
    Plays,
    Sessions,
    Span,
    draw_plays,
    draw_sessions,
)
from streams.sources.play import NO_GENRES, Context, Play, uuid8

CHUNK = 1_000
DUPLICATE_SHARE = 0.005
PRIVATE_SHARE = 0.02
MOST_BROKEN = 0.5
_NAMED_KINDS = ("playlist", "radio")


@dataclass(frozen=True)
class Simulation:
    """``plays`` plays by ``listeners`` listeners, all in the ``days`` days before ``end``, UTC.

    The first moment is 00:00 of the first day; ``end`` itself is not included. Of the plays, one in
    two hundred is an event that a client sends again, right after the first time. ``broken`` is the
    share of plays whose device had no clock: they keep their place in the order but say that they
    began in 1970, which a gate must reject. With a ``canary``, every personal field of every play
    carries it, see :func:`streams.sources.canary.canaries`.

    Raises:
        SettingsError: an argument is out of range.
    """

    end: date
    listeners: int = 2_000
    days: int = 28
    plays: int = 200_000
    seed: int = 1
    broken: float = 0.0
    canary: str | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        for name, value, least in (
            ("listeners", self.listeners, 1),
            ("days", self.days, 1),
            ("plays", self.plays, 0),
        ):
            if value < least:
                raise SettingsError(f"A simulation has too few {name}.", f"Use at least {least}.")
        if not 0 <= self.broken <= MOST_BROKEN:
            raise SettingsError(
                "A simulation's share of broken plays is out of range.", f"Use 0 to {MOST_BROKEN}."
            )

    @property
    def broken_plays(self) -> int:
        """How many of the plays have an impossible time."""
        return int(self.plays * self.broken)

    @property
    def duplicates(self) -> int:
        """How many of the plays repeat the event before them; none of these is broken."""
        return int(self.plays * DUPLICATE_SHARE)

    def catalogue(self) -> list[tuple[str, tuple[str, ...]]]:
        """Every artist's name with the genres, most fitting first."""
        names = (artist["name"] for artist in self._world.artists)
        return list(zip(names, self._world.genres, strict=True))

    def chunks(self) -> Iterator[list[Play]]:
        """The plays in order, ``CHUNK`` at a time. They share their parts: for reading only.

        Draws everything first, which takes some 250 bytes of memory a play.
        """
        if self.plays == 0:
            return
        rng = np.random.Generator(np.random.PCG64(self.seed))
        span = Span(self.end, self.days)
        audience = gather(rng, self.listeners, self.canary)
        unique = self.plays - self.duplicates
        sessions = draw_sessions(rng, audience, span, unique, PRIVATE_SHARE)
        drawn = draw_plays(rng, audience, self._world, span, sessions)
        started_at, times = self._accidents(rng, drawn.nominal_ms)
        builder = _Builder(self, self._world, audience, sessions, drawn, started_at)
        rows = np.repeat(np.arange(unique), times)
        for at in range(0, self.plays, CHUNK):
            yield builder.plays(rows[at : at + CHUNK])

    def _accidents(self, rng: np.random.Generator, nominal_ms: Ints) -> tuple[Ints, Ints]:
        """What each play says of its start, and how many times it is sent."""
        lot = np.argsort(rng.random(len(nominal_ms)), kind="stable")
        broken, resent = np.split(lot[: self.broken_plays + self.duplicates], [self.broken_plays])
        started_at, times = nominal_ms.copy(), np.ones(len(nominal_ms), dtype=np.int64)
        started_at[broken] %= DAY_MS
        times[resent] = 2
        return started_at, times

    @cached_property
    def _world(self) -> world.World:
        return world.build(self.seed, self.canary)


class _Builder:
    """Turns rows of numbers into plays. Parts that plays have in common are built once."""

    def __init__(
        self,
        simulation: Simulation,
        world: world.World,
        audience: Audience,
        sessions: Sessions,
        drawn: Plays,
        started_at: Ints,
    ) -> None:
        self._key = f"simulated play:{simulation!r}"
        self._mark = marks(simulation.canary)["event_id"]
        self._artists = world.artists
        self._tracks = world.streamed + world.local
        self._genres = [
            list(genres) if tagged else NO_GENRES
            for genres, tagged in zip(world.genres, world.tagged, strict=True)
        ]
        self._audience = audience
        self._contexts = _contexts(simulation.seed, simulation.canary)
        self._addresses = _addresses(simulation.canary)
        self._sessions = sessions
        self._drawn = drawn
        self._started_at = started_at
        self._track = drawn.track + drawn.local * len(world.streamed)

    def plays(self, rows: Ints) -> list[Play]:
        """The plays of ``rows``."""
        drawn, sessions = self._drawn, self._sessions
        session = drawn.session[rows]
        columns = (
            rows,
            sessions.listener[session],
            self._started_at[rows],
            drawn.ms_played[rows],
            sessions.device[session],
            sessions.address[session],
            sessions.location[session],
            self._track[rows],
            drawn.artist[rows],
            sessions.context[session],
            drawn.end_reason[rows],
            drawn.skipped[rows],
            sessions.private[session],
        )
        return [self._play(*row) for row in zip(*(each.tolist() for each in columns), strict=True)]

    def _play(
        self,
        number: int,
        listener: int,
        started_at: int,
        ms_played: int,
        device: int,
        address: int,
        location: int,
        track: int,
        artist: int,
        context: int,
        end_reason: int,
        skipped: int,
        private: bool,
    ) -> Play:
        return {
            "event_id": self._mark + uuid8(f"{self._key}:{number}"),
            "user_id": self._audience.users[listener],
            "started_at": started_at,
            "ms_played": ms_played,
            "device": self._audience.devices[device],
            "ip": self._addresses[address],
            "location": self._audience.locations[location],
            "track": self._tracks[track],
            "artist": self._artists[artist],
            "genres": self._genres[artist],
            "context": self._contexts[context],
            "end_reason": END_REASONS[end_reason],
            "skipped": SKIPPED[skipped],
            "private_session": private,
        }


def _contexts(seed: int, canary: str | None) -> list[Context]:
    """What sessions are played from, by number; playlists and stations have a name."""
    names = world.playlist_names(seed, NAMES)
    mark = marks(canary)["context.name"]
    return [
        {"type": kind, "name": mark + name if canary or kind in _NAMED_KINDS else None}
        for kind in KINDS
        for name in names
    ]


def _addresses(canary: str | None) -> list[str]:
    """Addresses from the ranges for documentation (RFC 5737, RFC 3849)."""
    if canary is not None:
        return [ADDRESS] * ADDRESSES
    nets = ("192.0.2.", "198.51.100.", "203.0.113.")
    old = [f"{net}{host}" for net in nets for host in range(1, 251)]
    return old + [f"2001:db8::{host:x}" for host in range(1, ADDRESSES - len(old) + 1)]
