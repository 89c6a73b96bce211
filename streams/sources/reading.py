"""Reading entries one after the other in bounded memory, and the values that formats share.

A stream is cut into entries by :func:`lines` or :func:`items`; a format's ``to_play`` turns an
entry into a play or says why not. However long the file is, no more is kept than a block and one
entry of at most ``LONGEST`` bytes.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedIOBase
from typing import Generic, TypeVar

from streams.sources.play import Play
from streams.sources.tally import LeftOut, Tally, Unreadable

BLOCK = 128 * 1024
LONGEST = 1024 * 1024
INT_MAX = 2**31 - 1
_TIME_END_S = 253_402_300_800  # 10000-01-01, where datetime ends
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)
_BETWEEN = re.compile(r"[\s,]*")
_FOLLOWED = re.compile(r"\s*[,\]]")

Entry = TypeVar("Entry")
Outcome = Play | LeftOut | Unreadable


@dataclass(frozen=True, slots=True)
class Format(Generic[Entry]):
    """A format of listening history.

    ``entries`` cuts a stream into numbered entries and notes in the tally what it cannot cut;
    ``matches`` says whether an entry is one of this format; ``to_play`` turns an entry and the
    caller's user into a play or a reason, and raises UnicodeEncodeError for text without UTF-8.
    """

    name: str
    description: str
    entries: Callable[[BufferedIOBase, Tally], Iterator[tuple[int, Entry]]]
    matches: Callable[[Entry], bool]
    to_play: Callable[[Entry, str], Outcome]

    def plays(self, stream: BufferedIOBase, user: str, tally: Tally) -> Iterator[Play]:
        """Plays of ``stream`` in file order; ``tally`` gets what is none. Blocks on the stream."""
        for number, entry in self.entries(stream, tally):
            try:
                outcome = self.to_play(entry, user)
            except UnicodeEncodeError:
                outcome = Unreadable.NOT_UNICODE
            if isinstance(outcome, (LeftOut, Unreadable)):
                tally.note(number, outcome)
            else:
                yield outcome

    def recognizes(self, head: BufferedIOBase) -> bool:
        """Whether any entry of ``head``, the beginning of a file, is one of this format."""
        return any(self.matches(entry) for _, entry in self.entries(head, Tally()))


def lines(stream: BufferedIOBase, tally: Tally) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, without their end, numbered from 1. Lines end in ``\\n`` alone."""
    number, rest, overlong = 0, b"", False
    for block in _blocks(stream, tally):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            if overlong:
                overlong = False
                tally.note(number, Unreadable.TOO_LONG)
            elif line and not line.isspace():
                yield number, line
        if len(rest) > LONGEST:
            overlong, rest = True, b""
    if overlong:
        tally.note(number + 1, Unreadable.TOO_LONG)
    elif rest and not rest.isspace():
        yield number + 1, rest


def items(stream: BufferedIOBase, tally: Tally) -> Iterator[tuple[int, object]]:
    """Items of a JSON array, numbered from 1.

    Bytes that are not UTF-8 come through as lone surrogates, so that they spoil the items they are
    in and no others. An array that is cut off or malformed gives its items up to there.
    """
    decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
    scan = json.JSONDecoder().raw_decode
    number, buffer, inside = 0, "", False
    for block in _blocks(stream, tally):
        buffer += decode(block)
        at = _next(buffer, 0)
        if not inside and at < len(buffer):
            if buffer[at] != "[":
                break
            inside, at = True, at + 1
        while inside:
            at = _next(buffer, at)
            if buffer.startswith("]", at):
                return
            try:
                item, end = scan(buffer, at)
            except (ValueError, RecursionError):
                break
            if not _FOLLOWED.match(buffer, end):  # a number may go on in the next block
                break
            number, at = number + 1, end
            yield number, item
        buffer = buffer[at:]
        if len(buffer) > LONGEST:
            break
    tally.note(number + 1, Unreadable.NOT_JSON)


def _next(buffer: str, at: int) -> int:
    """Where, from ``at`` on, space and commas end."""
    between = _BETWEEN.match(buffer, at)
    return between.end() if between else at


def _blocks(stream: BufferedIOBase, tally: Tally) -> Iterator[bytes]:
    """The stream in blocks, up to its end or to where its compression is broken."""
    try:
        while block := stream.read1(BLOCK):
            yield block
    except DAMAGE:
        tally.note(0, Unreadable.DAMAGED)


def text(value: object) -> str | None:
    """``value`` if it is text and not blank, without space around it.

    Raises:
        UnicodeEncodeError: it has half of a surrogate pair, which no UTF-8 can carry.
    """
    if not isinstance(value, str):
        return None
    if not value.isascii():
        value.encode()
    return value.strip() or None


def milliseconds(value: object, scale: int = 1) -> int | None:
    """``value`` times ``scale``, whole, if it is a number that Avro's int can hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= INT_MAX // scale:  # also false for NaN
        return None
    return round(value * scale)


def seconds_to_ms(value: object) -> int | None:
    """Unix seconds as milliseconds since 1970, if ``value`` is a number up to the year 9999."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return round(value * 1_000) if 0 <= value < _TIME_END_S else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES_LENGTH = len("2000-01-01 00:00")


def utc_to_ms(value: object) -> int | None:
    """ISO 8601 date and time as milliseconds since 1970, if it is not before.

    A time without an offset is taken as UTC.
    """
    if not isinstance(value, str) or len(value) < _MINUTES_LENGTH:
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    since = (when if when.tzinfo else when.replace(tzinfo=UTC)) - _EPOCH
    ms = since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
    return ms if ms >= 0 else None
