"""Where each field of a listen comes from, as the listen schema itself says.

``"sottovoce:from": "artist.name"`` names the leaf of Play whose treated value the field carries.
``"sottovoce:derived": {"by": name, "reads": [leaves]}`` names a derivation of
`streams.privacy.derive` and repeats what it reads, so that the schema alone tells a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streams.errors import SchemaError
from streams.privacy import tags
from streams.privacy.derive import DERIVATIONS, READ_TYPES
from streams.privacy.expressions import COLUMN_TYPES
from streams.privacy.tags import Leaf

FROM = "sottovoce:from"
DERIVED = "sottovoce:derived"

Default = None | bool | int | float | str | list[str]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a listen: its leaf in the listen schema, and the one cause of its value.

    Either ``source`` (a leaf of Play) or ``by`` (a derivation) is set. ``default`` is the schema's.
    """

    leaf: Leaf
    source: str | None
    by: str | None
    default: Default
    has_default: bool

    @property
    def name(self) -> str:
        """Its name, which is also its column."""
        return self.leaf.path

    @property
    def required(self) -> bool:
        """Whether there is nothing to put in its place: neither null nor a default."""
        return not self.leaf.nullable and not self.has_default


def fields(listen_schema: Mapping[str, object]) -> tuple[Field, ...]:
    """Every field of a listen, in schema order.

    Raises:
        SchemaError: the schema is malformed, a field is not flat, says nothing or both about where
            it comes from, or names a derivation, or reads, that the code does not have.
    """
    found = tags.leaves(listen_schema)
    declared = tags.record_fields(listen_schema)
    for name in declared:
        if name not in found:
            raise _invalid(name, "is not flat")
    return tuple(_field(found[name], field) for name, field in declared.items())


def _field(leaf: Leaf, declared: Mapping[str, object]) -> Field:
    if leaf.type not in COLUMN_TYPES:
        raise _invalid(leaf.path, f"is of type {leaf.type}, which no column of a listen has")
    source, derivation = declared.get(FROM), declared.get(DERIVED)
    if (source is None) == (derivation is None):
        raise _invalid(leaf.path, f"has neither or both of {FROM} and {DERIVED}")
    if source is not None and not isinstance(source, str):
        raise _invalid(leaf.path, f"has a {FROM} that is not the path of a leaf")
    by = None if derivation is None else _derivation(leaf, derivation)
    default = declared.get("default")
    if default is not None and not isinstance(default, bool | int | float | str | list):
        raise _invalid(leaf.path, "has a default of no type that a listen carries")
    return Field(leaf, source, by, default, "default" in declared)


def _derivation(leaf: Leaf, derivation: object) -> str:
    if not isinstance(derivation, Mapping) or set(derivation) != {"by", "reads"}:
        raise _invalid(leaf.path, f"has a {DERIVED} that is not made of by and reads")
    by, reads = derivation["by"], derivation["reads"]
    if not isinstance(by, str) or by not in DERIVATIONS:
        raise _invalid(leaf.path, f"is derived by none of {', '.join(DERIVATIONS)}")
    known = DERIVATIONS[by]
    if not isinstance(reads, list) or reads != list(known.reads):
        raise _invalid(
            leaf.path, f"says other reads than {by} has ({', '.join(known.reads) or 'none'})"
        )
    if leaf.type not in known.fills:
        raise _invalid(
            leaf.path, f"is not of the type that {by} gives ({' or '.join(known.fills)})"
        )
    return by


def check_reads(play: Mapping[str, Leaf]) -> None:
    """Raises SchemaError if Play lacks a leaf that the gate reads, or has it of another type."""
    for path, kind in READ_TYPES.items():
        if path not in play or play[path].type != kind:
            raise SchemaError(
                f"Play has no {path} of type {kind}, which the gate reads.",
                "Correct schemas/play.avsc or streams/privacy/derive.py.",
            )


def _invalid(path: str, problem: str) -> SchemaError:
    return SchemaError(f"Listen schema: {path} {problem}.", "Correct schemas/listen.avsc.")
