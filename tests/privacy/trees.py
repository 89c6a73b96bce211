"""Random record types as trees that know their own tags, and the schemas and rows they stand for.

The tree is the oracle: what its leaves and their effective tags are follows from how it was built,
not from reading the schema that it is written as.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import strategies as st

from streams.privacy.tags import Leaf

Json = dict[str, object]
Tags = frozenset[str]
NO_TAGS: Tags = frozenset()


@dataclass(frozen=True)
class Node:
    """A type. ``tags`` stand on its type object, or on the definition of a named type."""

    tags: Tags = NO_TAGS


@dataclass(frozen=True)
class Simple(Node):
    kind: str = "string"


@dataclass(frozen=True)
class Symbol(Node):
    """An enum of one symbol, so that the symbol tells whose value it is."""

    name: str = ""


@dataclass(frozen=True)
class Container(Node):
    kind: str = "array"
    held: Node = field(default_factory=Simple)


@dataclass(frozen=True)
class Choice(Node):
    """A union; a list has no place for tags of its own."""

    branches: tuple[Node, ...] = ()
    nullable: bool = True


@dataclass(frozen=True)
class Record(Node):
    name: str = ""
    fields: tuple[tuple[str, Tags, Node], ...] = ()


MARKS = {"array": ("items", "[]"), "map": ("values", "{}")}


def leaves(node: Node, path: str = "", tags: Tags = NO_TAGS, nullable: bool = False) -> list[Leaf]:
    """Leaves by definition: what is nested has the tags of everything around it."""
    tags = tags | node.tags
    if isinstance(node, Record):
        inner = [
            leaves(held, f"{path}.{name}".lstrip("."), tags | on_field, nullable)
            for name, on_field, held in node.fields
        ]
        return list(itertools.chain.from_iterable(inner))
    if isinstance(node, Choice) and len(node.branches) == 1:
        return leaves(node.branches[0], path, tags, nullable or node.nullable)
    if holds_record(node):
        if isinstance(node, Container):
            return leaves(node.held, path + MARKS[node.kind][1], tags, nullable)
        assert isinstance(node, Choice)
        return [
            leaf
            for branch in node.branches
            for leaf in leaves(branch, f"{path}<{label(branch)}>", tags, nullable or node.nullable)
        ]
    optional = isinstance(node, Choice) and node.nullable
    return [Leaf(path, spelled(node), tags | inside(node), nullable or optional)]


def holds_record(node: Node) -> bool:
    return isinstance(node, Record) or any(map(holds_record, parts(node)))


def inside(node: Node) -> Tags:
    return node.tags.union(*map(inside, parts(node)))


def parts(node: Node) -> tuple[Node, ...]:
    if isinstance(node, Container):
        return (node.held,)
    return node.branches if isinstance(node, Choice) else ()


def spelled(node: Node) -> str:
    if isinstance(node, Simple):
        return node.kind
    if isinstance(node, Container):
        return f"{node.kind}<{spelled(node.held)}>"
    if isinstance(node, Choice):
        return f"union<{','.join(['null'] * node.nullable + [spelled(b) for b in node.branches])}>"
    return "enum"


def label(node: Node) -> str:
    if isinstance(node, Record | Symbol):
        return node.name
    return node.kind if isinstance(node, Simple | Container) else ""


class Writer:
    """Writes a tree as schema JSON. A named type is defined where it first stands and named after
    that; whether names are full or short varies with the name."""

    def __init__(self) -> None:
        self._defined: set[str] = set()

    def write(self, node: Node, around: str = "") -> object:
        mark: Json = {"confluent:tags": sorted(node.tags)} if node.tags else {}
        match node:
            case Simple():
                return {"type": node.kind, **mark} if mark else node.kind
            case Container():
                held = self.write(node.held, around)
                return {"type": node.kind, MARKS[node.kind][0]: held, **mark}
            case Choice():
                return ["null"] * node.nullable + [self.write(b, around) for b in node.branches]
            case Symbol() | Record():
                return self._named(node, around, mark)
        raise AssertionError(node)

    def _named(self, node: Symbol | Record, around: str, mark: Json) -> object:
        namespace, _, short = node.name.rpartition(".")
        if node.name in self._defined:
            return short if namespace == around else node.name
        self._defined.add(node.name)
        names: Json = {"name": node.name}
        if len(short) % 2:
            names = (
                {"name": short} if namespace == around else {"name": short, "namespace": namespace}
            )
        if isinstance(node, Symbol):
            return {"type": "enum", **names, "symbols": [f"RAW{short}"], **mark}
        fields = [self._field(name, tags, held, namespace) for name, tags, held in node.fields]
        return {"type": "record", **names, "fields": fields, **mark}

    def _field(self, name: str, tags: Tags, held: Node, namespace: str) -> Json:
        mark: Json = {"confluent:tags": sorted(tags)} if tags else {}
        return {"name": name, "type": self.write(held, namespace), **mark}


def schema(root: Record) -> Json:
    written = Writer().write(root)
    assert isinstance(written, dict)
    return written


@st.composite
def records(draw: st.DrawFn, tags: tuple[str, ...], root_tags: Tags = NO_TAGS) -> Record:
    """A record type with ``tags`` in any places. Named types come back by name, in two namespaces;
    records inside arrays, maps and unions too."""
    some = st.frozensets(st.sampled_from(tags), max_size=2)
    few = st.one_of(st.just(NO_TAGS), st.just(NO_TAGS), some)
    serial = itertools.count()
    reusable: list[Node] = []

    def named() -> str:
        return f"{draw(st.sampled_from(('a.b', 'c')))}.T{next(serial)}"

    def simple() -> Node:
        kind = draw(st.sampled_from(("string", "string", "string", "long", "enum")))
        if kind == "enum":
            reusable.append(Symbol(draw(few), named()))
            return reusable[-1]
        return Simple(draw(few), kind)

    def node(depth: int) -> Node:
        shapes = ["simple", "simple", "optional", "container", "choice"]
        shape = draw(st.sampled_from(shapes + ["record", "record", "again"] * (depth < 3)))
        if shape == "record":
            reusable.append(record(depth + 1, named(), draw(few)))
            return reusable[-1]
        if shape == "again" and reusable:
            return draw(st.sampled_from(reusable))
        if shape == "container":
            return Container(draw(few), draw(st.sampled_from(("array", "map"))), node(depth + 1))
        if shape == "optional":
            held = node(depth + 1)
            return held if isinstance(held, Choice) else Choice(branches=(held,))
        if shape == "choice":
            branches = (Simple(draw(few), "string"), Simple(draw(few), "long"))
            more = (
                (record(depth + 1, named(), draw(few)),)
                if draw(st.booleans()) and depth < 3
                else ()
            )
            return Choice(branches=branches + more, nullable=draw(st.booleans()))
        return simple()

    def record(depth: int, name: str, on: Tags) -> Record:
        held = [node(depth) for _ in range(draw(st.integers(1, 3)))]
        return Record(on, name, tuple((f"f{i}", draw(few), inner) for i, inner in enumerate(held)))

    return record(0, "a.b.Root", root_tags)


def by_path(found: list[Leaf]) -> Mapping[str, Leaf]:
    return {leaf.path: leaf for leaf in found}
