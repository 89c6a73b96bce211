"""What a schema says its fields are: the effective tags of every leaf of an Avro schema.

A leaf is where a value sits. Records are walked through, so ``track.title`` is a leaf of Play. An
array, map or union of simple types is one leaf whose type spells it out (``array<string>``). One
that holds a record is walked into, with ``[]``, ``{}`` or ``<branch>`` in the path, so that such a
leaf can never be mistaken for a column.

Tags are Confluent's ``confluent:tags`` and count wherever they stand: on a field, inside a type
object, on a record, enum or fixed, on an array or map and on what it holds, in a branch of a union.
What is nested inherits them, also where a named type is used again by name. The registry's external
tags (``metadata.tags``) are added. The effective tags of a leaf are the union of all of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streams.errors import SchemaError

TAGS = "confluent:tags"
METADATA = "confluent:metadata"
"""Where `streams.avro.registry` puts what the registry keeps beside a schema. Read here and not by
callers, so that none can forget it."""
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED = frozenset({"record", "enum", "fixed"})
CONTAINERS = {"array": ("items", "[]"), "map": ("values", "{}")}
RECURSIVE = "recursive"

MAX_STEPS = 10_000
"""Types that name each other can describe exponentially much; a sane schema takes some hundred."""
MAX_DEPTH = 64
"""Refused beyond this, long before Python's own recursion limit."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WILDCARD = re.compile(r"\*\*|\*|\?|[^*?]", re.DOTALL)

Tags = frozenset[str]
Node = object
"""A piece of schema JSON: a name, a list (union) or an object."""
Object = Mapping[str, Node]
Pattern = list[str]
"""Its wildcards, and the characters between them."""
Patterns = list[tuple[Pattern, Tags]]


@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a value sits in a record, and what it is.

    ``type`` is a primitive's name, ``enum``, ``fixed``, a spelled-out container such as
    ``array<string>``, or ``recursive`` where a record contains itself. ``nullable`` holds if the
    value or a record around it may be null.
    """

    path: str
    type: str
    tags: Tags
    nullable: bool = False
    logical: str | None = None

    @property
    def within_container(self) -> bool:
        """Whether an array, map or union of several is around it, so that no column can hold it."""
        return any(mark in self.path for mark in "[{<")


@dataclass(frozen=True, slots=True)
class _Place:
    """A point of the walk: the path to it and what it inherits from there."""

    path: str = ""
    namespace: str = ""
    tags: Tags = frozenset()
    nullable: bool = False
    around: Tags = frozenset()
    """Full names of the records around it."""
    depth: int = 0

    def deeper(self) -> _Place:
        if self.depth >= MAX_DEPTH:
            raise _invalid(f"{self.path} is nested more than {MAX_DEPTH} deep")
        return replace(self, depth=self.depth + 1)

    def tagged(self, node: Object) -> _Place:
        return replace(self, tags=self.tags | _tags_on(node))


@dataclass(frozen=True, slots=True)
class _Definition:
    """A named type, and the namespace in which the names inside it resolve."""

    kind: str
    node: Object
    namespace: str


def leaves(schema: Node, external: Mapping[str, Sequence[str]] | None = None) -> dict[str, Leaf]:
    """Every leaf of a record schema by dotted path, in schema order.

    ``schema`` is what ``json.load`` or the registry gives. External tags are those it brings along
    under ``confluent:metadata`` and those in ``external``: pattern -> tags. A pattern is matched
    against the record's full name, a dot and the field: ``?`` is one character and ``*`` any number
    within a part of the name, ``**`` any number across parts (Confluent, "Data Contracts").

    Raises:
        SchemaError: not a record, not valid Avro, a name that nothing defines, or too large.
    """
    if not isinstance(schema, Mapping) or schema.get("type") != "record":
        raise _invalid("the top level is not a record")
    named: dict[str, _Definition] = {}
    _define(schema, _Place(), named)
    walk = _Walk(named, [*_external(schema), *_patterns(external or {})])
    walk.visit(schema, _Place())
    return walk.found


class _Walk:
    def __init__(
        self,
        named: Mapping[str, _Definition],
        external: Patterns,
    ) -> None:
        self._named = named
        self._external = external
        self._steps = 0
        self.found: dict[str, Leaf] = {}

    def visit(self, node: Node, place: _Place) -> None:
        place = place.deeper()
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _invalid(f"it takes more than {MAX_STEPS} steps to walk")
        match node:
            case str():
                self._reference(node, place)
            case list():
                self._union(node, place)
            case Mapping():
                self._object(node, place.tagged(node))
            case _:
                raise _invalid(f"{place.path} has no type")

    def _reference(self, name: str, place: _Place) -> None:
        if name in PRIMITIVES:
            self._leaf(name, place)
        else:
            self._definition(_full_name(name, place.namespace), place)

    def _definition(self, full: str, place: _Place) -> None:
        definition = self._find(full, place)
        place = replace(place.tagged(definition.node), namespace=definition.namespace)
        if definition.kind != "record":
            self._leaf(definition.kind, place)
        elif full in place.around:
            self._leaf(RECURSIVE, place)
        else:
            self._record(full, definition.node, replace(place, around=place.around | {full}))

    def _record(self, full: str, record: Object, place: _Place) -> None:
        for name, field in record_fields(record).items():
            path = f"{place.path}.{name}" if place.path else name
            within = replace(place.tagged(field), path=path)
            outside = self._external_tags(f"{full}.{name}")
            self.visit(field.get("type"), replace(within, tags=within.tags | outside))

    def _object(self, node: Object, place: _Place) -> None:
        kind = _kind(node)
        if kind in NAMED:
            self._definition(_name_of(node, place.namespace), place)
        elif kind in CONTAINERS:
            held, mark = CONTAINERS[kind]
            if not self._whole(node, place):
                self.visit(node.get(held), replace(place, path=place.path + mark))
        elif kind in PRIMITIVES:
            logical = node.get("logicalType")
            self._leaf(kind, place, logical if isinstance(logical, str) else None)
        else:
            self.visit(node.get("type"), place)

    def _union(self, branches: list[Node], place: _Place) -> None:
        held = [branch for branch in branches if branch != "null"]
        place = replace(place, nullable=place.nullable or len(held) < len(branches))
        if len(held) == 1:
            self.visit(held[0], place)
        elif not self._whole(branches, place):
            for branch in held:
                self.visit(branch, replace(place, path=f"{place.path}<{_label(branch, place)}>"))

    def _whole(self, node: Node, place: _Place) -> bool:
        """Take a container as one leaf and say so, or decline because it holds a record."""
        spelled = self._spell(node, place)
        if spelled is None:
            return False
        kind, inside = spelled
        self._leaf(kind, replace(place, tags=place.tags | inside))
        return True

    def _spell(self, node: Node, place: _Place) -> tuple[str, Tags] | None:
        """A type without records in words, and the tags anywhere in it."""
        place = place.deeper()
        if isinstance(node, str) and node in PRIMITIVES:
            return node, frozenset()
        if isinstance(node, str):
            definition = self._find(_full_name(node, place.namespace), place)
            return self._spell(definition.node, place)
        if isinstance(node, list):
            branches = [self._spell(branch, place) for branch in node]
            known = [branch for branch in branches if branch is not None]
            if len(known) < len(branches):
                return None
            kinds = ",".join(kind for kind, _ in known)
            return f"union<{kinds}>", _union(tags for _, tags in known)
        if not isinstance(node, Mapping):
            raise _invalid(f"{place.path} has no type")
        kind, tags = _kind(node), _tags_on(node)
        if kind in NAMED:
            return (kind, tags) if kind != "record" else None
        held = CONTAINERS[kind][0] if kind in CONTAINERS else "type"
        inner = self._spell(node.get(held), place)
        if inner is None:
            return None
        return f"{kind}<{inner[0]}>" if kind in CONTAINERS else inner[0], tags | inner[1]

    def _leaf(self, kind: str, place: _Place, logical: str | None = None) -> None:
        if place.path in self.found:
            raise _invalid(f"{place.path} is there twice")
        self.found[place.path] = Leaf(place.path, kind, place.tags, place.nullable, logical)

    def _find(self, full: str, place: _Place) -> _Definition:
        if full not in self._named:
            raise _invalid(f"{place.path} names a type that nothing defines")
        return self._named[full]

    def _external_tags(self, name: str) -> Tags:
        return _union(tags for pattern, tags in self._external if _matches(pattern, name))


def _define(node: Node, place: _Place, named: dict[str, _Definition]) -> None:
    """Collect every named type below ``node``."""
    place = place.deeper()
    if isinstance(node, list):
        for branch in node:
            _define(branch, place, named)
    if not isinstance(node, Mapping):
        return
    kind = _kind(node)
    if kind in CONTAINERS:
        _define(node.get(CONTAINERS[kind][0]), place, named)
    elif kind not in NAMED:
        _define(node.get("type"), place, named)
    else:
        full = _name_of(node, place.namespace)
        if full in named:
            raise _invalid(f"type {full} is defined twice")
        named[full] = _Definition(kind, node, full.rpartition(".")[0])
        if kind == "record":
            within = replace(place, namespace=named[full].namespace)
            for field in record_fields(node).values():
                _define(field.get("type"), within, named)


def _kind(node: Object) -> str:
    kind = node.get("type")
    return kind if isinstance(kind, str) else ""


def record_fields(record: Object) -> dict[str, Object]:
    """Fields of a record type by name, in order. Raises SchemaError if one is malformed."""
    fields = record.get("fields")
    if not isinstance(fields, list):
        raise _invalid("a record has no list of fields")
    found: dict[str, Object] = {}
    for field in fields:
        name = field.get("name") if isinstance(field, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in found:
            raise _invalid("a field has no name, a malformed one, or one that is taken")
        found[name] = field
    return found


def _name_of(definition: Object, around: str) -> str:
    """Full name of a named type that is defined inside namespace ``around`` (Avro 1.12, Names)."""
    name, namespace = definition.get("name"), definition.get("namespace", around)
    if not isinstance(name, str) or not isinstance(namespace, str):
        raise _invalid("a named type has no name")
    full = _full_name(name, namespace)
    if not all(_NAME.fullmatch(part) for part in full.split(".")):
        raise _invalid("a named type has a malformed name")
    return full


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _label(branch: Node, place: _Place) -> str:
    """What tells a branch of a union from the others: its kind, or its full name."""
    if isinstance(branch, Mapping):
        named = _kind(branch) in NAMED
        return _name_of(branch, place.namespace) if named else _kind(branch)
    name = str(branch)
    return name if name in PRIMITIVES else _full_name(name, place.namespace)


def _tags_on(node: Object) -> Tags:
    return _as_tags(node.get(TAGS, ()))


def _as_tags(tags: Node) -> Tags:
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) and tag for tag in tags):
        raise _invalid(f"{TAGS} is not a list of names")
    return frozenset(tags)


def _union(tags: Iterable[Tags]) -> Tags:
    return frozenset().union(*tags)


def _external(schema: Object) -> Patterns:
    metadata = schema.get(METADATA, {})
    tags = metadata.get("tags") if isinstance(metadata, Mapping) else metadata
    if tags is not None and not isinstance(tags, Mapping):
        raise _invalid(f"{METADATA} has no table of tags")
    return _patterns(tags or {})


def _patterns(tags: Mapping[str, Node]) -> Patterns:
    return [(_parsed(pattern), _as_tags(given)) for pattern, given in tags.items()]


def _parsed(pattern: str) -> Pattern:
    return _WILDCARD.findall(pattern.replace("**.*", "**"))


def _matches(pattern: Pattern, name: str) -> bool:
    """Whether all of ``name`` matches, in time of its length times that of the pattern.

    Python's regular expressions would try every way to share the name among several wildcards,
    which takes years for a pattern that is made for it.
    """
    ends = {0}
    for piece in pattern:
        if piece == "**":
            ends = set(range(min(ends), len(name) + 1))
        elif piece == "*":
            ends = _within_a_part(ends, name)
        else:
            ends = {
                end + 1
                for end in ends
                if end < len(name) and (name[end] == piece or (piece == "?" and name[end] != "."))
            }
        if not ends:
            return False
    return len(name) in ends


def _within_a_part(starts: set[int], name: str) -> set[int]:
    """Where a piece of any length but without a dot can end."""
    ends: set[int] = set()
    for start in sorted(starts):
        if start not in ends:
            dot = name.find(".", start)
            ends |= set(range(start, (len(name) if dot < 0 else dot) + 1))
    return ends


def _invalid(problem: str) -> SchemaError:
    return SchemaError(f"Schema: {problem}.", "Correct the schema.")
