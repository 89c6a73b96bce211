"""What is held of a listener, what becomes of it, who has it, and for how long.

Taken from the schemas and the policy that are loaded, through the plans that the gate compiles from
them: what this says of a field is what the gate does with it. The notice for listeners, the record
of processing and the machine-readable inventory are all written from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streams import topics
from streams.avro import schemas as schema_files
from streams.avro.schemas import Resolved, Schema, Schemas, is_record
from streams.privacy import lineage, policy, stores, tags
from streams.privacy.boundary import USER
from streams.privacy.derive import DERIVATIONS, PRIVATE_SESSION
from streams.privacy.keys import KEY_BYTES, PseudonymKey
from streams.privacy.permission import READS
from streams.privacy.plan import Plan, compile_plan
from streams.privacy.policy import PRODUCT, Policy
from streams.privacy.stores import Categories, Store
from streams.privacy.tags import Leaf
from streams.privacy.treatments import Drop, Generalize, Pseudonymize, Treatment
from streams.privacy.wording import described
from streams.settings import Settings
from streams.topics import Topic

PERMISSION, SESSION = "consent and requests", "for a private session"
"""What the gate reads a field for beside passing it on and deriving from it."""
DATA_USES = {
    "personalization": "personalize.content.profiling",
    "analytics": "analytics.reporting",
    "sharing": "third_party_sharing",
}
"""Purpose -> use in the Fides taxonomy."""
SERVICE_USE, LEGAL_USE = "essential.service.operations", "essential.legal_obligation"
"""The uses of what serves no purpose of its own: taking in plays, and obeying listeners."""
OPERATIONS = "system.operations"
"""Fides category of what is about the processing and not about a person."""

"""What consent and requests are looked up by."""
_MARKS = re.compile(r"\[\]|\{\}|<[^>]*>")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a field for one audience.

    ``into`` are the fields of a listen that carry it, treated; ``feeds`` those that the gate works
    out with its help; ``checks`` what else the gate reads it for. A field that is dropped and has
    one of the latter is used in the gate and goes no further.
    """

    treatment: Treatment
    into: tuple[str, ...]
    feeds: tuple[str, ...]
    checks: tuple[str, ...]
    labels: tuple[str, ...]
    """What a generalized value can become."""
    words: str

    @property
    def used(self) -> bool:
        """Whether the gate reads it for anything but passing it on."""
        return bool(self.feeds or self.checks)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a play: what its schema says it is, and its fate by audience."""

    path: str
    doc: str
    logical: str | None
    tags: tuple[str, ...]
    categories: Categories
    fates: Mapping[str, Fate]


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a listen, the fields of a play behind it, and of which categories it is."""

    name: str
    doc: str
    reads: tuple[str, ...]
    derived: bool
    categories: Categories


@dataclass(frozen=True, slots=True)
class Use:
    """An audience: what it gets, what for, where that is held, and by which rule of consent."""

    audience: str
    purpose: str
    recipient: str
    description: str
    third_party: bool
    columns: tuple[Column, ...]
    stores: tuple[Store, ...]
    undecided: bool
    """Whether plays are used of people who have decided nothing."""
    jurisdictions: Mapping[str, bool]
    """The same by country, where it differs."""

    @property
    def categories(self) -> Categories:
        """Of all personal data that the audience gets."""
        return _personal(self.columns)

    @property
    def data_use(self) -> str:
        """The purpose, in the Fides taxonomy."""
        return DATA_USES[self.purpose]

    @property
    def by_consent(self) -> bool:
        """Whether every use of a play rests on consent, in every country."""
        return not (self.undecided or any(self.jurisdictions.values()))


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything. ``fields`` are in schema order, ``uses`` in the policy's."""

    fields: tuple[Field, ...]
    uses: tuple[Use, ...]
    raw: tuple[Store, ...]
    requests: tuple[Store, ...]
    profile: Mapping[str, str]
    """Doc of each field of a taste profile, by path."""
    min_listeners: int
    """Distinct listeners behind every published figure."""
    rewrite_s: float
    """Longest time until the warehouse's file is rewritten after an erasure, seconds."""


def from_settings(settings: Settings) -> Inventory:
    """The inventory of the schemas and the policy that the settings name.

    Raises:
        PolicyError, SchemaError: as for the gate, which would not start with them.
    """
    return take(schema_files.load(settings.schemas), policy.load(settings.policy), settings)


def take(schemas: Schemas, rules: Policy, settings: Settings) -> Inventory:
    """The inventory of these schemas under these rules.

    Raises:
        PolicyError, SchemaError: as for the gate, which would not start with them.
    """
    play = schemas[topics.PLAYS.schema]
    docs, categories = _docs(play), stores.categories_of(play)
    planned = {name: _Planned.of(schemas, rules, name, settings) for name in rules.audiences}
    uses = tuple(each.use(categories, settings) for each in planned.values())
    fields = tuple(
        Field(
            path,
            docs.get(_MARKS.sub("", path), ""),
            leaf.logical,
            tuple(sorted(leaf.tags)),
            categories[path],
            {name: each.fate(leaf) for name, each in planned.items()},
        )
        for path, leaf in tags.leaves(play).items()
    )
    held = stores.union(use.categories for use in uses if not use.third_party)
    return Inventory(
        fields,
        uses,
        stores.raw(schemas),
        stores.requests(held),
        _docs(schemas[topics.PROFILES.schema]),
        settings.min_listeners,
        settings.rewrite_s,
    )


def output_topic(audience: str, rules: Policy) -> Topic:
    """The topic that the gate writes for an audience."""
    if rules.audiences[audience].third_party:
        return topics.shared(audience)
    return topics.LISTENS if audience == PRODUCT else topics.ANALYTICS_LISTENS


@dataclass(frozen=True, slots=True)
class _Planned:
    """An audience, its plan, and what the plan was made of."""

    audience: str
    rules: Policy
    topic: Topic
    plan: Plan
    columns: tuple[lineage.Field, ...]
    docs: Mapping[str, str]

    @classmethod
    def of(cls, schemas: Schemas, rules: Policy, audience: str, settings: Settings) -> _Planned:
        topic = output_topic(audience, rules)
        play, listen = schemas[topics.PLAYS.schema], schemas[topic.schema]
        # A plan compiles with a key; no pseudonym is made here.
        key = PseudonymKey(audience, 0, bytes(KEY_BYTES))
        plan = compile_plan(play, play, listen, rules, key, settings.listen_rule)
        return cls(audience, rules, topic, plan, lineage.fields(listen), _docs(listen))

    def fate(self, leaf: Leaf) -> Fate:
        treatment = self._treatment(leaf)
        into = tuple(column.name for column in self.columns if self._source(column) == leaf.path)
        feeds = tuple(column.name for column in self.columns if leaf.path in _reads(column))
        checks = tuple(_checks(leaf.path))
        labels: tuple[str, ...] = ()
        if isinstance(treatment, Generalize):
            labels = (*self.rules.lookups[treatment.lookup], treatment.otherwise)
        words = described(treatment, leaf.logical, labels, feeds, checks)
        return Fate(treatment, into, feeds, checks, labels, words)

    def use(self, categories: Mapping[str, Categories], settings: Settings) -> Use:
        audience, consent = self.rules.audiences[self.audience], self.rules.consent
        columns = tuple(self._columns(categories))
        held = _personal(columns)
        if audience.third_party:
            places: tuple[Store, ...] = (stores.of_topic(self.topic, held),)
        elif self.audience == PRODUCT:
            places = stores.product(held)
        else:
            places = stores.analytics(held, settings)
        return Use(
            self.audience,
            audience.purpose,
            audience.recipient,
            audience.description,
            audience.third_party,
            columns,
            places,
            consent.unknown[audience.purpose],
            {
                country: allowed[audience.purpose]
                for country, allowed in sorted(consent.jurisdictions.items())
                if audience.purpose in allowed
            },
        )

    def _columns(self, categories: Mapping[str, Categories]) -> Iterator[Column]:
        """The fields of a listen that this audience gets a value in."""
        for column in self.columns:
            doc, source = self.docs[column.name], self._source(column)
            if source is not None:
                leaf = next(each for each in self.plan.treated if each.path == source)
                digest = leaf.treatment == Pseudonymize.kind
                found = (stores.PSEUDONYM,) if digest else categories[source]
                yield Column(column.name, doc, (source,), False, found)
            elif column.by is not None:
                reads = _reads(column)
                found = stores.union(categories[path] for path in reads) or (OPERATIONS,)
                yield Column(column.name, doc, reads, True, found)

    def _treatment(self, leaf: Leaf) -> Treatment:
        """What the plan does, which is the policy's word or less."""
        done = next(each for each in self.plan.treated if each.path == leaf.path)
        if done.treatment == Drop.kind:
            return Drop()
        return self.rules.treatment_for(leaf, self.audience).treatment

    def _source(self, column: lineage.Field) -> str | None:
        """The field of a play whose value passes into ``column``; None where none does."""
        passing = {each.path for each in self.plan.treated if each.treatment != Drop.kind}
        return column.source if column.source in passing else None


def _personal(columns: tuple[Column, ...]) -> Categories:
    found = stores.union(column.categories for column in columns)
    return tuple(name for name in found if name != OPERATIONS)


def _reads(column: lineage.Field) -> tuple[str, ...]:
    return DERIVATIONS[column.by].reads if column.by else ()


def _checks(path: str) -> Iterator[str]:
    if path in (USER, *READS):
        yield PERMISSION
    if path == PRIVATE_SESSION:
        yield SESSION


def _docs(schema: Schema) -> dict[str, str]:
    """The doc of every field, by path without the marks of containers."""
    found: dict[str, str] = {}

    def walk(node: Resolved, path: str) -> None:
        if isinstance(node, list):
            for branch in node:
                walk(branch, path)
        elif is_record(node):
            for field in node["fields"]:
                inner = f"{path}.{field['name']}".lstrip(".")
                found[inner] = str(field.get("doc", ""))
                walk(field["type"], inner)
        else:
            for held in ("items", "values"):
                if held in node:
                    walk(node[held], path)

    walk(schema_files.resolve(schema), "")
    return found
