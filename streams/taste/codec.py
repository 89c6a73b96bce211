"""A listener's state as bytes, for the changelog: `encode` and `decode`, many listeners at once.

A state is one `HEADER`, then the rows of `TOTALS`, `ARTISTS`, `GENRES` and `RHYTHM` (as many as the
header says), the lengths of the artists' and then the genres' names in characters (``<u4`` each),
and the names themselves, UTF-8, without separators. Everything is little-endian and unpadded.
``item`` counts the listener's own names, which ascend, so a body needs nothing beside it, and the
same plays give the same bytes. A body is that, packed (`packing`); `PLAIN` bodies are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.errors import StateError
from streams.taste import packing
from streams.taste.decay import TERMS, Ints
from streams.taste.increments import TOTALS_COLUMNS
from streams.taste.rows import Block, packed, starts
from streams.taste.snapshot import Heads, Named, Snapshot

PLAIN: Final = 1
"""First byte of a state, and of a body that an earlier release wrote."""
VERSION: Final = 2
"""First byte of a body; another value means another layout."""

HEADER: Final = np.dtype(
    [
        ("version", "u1"),
        ("offset", "<i8"),
        ("epoch", "<i4"),
        ("first", "<i4"),
        ("last", "<i4"),
        ("plays", "<i8"),
        ("listens", "<i8"),
        ("totals", "<u4"),
        ("artists", "<u4"),
        ("genres", "<u4"),
        ("rhythm", "<u4"),
        ("artist_names", "<u4"),
        ("genre_names", "<u4"),
    ]
)
"""Figures of `Heads` (times in minutes since 1970), then rows of each part, then names."""
TOTALS: Final = np.dtype([("band", "u1"), ("values", "<i8", (TOTALS_COLUMNS,))])
ARTISTS: Final = np.dtype(
    [
        ("item", "<u2"),
        ("band", "u1"),
        ("weight", "<i8", (len(TERMS),)),
        ("listens", "<u4"),
        ("first", "<i4"),
    ]
)
GENRES: Final = np.dtype([("item", "<u2"), ("band", "u1"), ("weight", "<i8", (len(TERMS),))])
RHYTHM: Final = np.dtype([("item", "u1"), ("band", "u1"), ("weight", "<i8", (1,))])
LENGTH: Final = np.dtype("<u4")
_SECTIONS: Final = {
    "totals": TOTALS,
    "artists": ARTISTS,
    "genres": GENRES,
    "rhythm": RHYTHM,
    "artist_names": LENGTH,
    "genre_names": LENGTH,
}
_WIDTHS: Final = tuple(layout.itemsize for layout in _SECTIONS.values())
_KNOWN: Final = {bytes((PLAIN,)), bytes((VERSION,))}
_OFFSET: Final = Struct("<Bq")
"""How a `HEADER` and a body begin."""
_COUNTS: Final = Struct(f"<{len(_SECTIONS)}I")
"""How a `HEADER` ends."""
_HEADS: Final = ("offset", "epoch", "first", "last", "plays", "listens")


def encode(snapshot: Snapshot) -> list[bytes]:
    """One body per listener of ``snapshot``, in its order."""
    count = len(snapshot.listeners)
    artists, genres = _Items.of(snapshot.artists, count), _Items.of(snapshot.genres, count)
    sections = (
        (_table(TOTALS, snapshot.totals), snapshot.totals.owner),
        (_table(ARTISTS, artists.block), artists.block.owner),
        (_table(GENRES, genres.block), genres.block.owner),
        (_table(RHYTHM, snapshot.rhythm), snapshot.rhythm.owner),
        (np.fromiter(map(len, artists.texts), LENGTH), artists.owner),
        (np.fromiter(map(len, genres.texts), LENGTH), genres.owner),
    )
    header = np.zeros(count, HEADER)
    header["version"] = PLAIN
    for name in _HEADS:
        header[name] = getattr(snapshot.heads, name)
    for name, (_, owner) in zip(_SECTIONS, sections, strict=True):
        header[name] = np.bincount(owner, minlength=count)
    columns = [_cut(header, np.arange(count), count)]
    columns += [_cut(table, owner, count) for table, owner in sections]
    columns.append(_joined(artists, genres, count))
    offsets = snapshot.heads.offset.tolist()
    return [
        packing.packed(VERSION, offset, head, zip(tables, _WIDTHS, strict=True), names)
        for offset, head, *tables, names in zip(offsets, *columns, strict=True)
    ]


def offsets(bodies: Sequence[bytes]) -> list[int]:
    """The highest offset of `listens` that each body includes.

    Raises:
        StateError: a body is of another version or shorter than its header.
    """
    _check(bodies)
    return [offset for _, offset in map(_OFFSET.unpack_from, bodies)]


def decode(listeners: Sequence[str], bodies: Sequence[bytes]) -> Snapshot:
    """What `encode` was given.

    Raises:
        StateError: a body is of another version, or too short, too long or otherwise no body.
    """
    _check(bodies)
    try:
        return _decoded(list(listeners), [plain(body) for body in bodies])
    except (ValueError, IndexError) as error:
        raise _damaged() from error


def _check(bodies: Sequence[bytes]) -> None:
    if not {body[:1] for body in bodies} <= _KNOWN:
        raise StateError(
            "A body in taste-state has a version that this release does not know.",
            "Run the release that wrote it, or empty the topic and fold `listens` again.",
        )
    if min(map(len, bodies), default=_OFFSET.size) < _OFFSET.size:
        raise _damaged()


def _damaged() -> StateError:
    return StateError(
        "A body in taste-state is damaged.",
        "Delete that listener's record and fold `listens` again.",
    )


@dataclass(frozen=True, slots=True)
class _Items:
    """Rows whose item is a position among the owner's own ``texts``, and whose texts they are."""

    block: Block
    texts: list[str]
    owner: Ints

    @classmethod
    def of(cls, named: Named, count: int) -> _Items:
        block = named.block
        first = starts(block.owner, block.item)
        owner = block.owner[first]
        size = np.diff(np.append(first, len(block)))
        before = np.searchsorted(owner, np.arange(count))
        own = np.repeat(np.arange(len(first)), size) - before[block.owner]
        texts = np.array(named.names, np.object_)[block.item[first]].tolist()
        return cls(Block(block.owner, packed(own, block.band), block.values), texts, owner)

    def named(self, count: int) -> Named:
        """The same with one ordered list of names."""
        size = np.bincount(self.owner, minlength=count)
        if (self.block.item >= size[self.block.owner]).any():
            raise ValueError("an item has no name")
        before = np.cumsum(size) - size
        ordered = sorted(set(self.texts))
        rank = {text: number for number, text in enumerate(ordered)}
        number = np.fromiter(map(rank.__getitem__, self.texts), np.int64, len(self.texts))
        block = self.block
        key = packed(number[before[block.owner] + block.item], block.band)
        return Named(Block(block.owner, key, block.values), ordered)


def _table(layout: np.dtype[np.void], block: Block) -> NDArray[np.void]:
    """Rows of ``block`` in ``layout``, the value columns in its order."""
    table = np.empty(len(block), layout)
    column = 0
    for name in layout.names or ():
        if name in ("item", "band"):
            table[name] = getattr(block, name)
        else:
            shape = layout[name].shape
            width = shape[0] if shape else 1
            table[name] = block.values[:, column : column + width].reshape(-1, *shape)
            column += width
    return table


def _block(table: NDArray[np.void], owner: Ints) -> Block:
    """What `_table` was given."""
    names = table.dtype.names or ()
    item = table["item"] if "item" in names else np.zeros(len(table))
    values = np.column_stack([table[name] for name in names if name not in ("item", "band")])
    key = packed(item.astype(np.int64), table["band"].astype(np.int64))
    return Block(owner, key, values.astype(np.int64))


def _cut(table: NDArray[np.generic], owner: Ints, count: int) -> Iterator[bytes]:
    """Bytes of each owner's rows."""
    data = table.tobytes()
    bounds = np.searchsorted(owner, np.arange(count + 1)) * table.itemsize
    return (data[begin:end] for begin, end in pairwise(bounds.tolist()))


def _joined(artists: _Items, genres: _Items, count: int) -> Iterator[bytes]:
    """Names of each owner in one run."""
    cuts = [
        np.searchsorted(part.owner, np.arange(count + 1)).tolist() for part in (artists, genres)
    ]
    for (a, b), (c, d) in zip(*map(pairwise, cuts), strict=True):
        yield "".join(artists.texts[a:b] + genres.texts[c:d]).encode()


def plain(body: bytes) -> bytes:
    """The state in a body of either version.

    Raises:
        ValueError: the body is damaged.
    """
    if body[0] == PLAIN:
        return body
    packed = packing.unpacked(body)
    if len(packed) < HEADER.itemsize:
        raise ValueError("shorter than a header")
    counts = _COUNTS.unpack_from(packed, HEADER.itemsize - _COUNTS.size)
    sizes = [count * width for count, width in zip(counts, _WIDTHS, strict=True)]
    return packing.straight(packed, HEADER.itemsize, zip(sizes, _WIDTHS, strict=True))


def _decoded(listeners: list[str], bodies: Sequence[bytes]) -> Snapshot:
    if min(map(len, bodies), default=HEADER.itemsize) < HEADER.itemsize:
        raise ValueError("shorter than a header")
    header = np.frombuffer(b"".join(body[: HEADER.itemsize] for body in bodies), HEADER)
    counts = np.stack([header[name] for name in _SECTIONS]).astype(np.int64)
    sizes = counts * np.array([[width] for width in _WIDTHS])
    ends = HEADER.itemsize + np.cumsum(sizes, axis=0)
    if any(len(body) < end for body, end in zip(bodies, ends[-1].tolist(), strict=True)):
        raise ValueError("shorter than its header says")
    count = len(listeners)

    def section(number: int, last: int) -> bytes:
        bounds = zip(bodies, (ends - sizes)[number].tolist(), ends[last].tolist(), strict=True)
        return b"".join(body[begin:end] for body, begin, end in bounds)

    blocks = [
        _block(
            np.frombuffer(section(number, number), layout),
            np.repeat(np.arange(count), counts[number]),
        )
        for number, layout in enumerate((TOTALS, ARTISTS, GENRES, RHYTHM))
    ]
    artists, genres = _split(
        [body[end:] for body, end in zip(bodies, ends[-1].tolist(), strict=True)],
        np.frombuffer(section(4, 5), LENGTH).tolist(),
        counts[4].tolist(),
        counts[5].tolist(),
    )
    owners = [np.repeat(np.arange(count), counts[number]) for number in (4, 5)]
    return Snapshot(
        listeners,
        Heads(*(header[name].astype(np.int64) for name in _HEADS)),
        blocks[0],
        _Items(blocks[1], artists, owners[0]).named(count),
        _Items(blocks[2], genres, owners[1]).named(count),
        blocks[3],
    )


def _split(
    runs: list[bytes], lengths: list[int], artists: list[int], genres: list[int]
) -> tuple[list[str], list[str]]:
    """Names of all artists and of all genres, owner by owner."""
    remaining = iter(lengths)
    one: list[str] = []
    other: list[str] = []
    for run, some, more in zip(runs, artists, genres, strict=True):
        text = run.decode()
        cuts = list(accumulate(islice(remaining, some + more), initial=0))
        if cuts[-1] != len(text):
            raise ValueError("names are cut short or something follows them")
        pieces = [text[begin:end] for begin, end in pairwise(cuts)]
        one += pieces[:some]
        other += pieces[some:]
    return one, other
