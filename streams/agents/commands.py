"""What stores are told about listeners, and what they must remember of it.

The gate writes `privacy-commands` and `privacy-rekeys` beside the listens, and commands commute
with listens: a store that has carried out an erasure still drops what arrives later from before it,
and renames what still arrives under an old pseudonym. `Held` is that memory. It is built from both
topics when a worker starts, so it is bounded by their retention, which is that of `listens`: what a
command could still concern has left the topic by the time the command does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from aiokafka import AIOKafkaConsumer

from streams.agents.codecs import Codecs
from streams.agents.role import Sender
from streams.avro.encode import ColumnEncoder
from streams.errors import StateError
from streams.privacy.standing import Exclusion
from streams.topics import PRIVACY_ANSWERS, PRIVACY_COMMANDS, PRIVACY_REKEYS
from streams.transport.batch import RecordBatch
from streams.transport.reader import read_span

_COMMAND = (
    "request", "audience", "listener", "action", "before", "issued_at", "exclude_artist",
    "exclude_from", "exclude_until",
)  # fmt: skip
_REKEY = ("audience", "old", "new", "epoch")


@dataclass(frozen=True, slots=True)
class Command:
    """A record of ``privacy-commands``. Times are milliseconds since 1970 UTC."""

    offset: int
    request: str
    audience: str
    listener: str = field(repr=False)
    action: str
    before: int | None
    issued_at: int
    exclude_artist: str | None = field(repr=False)
    exclude_from: int | None = field(repr=False)
    exclude_until: int | None = field(repr=False)

    @property
    def horizon(self) -> int:
        """With erase: what started before this goes."""
        return self.issued_at if self.before is None else self.before

    @property
    def exclusion(self) -> Exclusion:
        """With exclude: what to leave out."""
        return Exclusion(self.exclude_artist, self.exclude_from, self.exclude_until)


@dataclass(frozen=True, slots=True)
class Rekey:
    """A record of ``privacy-rekeys``."""

    offset: int
    audience: str
    old: str = field(repr=False)
    new: str = field(repr=False)
    epoch: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store did: the fields of ``schemas/privacy-answer.avsc`` but the time."""

    request: str
    audience: str
    store: str
    action: str
    removed: int
    remaining: int
    check: str
    held: str | None = field(default=None, repr=False)


async def decode_commands(codecs: Codecs, batch: RecordBatch, audience: str) -> list[Command]:
    """The commands of a batch that are for ``audience``, in order.

    Raises:
        StateError: a record does not decode. No command may be skipped, so the worker must stop.
    """
    rows = await _decoded(codecs, batch, _COMMAND, audience)
    return [Command(offset, *row) for offset, *row in rows]


async def decode_rekeys(codecs: Codecs, batch: RecordBatch, audience: str) -> list[Rekey]:
    """The rekeys of a batch that are for ``audience``, in order.

    Raises:
        StateError: a record does not decode.
    """
    rows = await _decoded(codecs, batch, _REKEY, audience)
    return [Rekey(offset, *row) for offset, *row in rows]


def answer_rows(answers: Iterable[Answer], finished_at: int) -> pl.DataFrame:
    """Rows of ``privacy-answers``; ``finished_at`` in ms. Nobody waits for one without request."""
    rows = [
        {name: getattr(answer, name) for name in Answer.__slots__} | {"finished_at": finished_at}
        for answer in answers
        if answer.request
    ]
    return pl.DataFrame(rows, schema=_ANSWER)


async def send_answers(
    sender: Sender,
    encoder: ColumnEncoder,
    partition: int,
    answers: Iterable[Answer],
    finished_at: int,
) -> None:
    """Write answers to ``partition``, that of their commands.

    Raises:
        BrokerError: they were not taken; some may be in the topic.
    """
    rows = answer_rows(answers, finished_at)
    if len(rows):
        keys = [request.encode() for request in rows["request"]]
        await sender.send_records(PRIVACY_ANSWERS.name, partition, keys, encoder.encode(rows))


class Held:
    """What holds for the listeners of one partition and audience, by their newest pseudonym.

    The order in which commands and rekeys are noted makes no difference but among the commands and
    among the rekeys of one listener.
    """

    def __init__(self) -> None:
        self.alias: dict[str, str] = {}
        """Newer pseudonym by older one, step by step."""
        self.suppressed: dict[str, int] = {}
        """Listens that started before this moment, ms, are dropped, by listener."""
        self.exclusions: dict[str, frozenset[Exclusion]] = {}
        """Listens that are dropped, by listener."""
        self._epochs: dict[str, int] = {}
        self._restrictions: dict[str, tuple[int, bool]] = {}

    @classmethod
    async def load(
        cls,
        reader: AIOKafkaConsumer,
        codecs: Codecs,
        partition: int,
        audience: str,
        command_offset: int,
        rekey_offset: int,
        restricted: Iterable[str] = (),
    ) -> Held:
        """What the commands and rekeys before these offsets, as far as they are kept, come to.

        ``restricted`` is what `all_restricted` was at those offsets: a restriction holds until it
        is lifted, however long ago its command was.

        Raises:
            StateError: a record does not decode.
        """
        held = cls()
        held._restrictions.update(dict.fromkeys(restricted, (-1, True)))
        async for batch in read_span(reader, PRIVACY_REKEYS.name, partition, 0, rekey_offset):
            for rekey in await decode_rekeys(codecs, batch, audience):
                held.note(rekey)
        async for batch in read_span(reader, PRIVACY_COMMANDS.name, partition, 0, command_offset):
            for command in await decode_commands(codecs, batch, audience):
                held.note(command)
        return held

    def note(self, event: Command | Rekey) -> None:
        """Have a command or rekey hold from now on. Noting it again changes nothing."""
        if isinstance(event, Rekey):
            self._rename(self.current(event.old), self.current(event.new), event.epoch)
            return
        name = self.current(event.listener)
        if event.action == "erase":
            self.suppress(name, event.horizon)
        elif event.action == "exclude":
            self.exclude(name, {event.exclusion})
        elif event.action in ("restrict", "lift"):
            newest = (event.offset, event.action == "restrict")
            self._restrictions[name] = max(newest, self._restrictions.get(name, newest))

    def suppress(self, listener: str, before: int) -> None:
        """Drop listens of ``listener``, a current pseudonym, that started before ``before``, ms."""
        self.suppressed[listener] = max(before, self.suppressed.get(listener, before))

    def exclude(self, listener: str, rules: Set[Exclusion]) -> None:
        """Drop listens of ``listener``, a current pseudonym, that one of ``rules`` means."""
        self.exclusions[listener] = self.exclusions.get(listener, frozenset()) | rules

    def current(self, listener: str) -> str:
        """The pseudonym that ``listener`` goes by now."""
        while listener in self.alias:
            listener = self.alias[listener]
        return listener

    def names_of(self, listeners: Iterable[str]) -> set[str]:
        """All pseudonyms that stand for any of ``listeners``, which are current."""
        wanted = set(listeners)
        return wanted | {old for old in self.alias if self.current(old) in wanted}

    def same_rules(self, one: str, other: str) -> bool:
        """Whether the same listens of both, current pseudonyms, are dropped."""
        return self.suppressed.get(one) == self.suppressed.get(other) and (
            self.exclusions.get(one) == self.exclusions.get(other)
        )

    def restricted(self, listeners: Iterable[str]) -> set[str]:
        """Those of ``listeners`` whose data are kept but not used."""
        return {
            name for name in self._restrictions.keys() & listeners if self._restrictions[name][1]
        }

    @property
    def all_restricted(self) -> set[str]:
        """Every listener whose data are kept but not used."""
        return self.restricted(self._restrictions)

    def admit(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Listens under current pseudonyms, without those that are suppressed or excluded.

        Needs the columns ``listener`` and ``started_at`` (ms), and ``artist`` where something is
        excluded; a renamed listen also gets the epoch of its pseudonym if there is an ``epoch``.
        Costs nothing while nothing is held, and else one look-up per distinct listener.
        """
        if frame.is_empty() or not (self.alias or self.suppressed or self.exclusions):
            return frame
        names = frame["listener"].unique().to_list()
        moved = {name: self.current(name) for name in self.alias.keys() & names}
        if moved:
            frame = self._moved(frame, moved)
            names = [moved.get(name, name) for name in names]
        limits = {name: self.suppressed[name] for name in self.suppressed.keys() & names}
        if limits:
            limit = pl.col("listener").replace_strict(limits, default=None, return_dtype=pl.Int64)
            frame = frame.filter((pl.col("started_at") >= limit).fill_null(value=True))
        excluding = self.exclusions.keys() & names
        return frame.filter(~self._excluded(frame, excluding)) if excluding else frame

    def _moved(self, frame: pl.DataFrame, moved: dict[str, str]) -> pl.DataFrame:
        listener = pl.col("listener")
        if "epoch" in frame.columns:
            epochs = {old: self._epochs[new] for old, new in moved.items()}
            epoch = listener.replace_strict(epochs, default=pl.col("epoch"))
            frame = frame.with_columns(epoch=epoch.cast(frame.schema["epoch"]))
        return frame.with_columns(listener.replace(moved))

    def _excluded(self, frame: pl.DataFrame, excluding: set[str]) -> pl.Series:
        rules = pl.DataFrame(
            [
                (name, rule.artist, rule.start, rule.until)
                for name in excluding
                for rule in self.exclusions[name]
            ],
            schema=_RULES,
            orient="row",
        )
        rows = frame.select("listener", "started_at", "artist").with_row_index("row")
        excluded = np.zeros(len(frame), np.bool_)
        excluded[rows.join(rules, on="listener").filter(_MEANT)["row"].to_numpy()] = True
        return pl.Series(excluded)

    def _rename(self, old: str, new: str, epoch: int) -> None:
        if old == new:
            return
        self.alias[old] = new
        self._epochs[new] = max(epoch, self._epochs.get(new, epoch))
        if old in self.suppressed:
            self.suppress(new, self.suppressed.pop(old))
        if old in self.exclusions:
            self.exclude(new, self.exclusions.pop(old))
        if old in self._restrictions:
            newest = self._restrictions.pop(old)
            self._restrictions[new] = max(newest, self._restrictions.get(new, newest))


async def _decoded(
    codecs: Codecs, batch: RecordBatch, columns: Sequence[str], audience: str
) -> list[tuple[Any, ...]]:
    values = [value for value in batch.values if value is not None]
    if len(values) < len(batch):
        raise StateError(
            f"{batch.topic}/{batch.partition} holds a record without a value.",
            "Only the gate may write there; correct its access rules.",
        )
    frame = (await codecs.decode(values, columns)).select(
        pl.Series("offset", batch.offsets), *columns
    )
    return frame.filter(pl.col("audience") == audience).rows()


_RULES = pl.Schema({"listener": pl.String, "only": pl.String, "start": pl.Int64, "until": pl.Int64})
_MEANT = (
    (pl.col("only").is_null() | (pl.col("artist") == pl.col("only")))
    & (pl.col("start").is_null() | (pl.col("started_at") >= pl.col("start")))
    & (pl.col("until").is_null() | (pl.col("started_at") < pl.col("until")))
)
_ANSWER = pl.Schema(
    {
        "request": pl.String,
        "audience": pl.String,
        "store": pl.String,
        "action": pl.String,
        "removed": pl.Int64,
        "remaining": pl.Int64,
        "check": pl.String,
        "held": pl.String,
        "finished_at": pl.Int64,
    }
)
