"""Opening listening histories: which files there are and of which format, told by what they say.

A path is a file, a folder or a .zip; single files may be compressed with gzip. In folders and
archives what is no history is left out (an export brings much else); a file that is named must be
one.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import cast

from streams.errors import SourceError
from streams.sources import lastfm1k, listenbrainz, spotify_account, spotify_extended
from streams.sources.play import Play
from streams.sources.reading import DAMAGE, Format
from streams.sources.tally import LeftOut, Tally, Unreadable

DEFAULT_USER = "me"
CHUNK = 1_000
_HEAD = 64 * 1024
_GZIP, _ZIP = b"\x1f\x8b", b"PK"

AnyFormat = Format[bytes] | Format[object]
FORMATS: tuple[AnyFormat, ...] = (
    listenbrainz.FORMAT,
    lastfm1k.FORMAT,
    spotify_extended.FORMAT,
    spotify_account.FORMAT,
)


def known_formats() -> str:
    """The formats, for a message."""
    return "; ".join(f"{each.name} ({each.description})" for each in FORMATS)


def detect(head: bytes) -> AnyFormat | None:
    """The format that ``head``, the uncompressed beginning of a file, is of; None if of none."""
    return next((each for each in FORMATS if each.recognizes(io.BytesIO(head))), None)


@dataclass(slots=True)
class HistoryFile:
    """One file of a history. ``size`` is in bytes as stored; of a .zip's member, unpacked."""

    path: Path
    member: str | None
    size: int
    format: AnyFormat
    tally: Tally = field(default_factory=Tally)

    def chunks(self, user: str) -> Iterator[tuple[int, list[Play]]]:
        """Plays in file order, ``CHUNK`` at a time, each with how many bytes are read so far."""
        with _stream(self.path, self.member) as (stream, position):
            plays = self.format.plays(stream, user, self.tally)
            while chunk := list(islice(plays, CHUNK)):
                self.tally.read += len(chunk)
                yield position(), chunk


@dataclass(slots=True)
class History:
    """Listening histories that were found: what they are, and their plays.

    ``files`` are read in this order. ``other_files`` counts what was found in folders and archives
    and is no history. The counts are those of the entries read so far.
    """

    user: str = field(repr=False)
    files: tuple[HistoryFile, ...]
    other_files: int

    @property
    def formats(self) -> Counter[str]:
        """How many files there are of each format."""
        return Counter(file.format.name for file in self.files)

    @property
    def total_bytes(self) -> int:
        """What ``progress`` reaches at the end."""
        return sum(file.size for file in self.files)

    @property
    def read(self) -> int:
        """Plays given out."""
        return sum(file.tally.read for file in self.files)

    @property
    def left_out(self) -> Counter[LeftOut]:
        """Entries that could be read and are no plays."""
        return sum((file.tally.left_out for file in self.files), Counter[LeftOut]())

    @property
    def unreadable(self) -> Counter[Unreadable]:
        """Entries that could not be read."""
        return sum((file.tally.unreadable for file in self.files), Counter[Unreadable]())

    def chunks(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[list[Play]]:
        """All plays, in lists of at most ``CHUNK``, file after file in the order of the files.

        Reads as the caller takes, in bounded memory. ``progress`` gets the bytes done of
        ``total_bytes``. A second pass starts over, counts included.

        Raises:
            SourceError: a file has gone or cannot be read any more.
        """
        done = 0
        for file in self.files:
            file.tally = Tally()
            for position, chunk in file.chunks(self.user):
                progress(done + position)
                yield chunk
            done += file.size
            progress(done)


def open_history(paths: Iterable[Path], user: str | None = None) -> History:
    """The histories at ``paths``; looks only at the beginning of each file.

    ``user`` is whose plays they are where the files do not say (Spotify, a ListenBrainz export).

    Raises:
        SourceError: a path is missing, cannot be read or is no history; the message names it as
            the caller gave it, and the known formats.
    """
    files: list[HistoryFile] = []
    others = 0
    for path in paths:
        found, other = _search(path)
        if not found:
            raise SourceError(
                f"{path} holds no listening history.", f"Known formats: {known_formats()}."
            )
        files += found
        others += other
    if not files:
        raise SourceError("No listening history is named.", "Name a file, a folder or a .zip.")
    return History(user or DEFAULT_USER, tuple(files), others)


def _search(path: Path) -> tuple[list[HistoryFile], int]:
    """Histories at ``path`` in the order of their names, and how many other files there are."""
    if not path.exists():
        raise SourceError(f"{path} does not exist.", "Name a file, a folder or a .zip.")
    places = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    found: list[HistoryFile] = []
    others = 0
    for place in places:
        for member, size in _members(place):
            known = _recognize(place, member)
            if known:
                found.append(HistoryFile(place, member, size, known))
            else:
                others += 1
    return found, others


def _members(path: Path) -> list[tuple[str | None, int]]:
    """Name and unpacked size of the files in a .zip; of any other file, None and its size."""
    with _readable(path), path.open("rb") as raw:
        if raw.read(len(_ZIP)) == _ZIP:
            with suppress(zipfile.BadZipFile), zipfile.ZipFile(raw) as archive:
                members = [each for each in archive.infolist() if not each.is_dir()]
                return [(each.filename, each.file_size) for each in members]
        return [(None, os.fstat(raw.fileno()).st_size)]


def _recognize(path: Path, member: str | None) -> AnyFormat | None:
    head = b""
    with suppress(*DAMAGE), _stream(path, member) as (stream, _):
        while len(head) < _HEAD and (block := stream.read1(_HEAD)):
            head += block
    return detect(head)


@contextmanager
def _stream(
    path: Path, member: str | None
) -> Iterator[tuple[io.BufferedIOBase, Callable[[], int]]]:
    """The file unpacked, and a function that says how many of its bytes are read."""
    with _readable(path), path.open("rb") as raw:
        zipped = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        if member is not None:
            with zipfile.ZipFile(raw) as archive, _member(archive, member, path) as unpacked:
                yield unpacked, unpacked.tell
        elif zipped:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked, raw.tell
        else:
            yield raw, raw.tell


def _member(archive: zipfile.ZipFile, member: str, path: Path) -> io.BufferedIOBase:
    try:
        return cast(io.BufferedIOBase, archive.open(member))
    except (RuntimeError, NotImplementedError):  # a password, an unknown compression
        raise SourceError(
            f"{path} is an archive that cannot be unpacked.", "Unpack it and name the folder."
        ) from None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what the operating system says into an error with a remedy."""
    try:
        yield
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}.", "Check that it is there and yours to read."
        ) from None
