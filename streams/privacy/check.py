"""`sottovoce schema check`: what can be known of schemas and policy before the first play comes.

The rule for the raw zone has no exception: every leaf of every schema that a raw topic carries has
tags, every tag has a treatment for every audience, and every treatment fits its leaf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.avro.compat import incompatibilities
from streams.avro.schemas import Schema, read
from streams.errors import PolicyError, SchemaError, SottoVoceError
from streams.privacy import expressions, lineage, plan, tags
from streams.privacy.policy import INTERNAL, Policy
from streams.privacy.tags import Leaf
from streams.privacy.treatments import Drop
from streams.topics import ALL, Zone

PLAY, LISTEN, SHARED_LISTEN = "play", "listen", "shared-listen"
RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to correct before release: in which schema, where in it, what, and how."""

    schema: str
    path: str
    problem: str
    remedy: str


def check(folder: Path, policy: Policy) -> list[Finding]:
    """Everything wrong with the schemas in ``folder`` under ``policy``; empty if they hold.

    Reads ``*.avsc`` and ``released/<name>/<n>.avsc``. Never raises for what it finds.
    """
    schemas: dict[str, Schema] = {}
    findings: list[Finding] = []
    for file in sorted(folder.glob("*.avsc")):
        try:
            schema = read(file)
            tags.leaves(schema)
            schemas[file.stem] = schema
        except SchemaError as error:
            findings.append(_finding(file.stem, "", error))
    for topic in ALL:
        if topic.schema not in schemas:
            problem = f"The topic {topic.name} has no readable schema."
            findings.append(Finding(topic.schema, "", problem, f"Add {topic.schema}.avsc."))
    for name, schema in schemas.items():
        findings.extend(_undocumented(name, schema))
        findings.extend(_broken_promises(name, schema, folder))
    for name in sorted({topic.schema for topic in ALL if topic.zone is Zone.RAW} & set(schemas)):
        findings.extend(_untreated(name, schemas[name], policy))
    third = tuple(name for name in policy.audiences if name not in INTERNAL)
    for name, audiences in ((LISTEN, INTERNAL), (SHARED_LISTEN, third)):
        if audiences and PLAY in schemas and name in schemas:
            findings.extend(_unfounded(name, schemas[PLAY], schemas[name], policy, audiences))
    return findings


def _undocumented(name: str, node: object, path: str = "") -> Iterator[Finding]:
    """Fields without a doc, in records at any depth."""
    if isinstance(node, list):
        for branch in node:
            yield from _undocumented(name, branch, path)
    if not isinstance(node, Mapping):
        return
    for field in node.get("fields", ()):
        inner = f"{path}.{field['name']}".lstrip(".")
        if not str(field.get("doc", "")).strip():
            yield Finding(name, inner, "The field has no doc.", "Say what it holds, with its unit.")
        yield from _undocumented(name, field["type"], inner)
    for held in ("type", "items", "values"):
        yield from _undocumented(name, node.get(held), path)


def _untreated(name: str, schema: Schema, policy: Policy) -> Iterator[Finding]:
    for leaf in tags.leaves(schema).values():
        for audience in policy.audiences:
            try:
                decision = policy.treatment_for(leaf, audience)
                expressions.output_type(decision.treatment, leaf)
            except PolicyError as error:
                yield _finding(name, leaf.path, error)


def _unfounded(
    name: str, play: Schema, listen: Schema, policy: Policy, audiences: Sequence[str]
) -> Iterator[Finding]:
    """Fields of a listen that cannot come from where the listen schema says they do."""
    leaves = tags.leaves(play)
    try:
        lineage.check_reads(leaves)
        fields = lineage.fields(listen)
    except SchemaError as error:
        yield _finding(name, "", error)
        return
    for field in fields:
        if field.source is None:
            continue
        try:
            _check_source(field, leaves, policy, audiences)
        except (SchemaError, PolicyError) as error:
            yield _finding(name, field.name, error)


def _check_source(
    field: lineage.Field, leaves: Mapping[str, Leaf], policy: Policy, audiences: Sequence[str]
) -> None:
    leaf = leaves.get(field.source or "")
    if leaf is None:
        raise SchemaError(
            f"It comes from {field.source}, which Play does not have.", f"Correct {lineage.FROM}."
        )
    decisions = {audience: policy.treatment_for(leaf, audience) for audience in audiences}
    dropped = [name for name, each in decisions.items() if isinstance(each.treatment, Drop)]
    if len(dropped) == len(audiences) or (dropped and field.required):
        raise PolicyError(
            f"It comes from {leaf.path}, which the policy drops for {', '.join(dropped)}.",
            "Remove the field, or change the treatment of its tag.",
        )
    for audience in audiences:
        if audience not in dropped:
            plan.check_fit(field, leaf, decisions[audience])
    if field.required and leaf.nullable:
        raise SchemaError(
            f"It may not be null, but {leaf.path} may.", "Make it nullable or give it a default."
        )


def _broken_promises(name: str, schema: Schema, folder: Path) -> Iterator[Finding]:
    """Changes since the newest release that readers or writers of it would trip over."""
    releases = {
        int(file.stem): file
        for file in (folder / RELEASED / name).glob("*.avsc")
        if file.stem.isdecimal()
    }
    if not releases:
        return
    newest = max(releases)
    try:
        old = read(releases[newest])
    except SchemaError as error:
        yield _finding(name, f"{RELEASED}/{name}/{newest}.avsc", error)
        return
    for problem in incompatibilities(schema, old):
        yield Finding(
            name,
            "",
            f"Incompatible with release {newest}: {problem}",
            "Undo it, or add a field with a default instead.",
        )


def _finding(schema: str, path: str, error: SottoVoceError) -> Finding:
    return Finding(schema, path, error.problem, error.remedy)
