"""The policy: what the gate does with each tag, for each audience. Loaded whole or not at all.

Nothing here has a default: an unknown key, treatment, unit or lookup is an error that names its
place, and a leaf without a treatment is an error at start, not a field that slips through.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from streams.errors import PolicyError
from streams.privacy.tags import RECURSIVE, Leaf
from streams.privacy.treatments import (
    STRICTEST_FIRST,
    VARIANTS,
    Drop,
    Generalize,
    Pseudonymize,
    Treatment,
)
from streams.topics import ALL, Topic, shared

PRODUCT = "product"
"""The audience of `listens`, from which profiles are made."""
ANALYTICS = "analytics"
"""The audience of `listens.analytics`, which reporting is made of."""
INTERNAL = (PRODUCT, ANALYTICS)
PURPOSES = ("personalization", "analytics", "sharing")
SHARING = "sharing"
KAFKA_PARTS = ("key", "headers")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_COUNTRY = re.compile(r"[A-Z]{2}")

Lookup = Mapping[str, tuple[str, ...]]
"""Label -> words, in the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a leaf, and which of its tags decided it."""

    treatment: Treatment
    tag: str


@dataclass(frozen=True, slots=True)
class Audience:
    """Who reads what comes out: the purpose that consent is asked for, and tag -> treatment."""

    purpose: str
    recipient: str
    description: str
    treatments: Mapping[str, Treatment]
    third_party: bool = False


@dataclass(frozen=True, slots=True)
class Consent:
    """What holds for a person who has decided nothing: purpose -> whether it is allowed."""

    unknown: Mapping[str, bool]
    jurisdictions: Mapping[str, Mapping[str, bool]]
    """The same by country of the play (ISO 3166-1 alpha-2), for the purposes that differ there."""


NOTHING_UNASKED = Consent(dict.fromkeys(PURPOSES, False), {})


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy file, checked. ``kafka`` says what happens to a record's key and headers."""

    audiences: Mapping[str, Audience]
    lookups: Mapping[str, Lookup]
    kafka: Mapping[str, str]
    consent: Consent = NOTHING_UNASKED

    def treatment_for(self, leaf: Leaf, audience: str) -> Decision:
        """The strictest treatment that any tag of ``leaf`` asks for.

        Raises:
            PolicyError: the leaf has no tag, or one without a treatment, or its tags ask for
                treatments of one kind of which none is the coarser; or it contains itself.
        """
        if audience not in self.audiences:
            raise PolicyError(
                f"The policy has no audience {audience!r}.", f"Add [audiences.{audience}]."
            )
        if leaf.type == RECURSIVE:
            raise PolicyError(
                f"{leaf.path} is a record that contains itself, which no treatment reaches.",
                "Unfold the type to the depth that is needed.",
            )
        if not leaf.tags:
            raise PolicyError(f"{leaf.path} has no tag.", 'Add "confluent:tags" to its schema.')
        treatments = self.audiences[audience].treatments
        for tag in sorted(leaf.tags):
            if tag not in treatments:
                raise PolicyError(
                    f"{leaf.path} has the tag {tag!r}, which has no treatment.",
                    f"Add {tag} to [audiences.{audience}.treatments].",
                )
        return _strictest(leaf, {tag: treatments[tag] for tag in sorted(leaf.tags)})


def topics(policy: Policy) -> tuple[Topic, ...]:
    """Every topic: those there always are, and one for each third party."""
    others = (name for name, audience in policy.audiences.items() if audience.third_party)
    return (*ALL, *map(shared, others))


def _strictest(leaf: Leaf, asked: Mapping[str, Treatment]) -> Decision:
    rank = min(STRICTEST_FIRST.index(treatment.kind) for treatment in asked.values())
    kind = STRICTEST_FIRST[rank]
    strict = {tag: treatment for tag, treatment in asked.items() if treatment.kind == kind}
    if kind == Pseudonymize.kind and len(strict) > 1:
        raise PolicyError(
            f"{leaf.path} has the tags {_listed(strict)}, which are all pseudonymized, each in its"
            " own domain.",
            "Leave one of them.",
        )
    for tag, treatment in strict.items():
        if all(treatment.covers(other) for other in strict.values()):
            return Decision(treatment, tag)
    raise PolicyError(
        f"{leaf.path} has the tags {_listed(strict)}, whose treatments ({kind}) do not compare.",
        "Leave one of them, or give them treatments of which one is coarser.",
    )


def load(file: Path) -> Policy:
    """Read and check the policy file.

    Raises:
        PolicyError: it cannot be read, or something in it is unknown, missing or malformed.
    """
    try:
        with file.open("rb") as source:
            return parse(tomllib.load(source))
    except OSError as error:
        raise PolicyError(
            f"The policy {file} cannot be read: {error.strerror}.", "Correct the schemas folder."
        ) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise PolicyError(f"The policy {file} is not TOML: {error}.", "Correct it.") from None


def parse(document: Mapping[str, object]) -> Policy:
    """Check a policy as `tomllib` reads it. Raises PolicyError."""
    _keys(document, ("kafka", "consent", "audiences"), "the top level", optional=("lookups",))
    kafka = _table(document["kafka"], "kafka")
    _keys(kafka, KAFKA_PARTS, "kafka")
    for part in KAFKA_PARTS:
        if kafka[part] != Drop.kind:
            raise _malformed(f"kafka.{part}", 'is not "drop", the only treatment there is for it')
    lookups = {
        name: _lookup(entry, f"lookups.{name}")
        for name, entry in _table(document.get("lookups", {}), "lookups").items()
    }
    audiences = {
        name: _audience(entry, f"audiences.{name}", lookups)
        for name, entry in _table(document["audiences"], "audiences").items()
    }
    for name in INTERNAL:
        if name not in audiences:
            raise _malformed("audiences", f"has no {name}, which the workers serve")
        if audiences[name].third_party:
            raise _malformed(f"audiences.{name}.third_party", "is set for an audience of our own")
    for name, audience in audiences.items():
        if name not in INTERNAL and not audience.third_party:
            raise _malformed(f"audiences.{name}", "is neither our own nor has third_party = true")
    consent = _consent(_table(document["consent"], "consent"))
    return Policy(audiences, lookups, dict.fromkeys(KAFKA_PARTS, Drop.kind), consent)


def _consent(entry: Mapping[str, object]) -> Consent:
    _keys(entry, ("unknown",), "consent", optional=("jurisdictions",))
    unknown = _allowed(entry["unknown"], "consent.unknown")
    for purpose in PURPOSES:
        if purpose not in unknown:
            raise _malformed("consent.unknown", f"does not say whether {purpose} is allowed")
    jurisdictions = _table(entry.get("jurisdictions", {}), "consent.jurisdictions")
    for country in jurisdictions:
        if not _COUNTRY.fullmatch(country):
            raise _malformed(f"consent.jurisdictions.{country}", "is no country code like DE")
    return Consent(
        unknown,
        {
            country: _allowed(allowed, f"consent.jurisdictions.{country}")
            for country, allowed in jurisdictions.items()
        },
    )


def _allowed(entry: object, place: str) -> Mapping[str, bool]:
    allowed: dict[str, bool] = {}
    for purpose, value in _table(entry, place).items():
        if purpose not in PURPOSES:
            raise _malformed(f"{place}.{purpose}", f"is not one of {', '.join(PURPOSES)}")
        if not isinstance(value, bool):
            raise _malformed(f"{place}.{purpose}", "is neither true nor false")
        allowed[purpose] = value
    return allowed


def _audience(entry: object, place: str, lookups: Mapping[str, Lookup]) -> Audience:
    table = _table(entry, place)
    texts = ("recipient", "description")
    _keys(table, ("purpose", *texts, "treatments"), place, optional=("third_party",))
    purpose, third_party = table["purpose"], table.get("third_party", False)
    if not isinstance(purpose, str) or purpose not in PURPOSES:
        raise _malformed(f"{place}.purpose", f"is not one of {', '.join(PURPOSES)}")
    if not isinstance(third_party, bool):
        raise _malformed(f"{place}.third_party", "is neither true nor false")
    if third_party != (purpose == SHARING):
        raise _malformed(
            place, f"has the purpose {SHARING} without third_party = true, or the reverse"
        )
    if third_party and not _NAME.fullmatch(place.rpartition(".")[2]):
        raise _malformed(place, "has a name that no topic can have; use a-z, 0-9 and -")
    for key in texts:
        if not isinstance(table[key], str) or not table[key]:
            raise _malformed(f"{place}.{key}", "is not text")
    treatments = {
        tag: _treatment(spec, f"{place}.treatments.{tag}", lookups)
        for tag, spec in _table(table["treatments"], f"{place}.treatments").items()
    }
    recipient, description = (str(table[key]) for key in texts)
    return Audience(purpose, recipient, description, treatments, third_party)


def _treatment(spec: object, place: str, lookups: Mapping[str, Lookup]) -> Treatment:
    given = dict(_table(spec, place))
    kind = given.pop("do", None)
    variants = [variant for variant in VARIANTS if variant.kind == kind]
    if not variants:
        raise _malformed(f"{place}.do", f"is not one of {', '.join(STRICTEST_FIRST)}")
    shapes = {frozenset(field.name for field in fields(variant)): variant for variant in variants}
    variant = shapes.get(frozenset(given))
    if variant is None:
        known = " or ".join(", ".join(sorted(shape)) or "nothing" for shape in shapes)
        raise _malformed(place, f"does not have what {kind} takes beside do: {known}")
    try:
        treatment = variant(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    except ValueError as error:
        raise _malformed(place, f"does not hold: {error}") from None
    if isinstance(treatment, Generalize) and treatment.lookup not in lookups:
        raise _malformed(f"{place}.lookup", f"names no lookup ({treatment.lookup} is not there)")
    return treatment


def _lookup(entry: object, place: str) -> Lookup:
    found: dict[str, tuple[str, ...]] = {}
    for label, words in _table(entry, place).items():
        if (
            not isinstance(words, list)
            or not words
            or not all(isinstance(word, str) and word.strip() for word in words)
        ):
            raise _malformed(f"{place}.{label}", "is not a list of words")
        found[label] = tuple(words)
    if not found:
        raise _malformed(place, "is empty")
    return found


def _table(entry: object, place: str) -> Mapping[str, object]:
    if not isinstance(entry, Mapping):
        raise _malformed(place, "is not a table")
    return entry


def _keys(
    table: Mapping[str, object],
    required: tuple[str, ...],
    place: str,
    optional: tuple[str, ...] = (),
) -> None:
    for key in required:
        if key not in table:
            raise PolicyError(f"Policy: {key} is missing from {place}.", f"Add {key}.")
    for key in table:
        if key not in required + optional:
            raise PolicyError(
                f"Policy: {place} has the unknown key {key!r}.",
                f"Remove it; known are {', '.join(required + optional)}.",
            )


def _malformed(place: str, problem: str) -> PolicyError:
    return PolicyError(f"Policy: {place} {problem}.", "Correct the policy file.")


def _listed(tags: Mapping[str, Treatment]) -> str:
    return ", ".join(tags)
