"""What became of the entries of a history: read, left out on purpose, or unreadable and why.

Reasons come from the two closed lists below. An entry is named by its number in its file (line or
array item, from 1; 0 is the file as a whole), never by what it says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

POSITIONS_KEPT = 20
"""Unreadable entries of a file that are named one by one; the rest are only counted."""


class LeftOut(StrEnum):
    """Why an entry that could be read is no play."""

    PODCAST = "podcast"
    """An episode of a podcast."""
    AUDIOBOOK = "audiobook"
    """A chapter of an audiobook."""


class Unreadable(StrEnum):
    """Why an entry could not be turned into a play."""

    NOT_JSON = "not-json"
    """Malformed JSON. In an array it also ends the file: what follows cannot be told apart."""
    NOT_UNICODE = "not-unicode"
    """Bytes that are not UTF-8, or half of a surrogate pair."""
    NOT_A_PLAY = "not-a-play"
    """A JSON value without the structure of the format."""
    WRONG_COLUMNS = "wrong-columns"
    """A line with fewer or more columns than the format has."""
    BAD_TIME = "bad-time"
    """The time is missing, not a time, before 1970 or after the year 9999."""
    BAD_LENGTH = "bad-length"
    """The time played is missing, negative or longer than 24 days."""
    NO_ARTIST = "no-artist"
    """The artist's name is missing or empty."""
    NO_USER = "no-user"
    """The user is missing in a format that names one in every entry."""
    TOO_LONG = "too-long"
    """The entry is longer than a megabyte."""
    DAMAGED = "damaged"
    """The compressed file is cut off or corrupt from here on."""


@dataclass(slots=True)
class Tally:
    """Counts for one file; ``positions`` has number and reason of the first unreadable entries."""

    read: int = 0
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    unreadable: Counter[Unreadable] = field(default_factory=Counter)
    positions: list[tuple[int, Unreadable]] = field(default_factory=list)

    def note(self, number: int, reason: LeftOut | Unreadable) -> None:
        """Count entry ``number`` under ``reason``."""
        if isinstance(reason, LeftOut):
            self.left_out[reason] += 1
            return
        self.unreadable[reason] += 1
        if len(self.positions) < POSITIONS_KEPT:
            self.positions.append((number, reason))
