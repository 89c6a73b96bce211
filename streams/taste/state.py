"""Taste state of the listeners of one partition: fold listens, checkpoint, profile, dump, restore.

Figures are whole-number sums by band (`decay`), so the same listens in any order, in any batches,
with any checkpoints, restarts and merges between, give the same profiles and the same bodies, byte
by byte. The one thing that depends on when checkpoints fall is what pruning leaves of a listener
with more than twice as many artists or genres as the bounds keep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from streams.errors import StateError
from streams.taste import codec, decay, increments, profile
from streams.taste.decay import Ints
from streams.taste.items import Items
from streams.taste.names import Names
from streams.taste.resting import Resting
from streams.taste.rows import Block, Rows, combine, less
from streams.taste.snapshot import NOTHING, Heads, Snapshot, Span

PATIENCE: Final = 150
"""Checkpoints without a change after which a listener rests: 5 minutes of them by default."""
_SETTLED: Final = 4_096
"""Listeners that come to rest at a checkpoint, at most; bounds how long it takes."""
_NEVER: Final = np.iinfo(np.int64).max
_PENDING: Final = 262_144
"""Listens after which they are merged without waiting for a checkpoint."""
_TOGETHER: Final = 16_384
"""Listeners merged, or put in order of names, at a time; bounds what that copies."""
_PAGE: Final = 2_048
"""Listeners profiled or dumped at a time; their rows fit the processor's cache."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many artists and genres of a listener pruning leaves; up to twice as many are held."""

    top_artists: int = 64
    top_genres: int = 32


@dataclass(frozen=True, slots=True)
class Changed:
    """Listeners whose state changed since the last checkpoint, and those that are gone."""

    listeners: list[str]
    gone: list[str]


class Dump(NamedTuple):
    """Records of ``taste-state``: key, body and highest offset included of each listener."""

    listeners: list[str]
    bodies: list[bytes]
    offsets: list[int]


class Written(NamedTuple):
    """What is written of some listeners: profiles as `TasteState.profile_tables` makes them, and
    what a `Dump` has of them."""

    profiles: pa.Table
    listeners: list[str]
    bodies: pa.LargeBinaryArray
    offsets: Ints


class TasteState:
    """State of the listeners of one partition of ``listens``. Not for several threads at once.

    Memory is bounded by the number of listeners: each has at most twice the artists and genres of
    ``bounds``, with one row for each half year in which it was heard. Who was loaded, or has not
    changed for ``patience`` checkpoints, *rests*: as the body that was loaded or would be dumped,
    until something is asked or folded of them. So a takeover costs what reading costs, and who is
    not listening takes a third of the memory.
    """

    def __init__(self, bounds: Bounds, patience: int = PATIENCE) -> None:
        self._slots = Names()
        self._resting = Resting()
        self._heads = Heads.blank(0)
        self._newest = NOTHING
        self._totals = Rows(increments.TOTALS_COLUMNS)
        self._rhythm = Rows(increments.RHYTHM_COLUMNS)
        self._artists = Items(
            increments.ARTIST_COLUMNS, decay.WEIGHT, bounds.top_artists, least=True
        )
        self._genres = Items(increments.GENRE_COLUMNS, decay.GENRE_WEIGHT, bounds.top_genres)
        self._pending: list[pl.DataFrame] = []
        self._waiting = 0
        self._changed: set[int] = set()
        self._gone: set[str] = set()
        self._patience = patience
        self._round = 0
        self._stirred = np.zeros(0, np.int64)

    @property
    def listeners(self) -> int:
        """Listeners with state."""
        return len(self._slots) + len(self._resting)

    @property
    def resting(self) -> int:
        """Listeners who rest."""
        return len(self._resting)

    @property
    def next_offset(self) -> int:
        """The offset after the newest listen that any state includes or included."""
        return self._newest + 1

    @property
    def nbytes(self) -> int:
        """Bytes of arrays and bodies; names and what waits to be merged come on top."""
        return sum(each.nbytes for each in (self._heads, self._resting, *self._parts()))

    def fold(self, frame: pl.DataFrame) -> int:
        """Include the listens of ``frame`` (columns: see below) and return how many were new.

        A listen whose offset is not above what its listener includes is skipped, so folding again
        after a half-finished flush changes nothing. Columns: ``offset``, ``listener``, ``epoch``,
        ``started_at`` (ms, whole minutes), ``ms_played`` and ``completion`` (percent; null where
        unknown), ``counted``, ``skipped``, ``artist``, ``genres``; offsets must ascend.

        Raises:
            StateError: a listen starts before 1970 or after 2096; nothing of ``frame`` is folded.
        """
        if frame.is_empty():
            return 0
        low, high = frame.select(
            low=pl.col("started_at").min(), high=pl.col("started_at").max()
        ).row(0)
        if low < 0 or high >= decay.BANDS * decay.BAND * decay.MINUTE_MS:
            raise StateError(
                "The field started_at of a listen is outside 1970 to 2096.",
                "Narrow `earliest` and `future_tolerance_s` of the gate.",
            )
        folded = 0
        for part in frame.select(increments.COLUMNS).iter_slices(_PENDING):
            folded += self._take(self._fresh(part))
        return folded

    def checkpoint(self) -> Changed:
        """Merge what waits, prune, tidy up; return who changed since the last checkpoint."""
        self._merge()
        self._artists.forget_names()
        self._genres.forget_names()
        changed = Changed(
            self._slots.texts(sorted(self._changed)),
            sorted(name for name in self._gone if name not in self._slots),
        )
        self._settle()
        self._changed.clear()
        self._gone.clear()
        return changed

    def profile_tables(self, listeners: Sequence[str], items: int) -> Iterator[pa.Table]:
        """Profiles of ``listeners`` in this order, with the top ``items`` of each term.

        A row per listener with the nested columns of ``schemas/taste-profile.avsc``, in tables of
        some thousand rows, made as they are read: read them to the end before folding on.

        Raises:
            StateError: a listener has no state.
        """
        return (profile.table(page, items) for page in self._pages(listeners))

    def profiles(self, listeners: Sequence[str], items: int) -> Iterator[dict[str, Any]]:
        """The same as records, which take several times as long.

        Raises:
            StateError: a listener has no state.
        """
        for page in self.profile_tables(listeners, items):
            yield from page.to_pylist()

    def dump(self, listeners: Sequence[str]) -> Dump:
        """Records that restore ``listeners``, in this order.

        Raises:
            StateError: a listener has no state.
        """
        dump = Dump([], [], [])
        for page in self._pages(listeners):
            dump.listeners.extend(page.listeners)
            dump.bodies.extend(codec.encode(page).to_pylist())
            dump.offsets.extend(page.heads.offset.tolist())
        return dump

    def written(self, listeners: Sequence[str], items: int) -> Iterator[Written]:
        """`profile_tables` and `dump` at once, page by page.

        Raises:
            StateError: a listener has no state.
        """
        for page in self._pages(listeners):
            profiles = profile.table(page, items)
            yield Written(profiles, page.listeners, codec.encode(page), page.heads.offset)

    def load_many(self, listeners: Sequence[str], bodies: Sequence[bytes]) -> None:
        """Give listeners the state in their bodies, in place of any they have.

        Of a listener that is named twice the last body counts.

        Raises:
            StateError: a body is no body, or of a version this release does not know; then the
                state is to be thrown away. Other damage raises it when the listener is needed.
        """
        if not bodies:
            return
        self._merge()
        self._empty([name for name in dict.fromkeys(listeners) if name in self._slots])
        self._newest = max(self._newest, self._resting.put(listeners, bodies))

    def __contains__(self, listener: str) -> bool:
        self._merge()
        return listener in self._slots or listener in self._resting

    def span(self, listener: str) -> Span | None:
        """The plays of ``listener``; None without state."""
        if not self._has(listener):
            return None
        return self._heads.take(self._slots.ids([listener])).span()

    def held(self, listener: str) -> dict[str, Any]:
        """All that is held of ``listener``, for them to read.

        Raises:
            StateError: the listener has no state.
        """
        (page,) = self._pages([listener])
        return profile.described(page)

    def forget(self, listener: str) -> bool:
        """Remove everything about ``listener``; whether there was anything."""
        if listener not in self:
            return False
        self._release([listener])
        return True

    def rename(self, old: str, new: str, epoch: int) -> bool:
        """Make ``new``, of key ``epoch``, what ``old`` was, on top of what it is; whether there was
        an ``old``. The higher of both offsets is taken as included."""
        return bool(self.rename_many([(old, new, epoch)]))

    def rename_many(self, names: Iterable[tuple[str, str, int]]) -> list[str]:
        """`rename` for many, one after the other; the old ones that had state."""
        names = list(names)
        self._wake(name for old, new, _ in names for name in (old, new))
        renamed: list[str] = []
        run: dict[str, tuple[str, int]] = {}
        seen: set[str] = set()
        for old, new, epoch in names:
            if old in seen or new in seen:
                renamed += self._rename(run)
                run, seen = {}, set()
            if old != new:
                run[old] = (new, epoch)
                seen |= {old, new}
        return renamed + self._rename(run)

    def subtract(self, listener: str, frame: pl.DataFrame, newest: int) -> None:
        """Take listens of ``listener`` that were folded out again; it goes if no play is left.

        Counts and sums are then as if they had never been. Not known any more, and left as they
        are, are the first play of the listener, the first listen of an artist in a half year, and
        what pruning would have kept. ``newest`` (ms): no play that is left started after it.

        Raises:
            StateError: the listener has no state.
        """
        if not self._has(listener):
            raise _no_state()
        slot = self._slots.ids([listener])
        self._heads.plays[slot] -= len(frame)
        self._heads.listens[slot] -= int(frame["counted"].sum())
        if self._heads.plays[slot[0]] <= 0:
            self._release([listener])
            return
        self._heads.last[slot] = np.minimum(self._heads.last[slot], newest // decay.MINUTE_MS)
        names = self._artists.names, self._genres.names
        blocks = increments.increments(frame, np.zeros(len(frame), np.int64), *names)
        for rows, block in zip(self._parts(), blocks, strict=True):
            least = rows is self._artists.rows
            rows.put(slot, less(rows.block(slot), block, least))
        self._changed.update(slot.tolist())

    def artist_rows(self, listener: str, artist: str | None, start: int, until: int) -> int:
        """How many rows there are of ``artist`` (None: any) in the half years that ``[start,
        until)``, ms, touches."""
        if not self._has(listener):
            return 0
        block = self._artists.rows.block(self._slots.ids([listener]))
        return int(self._artists.touched(block, artist, start, until).sum())

    def drop_artist(self, listener: str, artist: str, start: int, until: int) -> int:
        """Remove those rows, and how many. Totals, genres and rhythm, which do not tell artists
        apart, stay."""
        if not self._has(listener):
            return 0
        slot = self._slots.ids([listener])
        block = self._artists.rows.block(slot)
        dropped = self._artists.touched(block, artist, start, until)
        self._artists.rows.put(slot, block.where(~dropped))
        self._changed.update(slot.tolist())
        return int(dropped.sum())

    def _settle(self) -> None:
        """Have some who have not changed for long rest."""
        self._round += 1
        idle = np.flatnonzero(self._stirred < self._round - self._patience)[:_SETTLED]
        listeners = self._slots.texts(idle.tolist())
        if listeners:
            dump = self.dump(listeners)
            self._empty(listeners)
            self._resting.put(dump.listeners, dump.bodies)
            for rows in self._parts():
                rows.tidy()
        self._stirred[idle] = _NEVER

    def _parts(self) -> tuple[Rows, Rows, Rows, Rows]:
        return self._totals, self._artists.rows, self._genres.rows, self._rhythm

    def _rename(self, names: Mapping[str, tuple[str, int]]) -> list[str]:
        olds = [old for old in names if old in self._slots]
        if olds:
            source = self._slots.ids(olds)
            target = self._slot_of([names[old][0] for old in olds])
            head = self._heads.take(source)
            head.epoch[:] = [names[old][1] for old in olds]
            self._heads.add(target, head)
            self._add(target, *(rows.block(source) for rows in self._parts()))
            self._changed.update(target.tolist())
            self._release(olds)
        return olds

    def _has(self, listener: str) -> bool:
        """Whether there is state, which is in the arrays then."""
        self._wake([listener])
        return listener in self._slots

    def _wake(self, listeners: Iterable[str]) -> None:
        """Bring those of ``listeners`` who rest into the arrays, with what waits for them."""
        self._merge()
        for snapshot in self._resting.take(listeners):
            self._put(snapshot)

    def _release(self, listeners: list[str]) -> None:
        self._empty([name for name in listeners if self._resting.pop(name, None) is None])
        self._gone.update(listeners)

    def _empty(self, listeners: list[str]) -> None:
        slots = np.array([self._slots.release(name) for name in listeners], np.int64)
        self._heads.put(slots, Heads.blank(len(slots)))
        for rows in self._parts():
            rows.put(slots, rows.block(slots[:0]))
        self._changed.difference_update(slots.tolist())

    def _fresh(self, frame: pl.DataFrame) -> pl.DataFrame:
        offsets = frame["offset"].to_numpy()
        if offsets[0] > self._newest:
            return frame
        self._wake(frame["listener"].unique())
        included = np.append(self._heads.offset, NOTHING)  # a listener without slot reads the last
        slots = [self._slots.get(listener, -1) for listener in frame["listener"]]
        return frame.filter(pl.Series(offsets > included[slots]))

    def _take(self, frame: pl.DataFrame) -> int:
        if len(frame):
            self._pending.append(frame)
            self._waiting += len(frame)
            self._newest = max(self._newest, frame["offset"][-1])
            if self._waiting >= _PENDING:
                self._merge()
        return len(frame)

    def _slot_of(self, listeners: list[str]) -> Ints:
        return self._stir(self._slots.ids(listeners))

    def _stir(self, slots: Ints) -> Ints:
        """Note that ``slots``, which may be new, are needed."""
        self._heads.reach(self._slots.capacity)
        missing = len(self._heads.offset) - len(self._stirred)
        if missing:
            self._stirred = np.append(self._stirred, np.full(missing, _NEVER))
        self._stirred[slots] = self._round
        return slots

    def _merge(self) -> None:
        if not self._pending:
            return
        frame = pl.concat(self._pending)
        self._pending.clear()
        self._waiting = 0
        if self._resting:
            self._wake(frame["listener"].unique())
        slot = self._stir(self._slots.ids_of(frame["listener"]))
        self._heads.add(slot, increments.heads(frame))
        touched = np.zeros(self._slots.capacity, np.bool_)
        touched[slot] = True
        slots = np.flatnonzero(touched)
        owner = (np.cumsum(touched) - 1)[slot]
        blocks = increments.increments(frame, owner, self._artists.names, self._genres.names)
        for begin in range(0, len(slots), _TOGETHER):
            end = min(begin + _TOGETHER, len(slots))
            self._add(slots[begin:end], *(block.part(begin, end) for block in blocks))
        self._changed.update(slots.tolist())

    def _add(
        self, slots: Ints, totals: Block, artists: Block, genres: Block, rhythm: Block
    ) -> None:
        as_of = self._heads.last[slots]
        self._totals.put(slots, combine(self._totals.block(slots), totals))
        self._artists.add(slots, artists, as_of)
        self._genres.add(slots, genres, as_of)
        self._rhythm.put(slots, combine(self._rhythm.block(slots), rhythm))

    def _put(self, snapshot: Snapshot) -> None:
        slots = self._slot_of(snapshot.listeners)
        self._heads.put(slots, snapshot.heads)
        self._totals.put(slots, snapshot.totals)
        self._artists.put(slots, snapshot.artists)
        self._genres.put(slots, snapshot.genres)
        self._rhythm.put(slots, snapshot.rhythm)

    def _pages(self, listeners: Sequence[str]) -> Iterator[Snapshot]:
        self._merge()
        if not all(name in self._slots or name in self._resting for name in listeners):
            raise _no_state()
        for begin in range(0, len(listeners), _TOGETHER):
            some = list(listeners[begin : begin + _TOGETHER])
            self._wake(some)
            slots = self._slots.ids(some)
            artists, genres = self._artists.order(slots), self._genres.order(slots)
            for first in range(0, len(some), _PAGE):
                page = slots[first : first + _PAGE]
                yield Snapshot(
                    some[first : first + _PAGE],
                    self._heads.take(page),
                    self._totals.block(page),
                    self._artists.named(page, artists),
                    self._genres.named(page, genres),
                    self._rhythm.block(page),
                )


def _no_state() -> StateError:
    return StateError(
        "A listener without state was asked for.",
        "Ask for those that the last checkpoint returned.",
    )
