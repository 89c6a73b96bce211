"""The crossing from the raw zone: a batch of plays in, listens and rejections out.

Nothing of a play passes that its plan does not name; nothing of a record's key and headers passes
at all. What cannot be a listen is rejected with a reason that names a field or rule, never a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.avro.columns import ColumnDecoder
from streams.avro.schemas import Schemas
from streams.errors import PolicyError, Reason, SchemaError
from streams.privacy import expressions, keys, policy, tags
from streams.privacy.keys import PseudonymKey
from streams.privacy.plan import Plan, compile_plan
from streams.privacy.policy import AUDIENCE, Policy
from streams.settings import ListenRule, Settings
from streams.topics import LISTENS, PLAYS
from streams.transport.batch import RecordBatch

PRIVATE_RULE = "private_session"

_ROW = "row"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be a listen: its row in the batch and why."""

    row: int
    reason: Reason
    detail: str
    schema_id: int | None


@dataclass(slots=True)
class Crossing:
    """What came of a batch. Every row is in exactly one of listens, rejections and filtered.

    ``listens`` has the fields of a listen, in order of position. ``treated`` counts fields by (tag,
    treatment), ``unknown_fields`` those that the committed schema does not know.
    """

    listens: pl.DataFrame
    rejections: list[Rejection] = field(default_factory=list)
    filtered: int = 0
    treated: Counter[tuple[str, str]] = field(default_factory=Counter)
    unknown_fields: int = 0
    fallback: bool = False


@dataclass(frozen=True, slots=True)
class _Lane:
    """How records of one writer schema cross."""

    plan: Plan
    decoder: ColumnDecoder


@dataclass(frozen=True, slots=True)
class _Closed:
    """Why no record of a writer schema crosses."""

    reason: Reason
    detail: str


class Boundary:
    """Crosses batches. Schemas are opened once each, by id; see `open` and `close`."""

    def __init__(
        self,
        play_schema: Mapping[str, object],
        listen_schema: Mapping[str, object],
        rules: Policy,
        key: PseudonymKey,
        listen_rule: ListenRule,
        earliest_ms: int,
        future_tolerance_ms: int,
    ) -> None:
        def compiled(writer: object) -> Plan:
            return compile_plan(writer, play_schema, listen_schema, rules, key, listen_rule)

        self._compile = compiled
        self._earliest_ms = earliest_ms
        self._future_tolerance_ms = future_tolerance_ms
        self._lanes: dict[int, _Lane | _Closed] = {}
        self._none = _no_listens(self._compile(play_schema))

    def missing(self, schema_ids: Iterable[int]) -> set[int]:
        """Which of these to look up: new ones, and those that were unknown before."""
        return {number for number in schema_ids if not self._decided(self._lanes.get(number))}

    @staticmethod
    def _decided(lane: _Lane | _Closed | None) -> bool:
        return isinstance(lane, _Lane) or (
            lane is not None and lane.reason is not Reason.UNKNOWN_SCHEMA
        )

    def open(self, schema_id: int, writer_schema: Any) -> str | None:
        """Plan a writer schema. One that cannot be planned is closed: the problem is returned."""
        try:
            plan = self._compile(writer_schema)
            self._lanes[schema_id] = _Lane(plan, ColumnDecoder(writer_schema, plan.wanted))
        except (PolicyError, SchemaError) as error:
            self.close(schema_id, Reason.UNPLANNABLE_SCHEMA, error.problem)
            return error.problem
        return None

    def close(self, schema_id: int, reason: Reason, detail: str) -> None:
        """Have every record of this schema rejected."""
        self._lanes[schema_id] = _Closed(reason, detail)

    def cross(self, batch: RecordBatch, split: wire.Split, now_ms: int) -> Crossing:
        """Listens and rejections of a batch, taken apart, whose schemas are all open or closed."""
        crossing = Crossing(self._none)
        crossing.rejections += [
            Rejection(row, Reason.MALFORMED, "no magic byte and schema id", None)
            for row in split.malformed
        ]
        frames = [
            frame
            for schema_id, group in split.groups.items()
            for frame in self._cross_group(schema_id, group, now_ms, crossing)
        ]
        crossing.treated["kafka.key", "drop"] += sum(1 for key in batch.keys if key is not None)
        crossing.treated["kafka.headers", "drop"] += batch.with_headers
        if frames:
            crossing.listens = _positioned(pl.concat(frames), batch)
        return crossing

    def _cross_group(
        self, schema_id: int, group: wire.Group, now_ms: int, crossing: Crossing
    ) -> Iterator[pl.DataFrame]:
        lane, rows = self._lanes[schema_id], group.rows
        if isinstance(lane, _Closed):
            crossing.rejections += [
                Rejection(row, lane.reason, lane.detail, schema_id) for row in rows.tolist()
            ]
            return
        decoded = lane.decoder.decode(group.bodies)
        crossing.fallback |= decoded.fallback
        crossing.rejections += [
            Rejection(int(rows[index]), Reason.UNDECODABLE, detail, schema_id)
            for index, detail in decoded.bad
        ]
        for leaf in lane.plan.treated:
            crossing.treated[leaf.tag, leaf.treatment] += len(decoded.rows)
        crossing.unknown_fields += len(lane.plan.unknown) * len(decoded.rows)
        plays = decoded.frame.with_columns(pl.Series(_ROW, rows[decoded.rows]))
        fit = self._reject_unfit(plays, lane.plan, schema_id, now_ms, crossing)
        public = fit.filter(~lane.plan.private)
        crossing.filtered += len(fit) - len(public)
        if len(public):
            yield lane.plan.treat(public).with_columns(public[_ROW])

    def _reject_unfit(
        self, plays: pl.DataFrame, plan: Plan, schema_id: int, now_ms: int, crossing: Crossing
    ) -> pl.DataFrame:
        rules = list(self._rules(plan, now_ms))
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
        started = pl.col("started_at")
        yield started < self._earliest_ms, Reason.IMPOSSIBLE_TIME, "started_at before the earliest"
        latest = now_ms + self._future_tolerance_ms
        yield started > latest, Reason.IMPOSSIBLE_TIME, "started_at in the future"
        if "ms_played" in plan.wanted:
            negative = (pl.col("ms_played") < 0).fill_null(False)
            yield negative, Reason.INVALID_VALUE, "ms_played below zero"


def from_settings(settings: Settings, schemas: Schemas) -> Boundary:
    """The boundary that the settings describe.

    Raises:
        KeyMaterialError, PolicyError, SchemaError: the gate must not start; the message says why.
    """
    return Boundary(
        play_schema=schemas[PLAYS.schema],
        listen_schema=schemas[LISTENS.schema],
        rules=policy.load(settings.policy),
        key=keys.load(settings, AUDIENCE),
        listen_rule=settings.listen_rule,
        earliest_ms=settings.earliest * 1_000,
        future_tolerance_ms=settings.future_tolerance_s * 1_000,
    )


def pseudonym_of(settings: Settings, user: str) -> str:
    """The pseudonym of a user id, as the gate makes it.

    Raises:
        KeyMaterialError: the settings give no usable key.
    """
    rules = policy.load(settings.policy)
    schemas = schema_files.load(settings.schemas)
    leaf = tags.leaves(schemas[PLAYS.schema])["user_id"]
    decision = rules.treatment_for(leaf, AUDIENCE)
    key = keys.load(settings, AUDIENCE)
    treated = pl.DataFrame({"user_id": [user]}).select(
        expressions.expression(decision, leaf, rules.lookups, key)
    )
    return str(treated.item())


def _no_listens(plan: Plan) -> pl.DataFrame:
    nothing = pl.DataFrame(schema=dict.fromkeys(plan.wanted, pl.Null))
    return plan.treat(nothing).with_columns(
        source_partition=pl.lit(0, dtype=pl.Int32), source_offset=pl.lit(0, dtype=pl.Int64)
    )


def _positioned(listens: pl.DataFrame, batch: RecordBatch) -> pl.DataFrame:
    rows = listens[_ROW]
    if not rows.is_sorted():  # several schemas
        listens = listens.sort(_ROW)
        rows = listens[_ROW]
    return listens.drop(_ROW).with_columns(
        source_partition=pl.lit(batch.partition, dtype=pl.Int32),
        source_offset=pl.Series(batch.offsets[rows.to_numpy()], dtype=pl.Int64),
    )
