"""The crossing from the raw zone: a batch of plays in; per audience, listens out; and rejections.

Nothing of a play passes that the audience's plan does not name, nor to an audience whose purpose
its listener does not allow; nothing of a record's key and headers passes at all. What cannot be a
listen is rejected with a reason that names a field or rule, never a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.schemas import Schemas
from streams.errors import PolicyError, Reason, SchemaError
from streams.privacy import keyring, policy, tags
from streams.privacy.keyring import Keyring
from streams.privacy.keys import PseudonymKey
from streams.privacy.permission import READS, STARTED, SUBJECT, Permissions
from streams.privacy.plan import Plan, compile_plan
from streams.privacy.policy import Policy
from streams.privacy.pseudonyms import Pseudonyms, pseudonyms
from streams.settings import ListenRule, Settings
from streams.topics import LISTENS, PLAYS, shared
from streams.transport.batch import RecordBatch

PRIVATE_RULE = "private_session"
CONSENT_RULE = "no_consent"
USER = "user_id"

LONGEST_TEXT = 1_000
"""Bytes a text of a play may have, in UTF-8: what taste keeps of a listener stays bounded by it."""
MOST_ITEMS = 100
"""Items an array of a play may have."""

_ROW = "row"
_PART_BYTES = 8 * 1024 * 1024
"""Decoded at a time. Columns can be 16 times as large as bodies that are made for it."""
LONGEST_DETAIL = 500
"""Characters: what is wrong with a schema may name a field whose name has any length."""
_MOST_LANES = 1_000


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be a listen: its row in the batch and why."""

    row: int
    reason: Reason
    detail: str
    schema_id: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a play may be; times in milliseconds since 1970-01-01 UTC, sizes in bytes."""

    earliest_ms: int
    future_tolerance_ms: int
    largest: int


@dataclass(slots=True)
class Crossing:
    """What came of a batch. A row is in at least one of ``listens``, or a rejection, or filtered.

    ``listens`` has, by audience, the fields of its listens and the column ``subject``, in order of
    position. ``people`` are the accounts behind them: columns ``user_id`` and ``subject``, each
    once. ``filtered`` counts rows by rule, ``treated`` values by (audience, tag, treatment),
    ``unknown_fields`` values of fields that the committed schema does not know.
    """

    listens: dict[str, pl.DataFrame]
    people: pl.DataFrame
    rejections: list[Rejection] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    treated: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    unknown_fields: int = 0
    fallback: bool = False


Plans = Mapping[str, Plan]
"""By audience."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """How records of one writer schema cross: the plans of each epoch in use, ascending."""

    plans: tuple[Plans, ...]
    decoder: ColumnDecoder

    @property
    def any_plan(self) -> Plan:
        """Any of them, for what depends on neither audience nor epoch."""
        return next(iter(self.plans[-1].values()))


@dataclass(frozen=True, slots=True)
class _Closed:
    """Why no record of a writer schema crosses."""

    reason: Reason
    detail: str


class Boundary:
    """Crosses batches. Schemas are opened once each, by id; see `open` and `close`.

    Made for one state of the key ring: after a rotation there is a new one. During an overlap a
    play gets the pseudonyms of the epoch in which it started, so that one that a client sends again
    has the same as before and is recognized; stores know whose old pseudonym is which new one.
    """

    def __init__(
        self,
        play_schema: Mapping[str, object],
        listen_schemas: Mapping[str, Mapping[str, object]],
        rules: Policy,
        ring: Keyring,
        listen_rule: ListenRule,
        limits: Limits,
    ) -> None:
        """Plan for the audiences that ``listen_schemas`` names."""

        def compiled(writer: object) -> tuple[Plans, ...]:
            return tuple(
                {
                    audience: compile_plan(
                        writer, play_schema, schema, rules, ring.key(audience, epoch), listen_rule
                    )
                    for audience, schema in listen_schemas.items()
                }
                for epoch in ring.usable
            )

        self._compile = compiled
        began = {each.number: each.created_ms for each in ring.epochs}
        self._turns = [began[epoch] for epoch in ring.usable[1:]]
        self._purposes = {name: rules.audiences[name].purpose for name in listen_schemas}
        self._subjects = ring.subjects()
        self._limits = limits
        self._lanes: dict[int, _Lane | _Closed] = {}
        self._none = {
            audience: _no_listens(plan) for audience, plan in self._compile(play_schema)[-1].items()
        }
        self._nobody = pl.DataFrame(schema={USER: pl.String, SUBJECT: pl.String})

    def missing(self, schema_ids: Iterable[int]) -> set[int]:
        """Which of these to look up: new ones, and those that were unknown before.

        Forgets the unknown ones, and all that are not asked for here when there are many.
        """
        wanted = set(schema_ids)
        crowded = len(self._lanes) > _MOST_LANES
        self._lanes = {
            number: lane
            for number, lane in self._lanes.items()
            if self._decided(lane) and (number in wanted or not crowded)
        }
        return wanted.difference(self._lanes)

    def unknown(self, schema_id: int) -> bool:
        """Whether it was closed because nobody knows the schema."""
        return not self._decided(self._lanes[schema_id])

    @staticmethod
    def _decided(lane: _Lane | _Closed) -> bool:
        return isinstance(lane, _Lane) or lane.reason is not Reason.UNKNOWN_SCHEMA

    def open(self, schema_id: int, writer_schema: Any) -> str | None:
        """Plan a writer schema. One that cannot be planned is closed: the problem is returned."""
        try:
            plans = self._compile(writer_schema)
            wanted = dict.fromkeys(path for plan in plans[-1].values() for path in plan.wanted)
            wanted |= dict.fromkeys((USER, *READS))
            self._lanes[schema_id] = _Lane(plans, ColumnDecoder(writer_schema, tuple(wanted)))
        except (PolicyError, SchemaError) as error:
            return self._unplannable(schema_id, error.problem[:LONGEST_DETAIL])
        except Exception as error:  # whatever odd JSON leads to; its message may quote anything
            return self._unplannable(schema_id, f"it cannot be read: {type(error).__name__}")
        return None

    def _unplannable(self, schema_id: int, problem: str) -> str:
        self.close(schema_id, Reason.UNPLANNABLE_SCHEMA, problem)
        return problem

    def close(self, schema_id: int, reason: Reason, detail: str) -> None:
        """Have every record of this schema rejected."""
        self._lanes[schema_id] = _Closed(reason, detail[:LONGEST_DETAIL])

    def cross(
        self, batch: RecordBatch, split: wire.Split, permissions: Permissions, now_ms: int
    ) -> Crossing:
        """What comes of a batch, taken apart, whose schemas are all open or closed."""
        crossing = Crossing(dict(self._none), self._nobody)
        crossing.rejections += [
            Rejection(row, Reason.MALFORMED, "no magic byte and schema id", None)
            for row in split.malformed
        ]
        parts = [
            part
            for schema_id, group in split.groups.items()
            for part in self._cross_group(schema_id, group, permissions, now_ms, crossing)
        ]
        for audience in self._purposes:
            crossing.treated[audience, "kafka.key", "drop"] += len(batch) - batch.keys.count(None)
            crossing.treated[audience, "kafka.headers", "drop"] += batch.with_headers
        if parts:
            for audience in self._purposes:
                listens = pl.concat([part[audience] for part in parts])
                crossing.listens[audience] = _positioned(listens, batch)
            people = pl.concat([part[USER] for part in parts])
            crossing.people = people.unique(SUBJECT, maintain_order=True)
        return crossing

    def _cross_group(
        self,
        schema_id: int,
        group: wire.Group,
        permissions: Permissions,
        now_ms: int,
        crossing: Crossing,
    ) -> Iterator[dict[str, pl.DataFrame]]:
        """Part by part: by audience its listens; by `USER` the people behind them."""
        lane = self._lanes[schema_id]
        large = np.array([len(body) > self._limits.largest for body in group.bodies])
        if large.any():
            detail = "larger than SOTTOVOCE_LARGEST_PLAY"
            crossing.rejections += [
                Rejection(row, Reason.OVERSIZED, detail, schema_id)
                for row in group.rows[large].tolist()
            ]
            group = group.without(large)
        if isinstance(lane, _Closed):
            crossing.rejections += [
                Rejection(row, lane.reason, lane.detail, schema_id) for row in group.rows.tolist()
            ]
            return
        for part in group.parts(_PART_BYTES):
            yield self._cross_part(lane, schema_id, part, permissions, now_ms, crossing)

    def _cross_part(
        self,
        lane: _Lane,
        schema_id: int,
        group: wire.Group,
        permissions: Permissions,
        now_ms: int,
        crossing: Crossing,
    ) -> dict[str, pl.DataFrame]:
        rows = group.rows
        decoded = lane.decoder.decode(group.bodies)
        crossing.fallback |= decoded.fallback
        crossing.rejections += [
            Rejection(int(rows[index]), Reason.UNDECODABLE, detail, schema_id)
            for index, detail in decoded.bad
        ]
        plan = lane.any_plan
        crossing.unknown_fields += len(plan.unknown) * len(decoded.rows)
        plays = decoded.frame.hstack([pl.Series(_ROW, rows[decoded.rows])])
        fit = self._reject_unfit(plays, plan, schema_id, now_ms, crossing)
        public = fit.filter(~plan.private)
        crossing.filtered[PRIVATE_RULE] += len(fit) - len(public)
        public = public.hstack([self._subjects.hex_column(public[USER]).alias(SUBJECT)])
        masks = permissions.masks(public)
        part, allowed = {}, np.zeros(len(public), bool)
        for audience, its in lane.plans[-1].items():
            mask = masks[self._purposes[audience]]
            allowed |= mask
            plays = public if mask.all() else public.filter(pl.Series(mask))
            part[audience] = self._treated(lane, audience, plays)
            for leaf in its.treated:
                crossing.treated[audience, leaf.tag, leaf.treatment] += len(plays)
        crossing.filtered[CONSENT_RULE] += int((~allowed).sum())
        part[USER] = public.select(USER, SUBJECT).filter(pl.Series(allowed))
        return part

    def _treated(self, lane: _Lane, audience: str, plays: pl.DataFrame) -> pl.DataFrame:
        epochs = np.searchsorted(self._turns, plays[STARTED].to_numpy(), side="right")
        treated: list[pl.DataFrame] = []
        for epoch in np.unique(epochs).tolist() or [len(self._turns)]:
            its = plays.filter(pl.Series(epochs == epoch)) if self._turns else plays
            listens = lane.plans[epoch][audience].treat(its)
            treated.append(listens.hstack([its[_ROW], its[SUBJECT]]))
        return pl.concat(treated)

    def _reject_unfit(
        self, plays: pl.DataFrame, plan: Plan, schema_id: int, now_ms: int, crossing: Crossing
    ) -> pl.DataFrame:
        rules = [*self._rules(plan, now_ms), *_bounds(plays.schema)]
        if not plays.select(pl.any_horizontal(broken for broken, _, _ in rules).any()).item():
            return plays
        for broken, reason, detail in rules:
            faulty = plays.filter(broken)
            if len(faulty):
                crossing.rejections += [
                    Rejection(row, reason, detail, schema_id) for row in faulty[_ROW].to_list()
                ]
                plays = plays.filter(~broken)
        return plays

    def _rules(self, plan: Plan, now_ms: int) -> Iterator[tuple[pl.Expr, Reason, str]]:
        for path in plan.required:
            yield pl.col(path).is_null(), Reason.MISSING_FIELD, path
        for path in ("user_id", "artist.name"):
            yield pl.col(path).str.strip_chars() == "", Reason.MISSING_FIELD, path
        started = pl.col(STARTED)
        earliest = self._limits.earliest_ms
        yield started < earliest, Reason.IMPOSSIBLE_TIME, "started_at before the earliest"
        latest = now_ms + self._limits.future_tolerance_ms
        yield started > latest, Reason.IMPOSSIBLE_TIME, "started_at in the future"
        if "ms_played" in plan.wanted:
            negative = (pl.col("ms_played") < 0).fill_null(False)
            yield negative, Reason.INVALID_VALUE, "ms_played below zero"


def _bounds(schema: Mapping[str, pl.DataType]) -> Iterator[tuple[pl.Expr, Reason, str]]:
    for path, dtype in schema.items():
        texts = pl.col(path)
        if dtype == pl.List(pl.String):
            many = (texts.list.len() > MOST_ITEMS).fill_null(False)
            yield many, Reason.INVALID_VALUE, f"{path} with more than {MOST_ITEMS} items"
            sizes = texts.list.eval(pl.element().str.len_bytes()).list.max()
        elif dtype == pl.String:
            sizes = texts.str.len_bytes()
        else:
            continue
        long = (sizes > LONGEST_TEXT).fill_null(False)
        yield long, Reason.INVALID_VALUE, f"{path} longer than {LONGEST_TEXT} bytes"


def from_settings(settings: Settings, schemas: Schemas, rules: Policy, ring: Keyring) -> Boundary:
    """The boundary that the settings describe.

    Raises:
        PolicyError, SchemaError: the gate must not start; the message says why.
    """
    return Boundary(
        play_schema=schemas[PLAYS.schema],
        listen_schemas={
            name: schemas[shared(name).schema if audience.third_party else LISTENS.schema]
            for name, audience in rules.audiences.items()
        },
        rules=rules,
        ring=ring,
        listen_rule=settings.listen_rule,
        limits=Limits(
            earliest_ms=settings.earliest * 1_000,
            future_tolerance_ms=settings.future_tolerance_s * 1_000,
            largest=settings.largest_play,
        ),
    )


def listener_names(rules: Policy, schemas: Schemas, key: PseudonymKey) -> Pseudonyms:
    """What makes the pseudonyms of accounts for the key's audience and epoch, as the gate does.

    Raises:
        PolicyError: the policy does not pseudonymize the account for this audience.
    """
    leaf = tags.leaves(schemas[PLAYS.schema])[USER]
    return pseudonyms(key, rules.treatment_for(leaf, key.audience).tag)


def pseudonym_of(settings: Settings, user: str, audience: str) -> str:
    """The pseudonym of a user id for an audience in the current epoch.

    Raises:
        KeyMaterialError: the settings give no usable key.
    """
    rules = policy.load(settings.policy)
    schemas = schema_files.load(settings.schemas)
    return listener_names(rules, schemas, keyring.load(settings).key(audience)).hex(user)


def _no_listens(plan: Plan) -> pl.DataFrame:
    nothing = pl.DataFrame(schema=dict.fromkeys(plan.wanted, pl.Null))
    return plan.treat(nothing).with_columns(
        pl.lit("").alias(SUBJECT),
        source_partition=pl.lit(0, dtype=pl.Int32),
        source_offset=pl.lit(0, dtype=pl.Int64),
    )


def _positioned(listens: pl.DataFrame, batch: RecordBatch) -> pl.DataFrame:
    rows = listens[_ROW]
    if not rows.is_sorted():  # several schemas or epochs
        listens = listens.sort(_ROW)
        rows = listens[_ROW]
    partition = np.full(len(rows), batch.partition, np.int32)
    columns = [column for column in listens if column.name != _ROW]
    columns.append(pl.Series("source_partition", partition))
    columns.append(pl.Series("source_offset", batch.offsets[rows.to_numpy()], pl.Int64))
    return pl.DataFrame(columns)
