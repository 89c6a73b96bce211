"""Commands that show or check what is configured: settings, topics, schemas, keys."""

from __future__ import annotations

from pydantic import SecretStr
from rich.table import Table

from streams import topics
from streams.cli import console
from streams.errors import SchemaError
from streams.settings import PREFIX, Settings
from streams.transport.admin import create_topics as create
from streams.transport.admin import partition_counts


def settings(current: Settings) -> None:
    """Every setting: variable, value, meaning. Secrets stay masked."""
    table = Table("variable", "value", "meaning", box=None, header_style="bold")
    for name, field in Settings.model_fields.items():
        value = getattr(current, name)
        shown = "unset" if value is None else str(value)
        if isinstance(value, SecretStr):
            shown = "********"
        table.add_row(f"{PREFIX}{name.upper()}", console.plain(shown), field.description or "")
    console.out.print(table)
    console.err.print(
        "[dim]Environment wins over sottovoce.toml (or the file SOTTOVOCE_CONFIG names), where the "
        "names stand without prefix, in lower case.[/]"
    )


async def create_topics(current: Settings) -> None:
    """Create what is missing."""
    wanted = _wanted(current)
    for made in await create(current.kafka, wanted, current.partitions, current.replication):
        console.out.print(f"{'created' if made.new else 'exists '}  {made.name}")


async def list_topics(current: Settings) -> None:
    """Topics as designed beside what the cluster has."""
    counts = await partition_counts(current.kafka)
    table = Table("topic", "zone", "partitions", "kept", "key", "holds", box=None)
    wanted = _wanted(current)
    for topic in wanted:
        kept = "newest per key"
        if topic.retention_ms is not None:
            kept = f"{topic.retention_ms // topics.DAY_MS} days"
        partitions = str(counts.get(topic.name, "[red]missing[/]"))
        table.add_row(topic.name, topic.zone, partitions, kept, topic.key, topic.purpose)
    console.out.print(table)
    if any(topic.name not in counts for topic in wanted):
        console.err.print("[dim]`sottovoce topics create` makes the missing ones.[/]")


def access_lists(current: Settings) -> None:
    """The script of access lists, as the roles and the policy ask for."""
    from streams.app import access
    from streams.privacy import policy

    console.out.print(
        access.script(policy.load(current.policy)), end="", markup=False, soft_wrap=True
    )


def _wanted(current: Settings) -> tuple[topics.Topic, ...]:
    from streams.privacy import policy

    return policy.topics(policy.load(current.policy))


def check_schemas(current: Settings) -> int:
    """Findings of `streams.privacy.check`; the exit code says whether there are any."""
    from streams.privacy import policy as policies
    from streams.privacy.check import check

    findings = check(current.schemas, policies.load(current.policy))
    for finding in findings:
        place = f"{finding.schema}: {finding.path}" if finding.path else finding.schema
        console.out.print(f"{console.plain(place)}: {console.plain(finding.problem)}")
        if finding.remedy:
            console.out.print(f"  do: {console.plain(finding.remedy)}")
    if findings:
        console.err.print(f"[bold red]{len(findings)} findings[/]")
        return console.FAILED
    console.out.print("every field has a treatment; no listen field can carry a dropped one")
    return console.OK


def show_schema(current: Settings, name: str | None) -> None:
    """A schema's leaves with tags and treatments, or the names of all schemas."""
    from streams.avro import schemas as schema_files
    from streams.privacy import policy as policies
    from streams.privacy.tags import leaves

    schemas = schema_files.load(current.schemas)
    if name is None:
        for each in sorted(schemas.current):
            console.out.print(each)
        return
    if name not in schemas.current:
        raise SchemaError(
            f"There is no schema {name}.", f"There are: {', '.join(sorted(schemas.current))}."
        )
    policy = policies.load(current.policy)
    table = Table("field", "type", "tags", *policy.audiences, box=None)
    for path, leaf in leaves(schemas[name]).items():
        treatments = [
            policy.treatment_for(leaf, audience).treatment.kind if leaf.tags else "-"
            for audience in policy.audiences
        ]
        table.add_row(path, leaf.type, " ".join(sorted(leaf.tags)), *treatments)
    console.out.print(table)
