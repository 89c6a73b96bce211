"""What the gate works out itself: whether a play counts, was skipped, and how much was heard.

Derivations may read leaves that are dropped: the length of a track decides whether a play counts,
yet goes no further. Which leaves each one reads is a closed list here; the listen schema repeats it
and `sottovoce schema check` compares. All are pure expressions, total, and free of the clock.

Times are milliseconds. An amount below zero counts as zero, a length that is not above zero as
unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from streams.settings import ListenRule

HALF_MINUTE_MS = 30_000
FOUR_MINUTES_MS = 240_000
PLAYED_OUT = "trackdone"
LEFT_BY_BUTTON = ("fwdbtn", "backbtn")
"""Spotify's words for how playback ended, which ``end_reason`` of Play takes over."""

PRIVATE_SESSION = "private_session"

READ_TYPES: Mapping[str, str] = {
    PRIVATE_SESSION: "boolean",
    "ms_played": "int",
    "track.duration_ms": "int",
    "end_reason": "string",
    "skipped": "boolean",
}
"""Every leaf of Play that the gate itself reads, with its type."""

_PLAYED = ("ms_played", "track.duration_ms")
_ENDED = ("end_reason", "skipped")


@dataclass(frozen=True, slots=True)
class Derivation:
    """Leaves it reads and listen types it can fill. ``in_frame`` is false where the gate adds the
    column because only the record's place in Kafka tells it."""

    reads: tuple[str, ...]
    fills: tuple[str, ...]
    in_frame: bool = True


DERIVATIONS: Mapping[str, Derivation] = {
    "key_epoch": Derivation((), ("int",)),
    "position": Derivation((), ("int", "long"), in_frame=False),
    "completion": Derivation(_PLAYED, ("int",)),
    "counted": Derivation((*_PLAYED, *_ENDED), ("boolean",)),
    "skipped": Derivation((*_PLAYED, *_ENDED), ("boolean",)),
}

Leaves = Callable[[str], pl.Expr]
"""Expression of a leaf by path."""


def derived(by: str, leaf: Leaves, rule: ListenRule, epoch: int) -> pl.Expr:
    """Expression of derivation ``by``. Raises KeyError for one that is not in the frame."""
    expressions: Mapping[str, Callable[[], pl.Expr]] = {
        "key_epoch": lambda: pl.repeat(epoch, pl.len(), dtype=pl.Int32()),
        "completion": lambda: completion(*map(leaf, _PLAYED)),
        "counted": lambda: counted(rule, *map(leaf, (*_PLAYED, *_ENDED))),
        "skipped": lambda: skipped(*map(leaf, (*_PLAYED, *_ENDED))),
    }
    return expressions[by]()


def counted(
    rule: ListenRule,
    ms_played: pl.Expr,
    duration_ms: pl.Expr,
    end_reason: pl.Expr,
    client_skipped: pl.Expr,
) -> pl.Expr:
    """Whether a play counts as a listen. Never null.

    - Last.fm: a track longer than 30 s, heard for half of it or 4 minutes, whichever comes first
      (Scrobbling 2.0, "When is a scrobble a scrobble?", https://www.last.fm/api/scrobbling).
    - ListenBrainz: heard for half of it or 4 minutes, whichever is lower (``submit-listens``,
      https://listenbrainz.readthedocs.io/en/latest/users/api/core.html).
    - Spotify: heard for more than 30 s. ("How we count streams",
      https://support.spotify.com/us/artists/article/how-we-count-streams/, counts 30 s and over;
      the two differ for a play of exactly 30,000 ms.)
    - all: always.

    A source that reports no amount reports a listen that its client counted by its own rule (as
    Last.fm's and ListenBrainz' histories are): it counts, unless it was `skipped`. Where only the
    length is unknown (Spotify's history has none), half of it is unknown too: then 4 minutes count,
    and so does a track that was played out, for else no track under 4 minutes ever would. Such a
    track must have been heard at all and, for Last.fm, for longer than 30 s, since what was played
    out is about as long as what was heard.
    """
    if rule is ListenRule.ALL:
        return ms_played.is_null() | True
    heard, length = _heard(ms_played), _length(duration_ms)
    played_out = (end_reason == PLAYED_OUT).fill_null(False)
    match rule:
        case ListenRule.SPOTIFY:
            enough = heard > HALF_MINUTE_MS
        case ListenRule.LISTENBRAINZ:
            enough = _heard_well(heard, length) | (length.is_null() & played_out & (heard > 0))
        case ListenRule.LASTFM:
            long_enough = pl.coalesce(length, heard) > HALF_MINUTE_MS
            enough = long_enough & (_heard_well(heard, length) | (length.is_null() & played_out))
    reported = ~skipped(ms_played, duration_ms, end_reason, client_skipped)
    return pl.when(ms_played.is_null()).then(reported).otherwise(enough)


def skipped(
    ms_played: pl.Expr, duration_ms: pl.Expr, end_reason: pl.Expr, client_skipped: pl.Expr
) -> pl.Expr:
    """Whether the listener skipped the track. Never null.

    The client's own word decides. Without it, a skip is a track left by the next or back button
    before half of it or 4 minutes were heard: leaving in the last seconds is no verdict on the
    track. Where that cannot be known, the button decides.
    """
    button = end_reason.is_in(LEFT_BY_BUTTON).fill_null(False)
    heard_well = _heard_well(_heard(ms_played), _length(duration_ms)).fill_null(False)
    return pl.coalesce(client_skipped, button & ~heard_well)


def completion(ms_played: pl.Expr, duration_ms: pl.Expr) -> pl.Expr:
    """Share of the track that was heard, whole percent from 0 to 100, rounded down; null where the
    amount or the length is unknown. Hearing a part twice does not raise it above 100."""
    length = _length(duration_ms)
    heard = pl.min_horizontal(_heard(ms_played), length)
    share = pl.when(ms_played.is_not_null()).then(100 * heard // length)
    return share.cast(pl.Int32, strict=False)


def _heard(ms_played: pl.Expr) -> pl.Expr:
    return ms_played.cast(pl.Int64, strict=False).clip(lower_bound=0)


def _length(duration_ms: pl.Expr) -> pl.Expr:
    wide = duration_ms.cast(pl.Int64, strict=False)
    return pl.when(wide > 0).then(wide)


def _heard_well(heard: pl.Expr, length: pl.Expr) -> pl.Expr:
    """At least half or 4 minutes; with an unknown length, at least 4 minutes."""
    return (heard >= FOUR_MINUTES_MS) | (2 * heard >= length).fill_null(False)
