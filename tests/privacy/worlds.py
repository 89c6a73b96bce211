"""A small world around a plan: a policy, a listen schema and rows made for a given Play schema, and
the search for raw values in what comes out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from streams.privacy import expressions
from streams.privacy.expressions import COLUMN_TYPES
from streams.privacy.keys import PseudonymKey
from streams.privacy.plan import Plan, compile_plan
from streams.privacy.policy import Audience, Policy
from streams.privacy.tags import Leaf
from streams.privacy.treatments import Drop, Keep, Pseudonymize, Treatment
from streams.settings import ListenRule

Json = dict[str, object]

KEY = PseudonymKey("analytics", 3, bytes(range(32)))
TREATMENTS: dict[str, Treatment] = {
    "OPEN": Keep(),
    "WHO": Pseudonymize("hex"),
    "SECRET": Drop(),
    "GATE": Drop(),
}
GATE = {"confluent:tags": ["GATE"]}
GATE_FIELDS: list[Json] = [
    {"name": "ms_played", "type": ["null", "int"], **GATE},
    {
        "name": "track",
        "type": {
            "type": "record",
            "name": "x.Track",
            "fields": [{"name": "duration_ms", "type": ["null", "int"], **GATE}],
        },
    },
    {"name": "end_reason", "type": ["null", "string"], **GATE},
    {"name": "skipped", "type": ["null", "boolean"], **GATE},
    {"name": "private_session", "type": "boolean", **GATE},
]
"""What every Play must have because the gate reads it."""
GATE_PATHS = {"ms_played", "track.duration_ms", "end_reason", "skipped", "private_session"}
EPOCH: Json = {
    "name": "epoch",
    "type": "int",
    "sottovoce:derived": {"by": "key_epoch", "reads": []},
}
ROWS = 3


def policy(treatments: Mapping[str, Treatment] = TREATMENTS) -> Policy:
    audience = Audience("analytics", "Analysts", "For tests.", treatments)
    return Policy({"analytics": audience}, {}, {"key": "drop", "headers": "drop"})


def play(*fields: object, **more: object) -> Json:
    return {
        "type": "record",
        "name": "Play",
        "namespace": "x",
        "fields": [*fields, *GATE_FIELDS],
        **more,
    }


def listen(fields: Mapping[str, tuple[str, object]]) -> Json:
    """A listen schema from field -> (leaf of Play, Avro type). What may be null, is by default."""

    def default(kind: object) -> Json:
        return {"default": None} if isinstance(kind, list) else {}

    carried: list[Json] = [
        {"name": name, "type": kind, "sottovoce:from": path, **default(kind)}
        for name, (path, kind) in fields.items()
    ]
    return {"type": "record", "name": "Listen", "fields": [*carried, EPOCH]}


def listen_of_everything(leaves: Iterable[Leaf], rules: Policy) -> Json:
    """A listen schema that asks for every leaf of Play that a column can hold, dropped ones too."""
    fields: dict[str, tuple[str, object]] = {}
    for index, leaf in enumerate(leaves):
        decision = rules.treatment_for(leaf, "analytics")
        kind = expressions.output_type(decision.treatment, leaf) or "string"
        items = {"type": "array", "items": "string"}
        fields[f"l{index}"] = (leaf.path, ["null", items if kind == "array<string>" else kind])
    return listen(fields)


@dataclass(frozen=True)
class Raw:
    """Rows as if a decoder had decoded every leaf, and the texts that tell whose they are."""

    frame: pl.DataFrame
    texts: Mapping[str, frozenset[str]]


def raw(leaves: Iterable[Leaf]) -> Raw:
    serial = itertools.count(10**12)
    columns: dict[str, pl.Series] = {}
    texts: dict[str, frozenset[str]] = {}
    for leaf in leaves:
        if leaf.path in GATE_PATHS:
            columns[leaf.path] = pl.Series([None] * ROWS, dtype=COLUMN_TYPES[leaf.type])
            continue
        numbers = [next(serial) for _ in range(ROWS)]
        values: list[object] = [f"raw {number}" for number in numbers]
        if leaf.type == "array<string>":
            values = [["prefix", value] for value in values]
        if leaf.type == "long":
            values = list(numbers)
        columns[leaf.path] = pl.Series(values, dtype=COLUMN_TYPES.get(leaf.type, pl.String()))
        texts[leaf.path] = frozenset(map(str, numbers))
    return Raw(pl.DataFrame(columns), texts)


def leaked(rows: Raw, treated: pl.DataFrame) -> set[str]:
    """Leaves of which a raw value stands anywhere in the treated frame."""
    out = json.dumps(treated.to_dicts())
    return {path for path, texts in rows.texts.items() if any(text in out for text in texts)}


def compiled(
    writer: object,
    listens: Json,
    *,
    committed: object = None,
    rules: Policy | None = None,
    external: Mapping[str, list[str]] | None = None,
) -> Plan:
    """The plan for ``writer``, under the default policy and its own schema as the committed one."""
    return compile_plan(
        writer,
        writer if committed is None else committed,
        listens,
        rules or policy(),
        KEY,
        ListenRule.LISTENBRAINZ,
        external,
    )
