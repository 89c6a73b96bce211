"""Drawing simulated sessions and plays, all at once, as columns of numbers.

Only ``Generator.random`` is used: of NumPy's streams it is the one whose numbers stay the same. A
uniform number to a power above 1 leans towards 0, so that low ranks are drawn more often.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.sources.audience import LIKED_GENRES, Audience, Floats, Ints, weeks
from streams.sources.world import GENRES, World

Flags = NDArray[np.bool_]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
KINDS = ("album", "artist", "playlist", "radio", "search", "library")
NAMES = 200
"""Names of playlists and stations; a context is numbered kind times this plus name."""
ADDRESSES = 1_000
END_REASONS = ("trackdone", "fwdbtn", "backbtn", "endplay", "logout")
SKIPPED: tuple[bool | None, ...] = (False, True, None)

_ALBUM, _ARTIST, _LIBRARY = KINDS.index("album"), KINDS.index("artist"), KINDS.index("library")
_KIND_SHARES = np.cumsum([0.2, 0.12, 0.34, 0.14, 0.06, 0.14])
_DONE, _FORWARD, _BACK, _STOPPED, _LOGOUT = range(len(END_REASONS))
_TRACKS_PER_SESSION = 6.0
_LONGEST_SESSION = 25
_LIKED_SHARE = 0.8
_SKIP_LIKED, _SKIP_OTHER = 0.12, 0.4
_APART = 311  # so that a few listeners already have addresses from every range
_EPOCH = date(1970, 1, 1)


class Span(NamedTuple):
    """The days in which everything is played: [first_ms, end_ms)."""

    end: date
    days: int

    @property
    def end_ms(self) -> int:
        """The first moment after it, milliseconds since 1970."""
        return (self.end - _EPOCH).days * DAY_MS

    @property
    def first_ms(self) -> int:
        """Its first moment, milliseconds since 1970."""
        return self.end_ms - self.days * DAY_MS

    def hours_of_week(self) -> Ints:
        """Hour of the week in UTC, Monday 00:00 first, of each hour in it."""
        weekday = (self.end.weekday() - self.days) % 7
        return (24 * weekday + np.arange(24 * self.days)) % 168


class Sessions(NamedTuple):
    """Sittings of one listener each, one row each. ``length`` is in tracks.

    The other columns number what :class:`Audience`, ``KINDS`` with ``NAMES``, and the simulation's
    addresses list.
    """

    listener: Ints
    length: Ints
    start_ms: Ints
    context: Ints
    device: Ints
    location: Ints
    address: Ints
    private: Flags


class Plays(NamedTuple):
    """Plays, one row each, in the order of ``nominal_ms``, when they began."""

    nominal_ms: Ints
    session: Ints
    artist: Ints
    track: Ints
    local: Flags
    ms_played: Ints
    end_reason: Ints
    skipped: Ints


def draw_sessions(
    rng: np.random.Generator, audience: Audience, span: Span, plays: int, private_share: float
) -> Sessions:
    """Sessions that have ``plays`` tracks between them."""
    length = _lengths(rng, plays)
    count = len(length)
    listener = _chosen(audience.activity, rng.random(count))
    kind = _chosen(_KIND_SHARES, rng.random(count))
    return Sessions(
        listener=listener,
        length=length,
        start_ms=_starts(rng, audience, span, listener),
        context=kind * NAMES + (3 * listener + _below(rng, 3, count)) % NAMES,
        device=2 * listener + (rng.random(count) < 0.3),
        location=2 * listener + (rng.random(count) < 0.4),
        address=(_APART * listener + _below(rng, 3, count)) % ADDRESSES,
        private=rng.random(count) < private_share,
    )


def draw_plays(
    rng: np.random.Generator, audience: Audience, world: World, span: Span, sessions: Sessions
) -> Plays:
    """The plays of ``sessions``, ordered by time."""
    session = np.repeat(np.arange(len(sessions.length)), sessions.length)
    first = (np.cumsum(sessions.length) - sessions.length)[session]
    position = np.arange(len(session)) - first
    listener, kind = sessions.listener[session], sessions.context[session] // NAMES

    genre, liked = _genres(rng, audience, listener)
    artist = _artists(rng, audience, world, listener, genre)
    one_artist = (kind == _ALBUM) | (kind == _ARTIST)
    artist = np.where(one_artist, artist[first], artist)
    liked = np.where(one_artist, liked[first], liked)
    track = _tracks(rng, world, artist, np.where(kind == _ALBUM, first, -1), position)

    last = position == sessions.length[session] - 1
    duration = np.array(world.durations_ms)[track]
    ms_played, end_reason = _endings(rng, duration, liked, last)
    nominal = _times(rng, sessions, span, session, first, ms_played)
    skipped = (end_reason == _FORWARD) | (end_reason == _BACK)
    skipped = np.where(audience.reports_skips[listener], skipped, SKIPPED.index(None))
    local = audience.collects[listener] & ((kind == _LIBRARY) | (kind == _ALBUM))
    order = np.argsort(nominal, kind="stable")
    return Plays(
        nominal_ms=nominal[order],
        session=session[order],
        artist=artist[order],
        track=track[order],
        local=local[order],
        ms_played=ms_played[order],
        end_reason=end_reason[order],
        skipped=skipped[order],
    )


def _below(rng: np.random.Generator, bound: int | Ints, count: int, power: float = 1) -> Ints:
    """``count`` whole numbers from 0 up to, not including, ``bound``."""
    return np.asarray(bound * rng.random(count) ** power).astype(np.int64)


def _chosen(cumulative: Floats, uniform: Floats) -> Ints:
    """Row numbers drawn with the shares whose running sum is ``cumulative``."""
    rows = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
    return np.asarray(np.minimum(rows, len(cumulative) - 1), dtype=np.int64)


def _lengths(rng: np.random.Generator, plays: int) -> Ints:
    """Tracks of each session: geometric, cut off at the longest; they sum to ``plays``."""
    drawn = 1 - np.log1p(-rng.random(plays)) * _TRACKS_PER_SESSION
    length = np.minimum(drawn, _LONGEST_SESSION).astype(np.int64)
    total = np.cumsum(length)
    count = int(np.searchsorted(total, plays)) + 1
    length = length[:count]
    length[-1] -= total[count - 1] - plays
    return length


def _starts(rng: np.random.Generator, audience: Audience, span: Span, listener: Ints) -> Ints:
    """When each session begins, by its listener's rhythm in the listener's local time."""
    rhythm, ahead = audience.rhythm[listener], audience.ahead[listener]
    uniform = rng.random(len(listener))
    hour = np.empty(len(listener), dtype=np.int64)
    curves, hours = weeks(), span.hours_of_week()
    for shape, shift in sorted(set(zip(rhythm.tolist(), ahead.tolist(), strict=True))):
        rows = (rhythm == shape) & (ahead == shift)
        hour[rows] = _chosen(np.cumsum(curves[shape][(hours + shift) % 168]), uniform[rows])
    return span.first_ms + hour * HOUR_MS + _below(rng, HOUR_MS, len(listener))


def _genres(rng: np.random.Generator, audience: Audience, listener: Ints) -> tuple[Ints, Flags]:
    """Genre of each play, and whether it is one its listener likes."""
    count = len(listener)
    liked = rng.random(count) < _LIKED_SHARE
    favorite = audience.liked[listener, _below(rng, LIKED_GENRES, count, 1.8)]
    return np.where(liked, favorite, _below(rng, len(GENRES), count, 1.6)), liked


def _artists(
    rng: np.random.Generator, audience: Audience, world: World, listener: Ints, genre: Ints
) -> Ints:
    """Artist of each play, by everybody's ranking of the genre or by the listener's own."""
    members = [[a for a, has in enumerate(world.genres) if name in has] for name in GENRES]
    first = np.cumsum([0, *map(len, members)])
    size = np.diff(first)[genre]
    rank = _below(rng, size, len(genre), 4)
    own = rng.random(len(genre)) < 0.4
    rank = (rank + own * audience.whim[listener]) % size
    return np.concatenate([np.array(each, dtype=np.int64) for each in members])[first[genre] + rank]


def _tracks(
    rng: np.random.Generator, world: World, artist: Ints, album_start: Ints, position: Ints
) -> Ints:
    """Track of each play: one of the artist's, or, on an album, the next one after the first.

    ``album_start`` is the row of the play that an album session began with, -1 for other plays.
    """
    first = np.array(world.first_track)
    count = first[artist + 1] - first[artist]
    drawn = _below(rng, count, len(artist), 1.5)
    following = (drawn[album_start] + position) % count
    return first[artist] + np.where(album_start >= 0, following, drawn)


def _endings(
    rng: np.random.Generator, duration: Ints, liked: Flags, last: Flags
) -> tuple[Ints, Ints]:
    """How long each play was heard, milliseconds, and why it ended."""
    count = len(duration)
    skip = rng.random(count) < np.where(liked, _SKIP_LIKED, _SKIP_OTHER)
    stop = last & ~skip & (rng.random(count) < 0.3)
    share, other = rng.random(count), rng.random(count)
    heard = np.where(skip, 0.02 + 0.55 * share**2, np.where(stop, 0.2 + 0.75 * share, 1.0))
    by_skip = np.where(other < 0.08, _BACK, _FORWARD)
    by_stop = np.where(other < 0.2, _LOGOUT, _STOPPED)
    reason = np.where(skip, by_skip, np.where(stop, by_stop, _DONE))
    return (duration * heard).astype(np.int64), reason


def _times(
    rng: np.random.Generator,
    sessions: Sessions,
    span: Span,
    session: Ints,
    first: Ints,
    ms_played: Ints,
) -> Ints:
    """When each play began: after the one before it and a short gap; all within the span.

    A session that would run past the end begins earlier by as much and up to an hour.
    """
    took = ms_played + 300 + _below(rng, 2_000, len(session))
    before = np.cumsum(took) - took
    began = sessions.start_ms[session] + before - before[first]
    final = began[np.cumsum(sessions.length) - 1]
    over = final - (span.end_ms - 1)
    earlier = np.where(over > 0, over + _below(rng, HOUR_MS, len(over)), 0)
    return np.asarray(began - earlier[session])
