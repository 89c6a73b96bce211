"""A listener's state as bytes, for the changelog: `encode` and `decode`, many listeners at once.

A body is `VERSION`, the highest offset of `listens` that is included, a checksum of what follows,
how many numbers there are, the numbers (sizes, then bytes: `numbers`) and the names, UTF-8, without
separators. The numbers are `FIGURES`, then `SECTIONS`, each row by row, then a zero if they are odd
in number. An item is a position among the listener's own names, which ascend: a body needs nothing
beside it, and the same plays give the same bytes.

Rows ascend by ``item * bands + band - first band``, and what is written is how much that is above
the row before. An artist heard once in a half year has no weights: they follow from the minute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, repeat
from struct import Struct
from typing import Final
from zlib import adler32

import numpy as np
import pyarrow as pa

from streams.errors import StateError
from streams.rows import BINARY, bounds, cut, joined
from streams.taste import decay, numbers
from streams.taste.decay import TERMS, Ints
from streams.taste.increments import GENRE_COLUMNS, HOURS, RHYTHM_COLUMNS, TOTALS_COLUMNS
from streams.taste.rows import Block, Mask
from streams.taste.snapshot import Heads, Snapshot
from streams.taste.spelling import Spelled, spelled
from streams.taste.steps import Bands

VERSION: Final = 3
"""First byte of a body; another value means another layout."""
SECTIONS: Final[Mapping[str, int]] = {
    "totals": 1 + TOTALS_COLUMNS,
    "artists": 3,
    "weights": len(TERMS),
    "genres": 1 + GENRE_COLUMNS,
    "rhythm": 1 + RHYTHM_COLUMNS,
    "artist_names": 1,
    "genre_names": 1,
}
"""Numbers in a row of each: the step from the row before, then its values. Of artists the listens
(0: one, with weights) and minutes since the band began, of names their bytes. ``weights`` are those
of the artists that have any."""
_HEADS: Final = ("epoch", "first", "last", "plays", "listens")
FIGURES: Final = (*_HEADS, "band", "bands", "era", "eras", *SECTIONS)
"""Of `Heads`, times in minutes since 1970; first band of a row and how many there are up to the
last, the same of the rhythm; rows of each section."""

_NAMES: Final = ("artist_names", "genre_names")
_OFFSET: Final = Struct("<Bq")
_HEAD: Final = Struct("<BqI")
_COUNT: Final = Struct("<I")
_NUMBERS: Final = _HEAD.size + _COUNT.size


def encode(snapshot: Snapshot) -> pa.LargeBinaryArray:
    """One body per listener of ``snapshot``, in its order."""
    count = len(snapshot.listeners)
    totals, rhythm = snapshot.totals, snapshot.rhythm
    artists, artist_names = Spelled.of(snapshot.artists)
    genres, genre_names = Spelled.of(snapshot.genres)
    bands, eras = Bands.of(count, totals, artists, genres), Bands.of(count, rhythm)
    heard, weighted = _heard(artists)
    sections = (
        (np.column_stack((bands.steps(totals), totals.values)), totals.owner),
        (np.column_stack((bands.steps(artists), heard)), artists.owner),
        (artists.values[weighted, : len(TERMS)], artists.owner[weighted]),
        (np.column_stack((bands.steps(genres), genres.values)), genres.owner),
        (np.column_stack((eras.steps(rhythm), rhythm.values)), rhythm.owner),
        (artist_names.lengths, artist_names.owner),
        (genre_names.lengths, genre_names.owner),
    )
    rows = np.stack([np.bincount(owner, minlength=count) for _, owner in sections])
    heads = [getattr(snapshot.heads, name) for name in _HEADS]
    figures = np.column_stack((*heads, bands.first, bands.size, eras.first, eras.size, *rows))
    counts = _counts(rows)
    stream = np.zeros(int(counts.sum()), np.int64)
    columns = (figures, *(table for table, _ in sections))
    for place, column in zip(numbers.places(counts), columns, strict=False):
        stream[place] = column.ravel()
    written = _written(stream, counts.sum(axis=0))
    names = artist_names.runs(count), genre_names.runs(count)
    return _bodies(snapshot.heads.offset, joined(*written, *names))


def offsets(bodies: Sequence[bytes]) -> list[int]:
    """The highest offset of `listens` that each body includes.

    Raises:
        StateError: a body is of another version or shorter than its header.
    """
    if not {body[:1] for body in bodies} <= {bytes((VERSION,))}:
        raise StateError(
            "A body in taste-state has a version that this release does not know.",
            "Run the release that wrote it, or empty the topic and fold `listens` again.",
        )
    if min(map(len, bodies), default=_NUMBERS) < _NUMBERS:
        raise _damaged()
    return [offset for _, offset in map(_OFFSET.unpack_from, bodies)]


def decode(listeners: Sequence[str], bodies: Sequence[bytes]) -> Snapshot:
    """What `encode` was given.

    Raises:
        StateError: a body is of another version, or too short, too long or otherwise no body.
    """
    included = offsets(bodies)
    try:
        return _decoded(list(listeners), np.array(included, np.int64), bodies)
    except (ValueError, IndexError) as error:
        raise _damaged() from error


def _damaged() -> StateError:
    return StateError(
        "A body in taste-state is damaged.",
        "Delete that listener's record and fold `listens` again.",
    )


def _heard(artists: Block) -> tuple[Ints, Mask]:
    """Listens and minutes of each row, and which rows have weights."""
    *weights, listens, first = artists.values.T
    weighted = listens != 1
    once = np.flatnonzero(~weighted)
    due = decay.weights(first[once])
    weighted[once] = (np.stack(weights)[:, once] != due).any(axis=0)
    told = np.where(weighted & (listens == 1), 0, listens)
    return np.column_stack((told, first - artists.band * decay.BAND)), weighted


def _artists(block: Block, weights: Ints) -> Block:
    """``block``, whose values are what `_heard` told, with all values."""
    told, minutes = block.values.T
    first = minutes + block.band * decay.BAND
    due = told == 1
    values = np.empty((len(block), len(TERMS) + 2), np.int64)
    values[~due, : len(TERMS)] = weights
    values[due, : len(TERMS)] = decay.weights(first[due]).T
    values[:, len(TERMS)] = np.maximum(told, 1)
    values[:, len(TERMS) + 1] = first
    return Block(block.owner, block.key, values)


def _counts(rows: Ints) -> Ints:
    """Numbers of the figures, of each section and to make them even, from rows by section and
    owner; shape (sections + 2, owners)."""
    widths = np.array([[width] for width in SECTIONS.values()])
    counts = np.concatenate([np.full((1, rows.shape[1]), len(FIGURES)), rows * widths])
    return np.concatenate([counts, counts.sum(axis=0, keepdims=True) % 2])


def _written(stream: Ints, count: Ints) -> Iterator[pa.LargeBinaryArray]:
    """How many, sizes and bytes of the ``count`` numbers of each owner."""
    sizes, data = numbers.shrunk(stream)
    ends = np.append(0, np.cumsum(count))
    yield cut(_COUNT.size * np.arange(len(ends)), count.astype("<u4"))
    yield cut(ends // 2, numbers.paired(sizes))
    yield cut(np.append(0, np.cumsum(sizes, dtype=np.int64))[ends], data)


def _bodies(offset: Ints, rest: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    data = memoryview(rest.buffers()[2] or b"")
    checksums = [adler32(data[begin:end]) for begin, end in pairwise(bounds(rest).tolist())]
    heads = map(_HEAD.pack, repeat(VERSION), offset.tolist(), checksums)
    return joined(pa.array(list(heads), BINARY), rest)


def _decoded(listeners: list[str], included: Ints, bodies: Sequence[bytes]) -> Snapshot:
    count, stream, names = _read(bodies)
    first = np.cumsum(count) - count
    figures = dict(zip(FIGURES, stream[first + np.arange(len(FIGURES))[:, None]], strict=True))
    rows = np.stack([figures[name] for name in SECTIONS])
    if ((rows < 0) | (rows > count)).any() or (_counts(rows).sum(axis=0) != count).any():
        raise ValueError("other sections than the numbers make")
    places = dict(zip(SECTIONS, numbers.places(_counts(rows))[1:], strict=False))
    owners = {name: np.repeat(np.arange(len(listeners)), figures[name]) for name in SECTIONS}
    tables = {name: stream[place].reshape(-1, SECTIONS[name]) for name, place in places.items()}

    def block(its: Bands, name: str, items: Ints) -> Block:
        table = tables[name]
        return its.block(owners[name], table[:, 0], table[:, 1:], items)

    bands = Bands(figures["band"], figures["bands"])
    eras = Bands(figures["era"], figures["eras"])
    artists = _artists(block(bands, "artists", figures["artist_names"]), tables["weights"])
    genres = block(bands, "genres", figures["genre_names"])
    artist_names, genre_names = _names(names, stream, owners, places)
    return Snapshot(
        listeners,
        Heads(included, *(figures[name] for name in _HEADS)),
        block(bands, "totals", np.ones_like(count)),
        artist_names.named(artists),
        genre_names.named(genres),
        block(eras, "rhythm", np.full_like(count, HOURS)),
    )


def _read(bodies: Sequence[bytes]) -> tuple[Ints, Ints, list[bytes]]:
    """Of each body how many numbers it has, these, and its names in one run."""
    if any(_HEAD.unpack_from(body)[-1] != adler32(body[_HEAD.size :]) for body in bodies):
        raise ValueError("not what was written")
    counts = [_COUNT.unpack_from(body, _HEAD.size)[0] for body in bodies]
    ends = [_NUMBERS + count // 2 for count in counts]
    pairs = b"".join(body[_NUMBERS:end] for body, end in zip(bodies, ends, strict=True))
    count = np.array(counts, np.int64)
    if (count < len(FIGURES)).any() or count.sum() != 2 * len(pairs):
        raise ValueError("other sizes than numbers")
    sizes = numbers.unpaired(np.frombuffer(pairs, np.uint8))
    taken = np.add.reduceat(sizes, np.cumsum(count) - count, dtype=np.int64)
    cuts = [end + its for end, its in zip(ends, taken.tolist(), strict=True)]
    pieces = zip(bodies, ends, cuts, strict=True)
    data = b"".join(body[end:cut] for body, end, cut in pieces)
    names = [body[cut:] for body, cut in zip(bodies, cuts, strict=True)]
    return count, numbers.grown(sizes, np.frombuffer(data, np.uint8)), names


def _names(
    runs: list[bytes], stream: Ints, owners: Mapping[str, Ints], places: Mapping[str, Ints]
) -> tuple[Spelled, Spelled]:
    """Names of artists and of genres; in a run the one come before the other."""
    both = [places[name] for name in _NAMES]
    order = np.argsort(np.concatenate(both))
    lengths = stream[np.concatenate(both)[order]]
    owner = np.concatenate([owners[name] for name in _NAMES])[order]
    texts = spelled(runs, lengths, owner)
    artist = order < len(both[0])
    one, other = (
        Spelled(owner[chosen], texts.filter(pa.array(chosen))) for chosen in (artist, ~artist)
    )
    return one, other
