"""The gate's plan: compiled once per writer schema, applied to every batch written with it.

Only what the listen schema names can leave, each value under the treatment of its leaf's effective
tags: those of the writer's schema, of the committed Play schema and of the registry together, so a
writer can tighten what happens to a field and never loosen it. A leaf that the committed schema
does not know is not decoded at all. What cannot be planned raises; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from streams.errors import PolicyError, SchemaError
from streams.privacy import derive, expressions, lineage, tags
from streams.privacy.derive import PRIVATE_SESSION
from streams.privacy.expressions import COLUMN_TYPES
from streams.privacy.keys import PseudonymKey
from streams.privacy.lineage import Field
from streams.privacy.policy import Decision, Policy
from streams.privacy.tags import Leaf
from streams.privacy.treatments import Drop
from streams.settings import ListenRule

PROMOTIONS = {"int": "long", "float": "double"}
"""Writer types that may stand where the committed schema has the wider one."""
UNITS = ("int", "long")
"""Types whose logical type is the unit of the number, and so must be the same on both sides."""


@dataclass(frozen=True, slots=True)
class Treated:
    """What happens to a leaf that the writer sends: ``treatment`` is what is done, by the policy or
    because no listen field carries it (drop); ``tag`` is the one that decided."""

    path: str
    tags: frozenset[str]
    tag: str
    treatment: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How plays of one writer schema become listens.

    ``wanted`` are the leaves to decode, ``required`` those of them that no listen can do without:
    a play in which one is null has to be rejected before `treat`. ``treated`` accounts for every
    leaf of the writer that the committed schema knows, ``unknown`` lists the others.
    """

    wanted: tuple[str, ...]
    required: tuple[str, ...]
    treated: tuple[Treated, ...]
    unknown: tuple[str, ...]
    columns: tuple[str, ...]
    """Fields of a listen that `treat` gives; the others follow from the record's position."""
    private: pl.Expr
    """True where the play must not leave the gate. Null counts as true, since it does not say no;
    a writer without the field has no such sessions."""
    _expressions: tuple[pl.Expr, ...]

    def treat(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns of listens from a frame with (at least) the columns in ``wanted``, row by row.

        Anything else in the frame is left behind. A number that does not fit its column's type
        becomes null; no value makes this raise.
        """
        return frame.select(self._expressions)


def compile_plan(
    writer_schema: object,
    play_schema: object,
    listen_schema: Mapping[str, object],
    policy: Policy,
    key: PseudonymKey,
    rule: ListenRule,
    external_tags: Mapping[str, Sequence[str]] | None = None,
) -> Plan:
    """The plan for ``writer_schema``, for the audience and epoch of ``key``.

    ``play_schema`` and ``listen_schema`` are the committed ones; ``external_tags`` are those the
    registry keeps beside the writer's schema.

    Raises:
        SchemaError: a schema is malformed, or the writer's cannot yield a listen.
        PolicyError: a known leaf has no treatment, or one that does not fit.
    """
    sent, committed = tags.leaves(writer_schema, external_tags), tags.leaves(play_schema)
    lineage.check_reads(committed)
    known = merge(sent, committed)
    decisions = {path: policy.treatment_for(leaf, key.audience) for path, leaf in known.items()}
    for path, leaf in known.items():
        expressions.output_type(decisions[path].treatment, leaf)
    fields = [field for field in lineage.fields(listen_schema) if _in_frame(field)]
    compiler = _Compiler(known, committed, decisions, policy, key, rule)
    compiled = tuple(compiler.compile(field).alias(field.name) for field in fields)
    carried = {field.source for field in fields if field.source and compiler.carries(field)}
    reads = {path for field in fields if field.by for path in derive.DERIVATIONS[field.by].reads}
    return Plan(
        wanted=tuple(path for path in known if path in carried | reads | {PRIVATE_SESSION}),
        required=tuple(dict.fromkeys(f.source for f in fields if f.source and f.required)),
        treated=tuple(_treated(known[path], decisions[path], path in carried) for path in known),
        unknown=tuple(path for path in sent if path not in known),
        columns=tuple(field.name for field in fields),
        private=_private(known),
        _expressions=compiled,
    )


def merge(sent: Mapping[str, Leaf], committed: Mapping[str, Leaf]) -> dict[str, Leaf]:
    """The writer's leaves that the committed schema knows: its type, the tags of both.

    Raises:
        SchemaError: the writer has one in another shape, type or unit.
    """
    for path in committed:
        if path not in sent and any(_reshaped(path, other) for other in sent):
            raise _unplannable(path, "has another shape than in the committed schema")
    return {
        path: _merged(leaf, committed[path]) for path, leaf in sent.items() if path in committed
    }


def check_fit(field: Field, leaf: Leaf, decision: Decision) -> None:
    """Raises SchemaError or PolicyError unless the treated leaf fits the listen field."""
    given = expressions.output_type(decision.treatment, leaf)
    if given != field.leaf.type and PROMOTIONS.get(given or "") != field.leaf.type:
        raise SchemaError(
            f"Listen schema: {field.name} is of type {field.leaf.type}, but {leaf.path} after"
            f" {decision.treatment.kind} is of type {given}.",
            "Correct schemas/listen.avsc or the treatment.",
        )
    if field.required and expressions.may_empty(decision.treatment):
        raise PolicyError(
            f"Listen schema: {field.name} may not be null, but {decision.treatment.kind} can make"
            f" null of {leaf.path}.",
            "Make the field nullable.",
        )


@dataclass(frozen=True, slots=True)
class _Compiler:
    known: Mapping[str, Leaf]
    committed: Mapping[str, Leaf]
    decisions: Mapping[str, Decision]
    policy: Policy
    key: PseudonymKey
    rule: ListenRule

    def carries(self, field: Field) -> bool:
        """Whether a value gets through: the writer sends the leaf and the policy lets it pass."""
        path = field.source or ""
        return path in self.known and not isinstance(self.decisions[path].treatment, Drop)

    def compile(self, field: Field) -> pl.Expr:
        kind = COLUMN_TYPES[field.leaf.type]
        if field.by is not None:
            derived = derive.derived(field.by, self._read, self.rule, self.key.epoch)
            return derived.cast(kind, strict=False)
        path = field.source or ""
        if path not in self.committed:
            raise _unplannable(path, f"is where {field.name} comes from, but Play has no such leaf")
        if not self.carries(field):
            if field.required:
                raise _unplannable(path, "is dropped or absent, but no listen can do without it")
            return pl.repeat(field.default, pl.len(), dtype=kind)
        leaf, decision = self.known[path], self.decisions[path]
        check_fit(field, leaf, decision)
        treated = expressions.expression(decision, leaf, self.policy.lookups, self.key)
        treated = treated.cast(kind, strict=False)
        if field.leaf.nullable or not field.has_default:
            return treated
        return treated.fill_null(pl.lit(field.default, dtype=kind))

    def _read(self, path: str) -> pl.Expr:
        if path in self.known:
            return pl.col(path)
        return pl.repeat(None, pl.len(), dtype=COLUMN_TYPES[derive.READ_TYPES[path]])


def _in_frame(field: Field) -> bool:
    return field.by is None or derive.DERIVATIONS[field.by].in_frame


def _private(known: Mapping[str, Leaf]) -> pl.Expr:
    if PRIVATE_SESSION not in known:
        return pl.repeat(False, pl.len(), dtype=pl.Boolean())
    return pl.col(PRIVATE_SESSION).fill_null(True)


def _treated(leaf: Leaf, decision: Decision, carried: bool) -> Treated:
    treatment = decision.treatment.kind if carried else Drop.kind
    return Treated(leaf.path, leaf.tags, decision.tag, treatment)


def _reshaped(path: str, other: str) -> bool:
    """Whether one is a part of the other: a value became a record or container, or the reverse."""
    return any(
        long.startswith(short) and long[len(short)] in ".[{<"
        for short, long in ((path, other), (other, path))
        if len(long) > len(short)
    )


def _merged(sent: Leaf, committed: Leaf) -> Leaf:
    if committed.type not in (sent.type, PROMOTIONS.get(sent.type)):
        raise _unplannable(sent.path, f"is of type {sent.type} instead of {committed.type}")
    if sent.type in UNITS and sent.logical and sent.logical != committed.logical:
        raise _unplannable(sent.path, f"is a {sent.logical}, unlike in the committed schema")
    return replace(committed, tags=sent.tags | committed.tags)


def _unplannable(path: str, problem: str) -> SchemaError:
    return SchemaError(
        f"Play: {path} {problem}.",
        "Have the writer's schema corrected, or commit the change to schemas/ with its treatment.",
    )
