"""No raw value of a dropped or pseudonymized leaf appears anywhere in what a plan lets out.

Random schemas carry their tags in random places. Which leaves must not appear follows from how the
schema was built (`trees`), not from the code under test. The same search is shown to find what a
loosened policy, or a walk that overlooks a placement, would let out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings

from streams.errors import PolicyError
from streams.privacy import expressions, tags
from streams.privacy.expressions import COLUMN_TYPES
from streams.privacy.policy import Policy
from streams.privacy.tags import Leaf
from streams.privacy.treatments import Drop, Keep
from tests.privacy import trees, worlds
from tests.privacy.test_tags import PLACEMENTS

OPEN = frozenset({"OPEN"})
OPEN_TO_ALL = {"**": ["OPEN"]}
roots = trees.records(tags=("OPEN", "OPEN", "WHO", "SECRET"), root_tags=OPEN)


def fits(leaf: Leaf) -> bool:
    try:
        decision = worlds.policy().treatment_for(leaf, "analytics")
        expressions.output_type(decision.treatment, leaf)
    except PolicyError:
        return False
    return True


def guarded(root: trees.Record) -> trees.Record:
    """The tree with SECRET on every field that has a leaf whose treatment does not fit it."""

    def stricter(on: trees.Tags, held: trees.Node) -> trees.Tags:
        return on if all(map(fits, trees.leaves(held, "f", on | root.tags))) else on | {"SECRET"}

    fields = tuple((name, stricter(on, held), held) for name, on, held in root.fields)
    return replace(root, fields=fields)


def with_gate_fields(written: Mapping[str, object]) -> worlds.Json:
    fields = written["fields"]
    assert isinstance(fields, list)
    return {**written, "fields": [*fields, *worlds.GATE_FIELDS]}


def is_column(leaf: Leaf) -> bool:
    return leaf.type in COLUMN_TYPES and not set(leaf.path) & set("[{<")


def let_out(schema: worlds.Json, leaves: list[Leaf], rules: Policy) -> set[str]:
    """Leaves of which raw values come out when a listen asks for every leaf that a column holds,
    and the decoder decodes more than it was asked to."""
    columns = [leaf for leaf in leaves if is_column(leaf)]
    plan = worlds.compiled(schema, worlds.listen_of_everything(columns, rules), rules=rules)
    assert set(plan.wanted) <= {leaf.path for leaf in columns} | worlds.GATE_PATHS
    rows = worlds.raw(leaves)
    treated = plan.treat(rows.frame)
    assert len(treated) == worlds.ROWS
    return worlds.leaked(rows, treated)


@settings(max_examples=1_000, deadline=None)
@given(roots.map(guarded))
def test_only_leaves_without_a_stricter_tag_come_out_raw(root: trees.Record) -> None:
    leaves = trees.leaves(root)
    out = let_out(with_gate_fields(trees.schema(root)), leaves, worlds.policy())
    assert out == {leaf.path for leaf in leaves if is_column(leaf) and leaf.tags == OPEN}


@settings(max_examples=30, deadline=None)
@given(roots.map(guarded))
def test_the_same_search_finds_what_a_loosened_policy_lets_out(root: trees.Record) -> None:
    loose = worlds.policy({**worlds.TREATMENTS, "WHO": Keep()})
    leaves = trees.leaves(root)
    out = let_out(with_gate_fields(trees.schema(root)), leaves, loose)
    assert out == {leaf.path for leaf in leaves if is_column(leaf) and "SECRET" not in leaf.tags}


CARRIED = {
    name: (schema, path)
    for name, (schema, path) in PLACEMENTS.items()
    if is_column(tags.leaves(schema)[path])
}


@pytest.mark.parametrize(("schema", "path"), CARRIED.values(), ids=CARRIED)
def test_each_placement_holds_a_value_back(schema: Mapping[str, object], path: str) -> None:
    """T is dropped. Without it, as for a walk that overlooks its placement, the value comes out."""
    text = json.dumps(with_gate_fields(schema))
    overlooked = text.replace('"confluent:tags": ["T"]', '"overlooked": ["T"]')
    assert overlooked != text
    assert out_of(json.loads(text), path) == set()
    assert out_of(json.loads(overlooked), path) == {path}


def out_of(schema: worlds.Json, path: str) -> set[str]:
    """What comes out raw where every leaf is OPEN by the registry's tags and T is dropped."""
    rules = worlds.policy({**worlds.TREATMENTS, "T": Drop()})
    leaf = tags.leaves(schema)[path]
    kind = {"type": "array", "items": "string"} if leaf.type == "array<string>" else "string"
    plan = worlds.compiled(
        schema, worlds.listen({"out": (path, ["null", kind])}), rules=rules, external=OPEN_TO_ALL
    )
    rows = worlds.raw(tags.leaves(schema).values())
    return worlds.leaked(rows, plan.treat(rows.frame))
