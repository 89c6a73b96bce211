"""Where each role would resume, and how the gate is made to resume elsewhere.

The gate resumes from what its group committed. Taste and report resume from positions in their
stores, written with what they include; what their groups commit only shows others how far they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from rich.table import Table

from streams.agents.codecs import Codecs
from streams.agents.role import Place
from streams.agents.taste_partition import POSITIONS_KEY, Positions
from streams.app.roles import open_codecs
from streams.cli import console
from streams.cli.survey import INPUTS, Span, Survey, group_of, survey
from streams.errors import BrokerError, SettingsError, SourceError, WarehouseError
from streams.settings import Kafka, Settings
from streams.topics import (
    ANALYTICS_LISTENS,
    LISTENS,
    PLAYS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    TASTE_STATE,
)
from streams.transport.reader import partition_reader, read_span
from streams.transport.security import client_arguments, denied
from streams.warehouse.store import Warehouse

_NEAR = 256
_FURTHER = 16
"""`POSITIONS_KEY` is among the last records of a changelog, so that is where it is looked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """A role in a partition. ``resumes`` None: its worker alone can say."""

    role: str
    topic: str
    partition: int
    committed: int | None
    resumes: int | None
    beginning: int
    end: int
    lag: int


async def show(settings: Settings, roles: Iterable[str], *, as_json: bool) -> None:
    """Print where roles are in every partition they read."""
    roles = tuple(roles)
    wanted = {topic.name: topic for role in roles for topic in INPUTS[role]}
    found = await survey(settings.kafka, [*wanted.values(), TASTE_STATE], roles)
    rows, remarks = [], []
    for role in roles:
        stored, remark = await _stored(settings, role, found)
        remarks += [remark] if remark else []
        rows += _rows(role, found, stored)
    if as_json:
        console.out.print(json.dumps([asdict(row) for row in rows], indent=2), markup=False)
    else:
        names = Row.__slots__
        _print(names, ([getattr(row, name) for name in names] for row in rows))
    for remark in remarks:
        console.err.print(f"[dim]{console.plain(remark)}[/]")


async def reset(
    settings: Settings,
    role: str,
    target: str,
    partition: int | None,
    *,
    skip: bool,
    ask: bool,
) -> None:
    """Have the gate go on elsewhere in `plays`, and show where it was.

    Raises:
        SettingsError: of another role: its store decides.
        SourceError: plays would be skipped, or there is no such place.
        BrokerError: workers run.
    """
    if role != "gate":
        raise SettingsError(
            f"The {role} role resumes from positions in its store, whatever its group committed.",
            f"`sottovoce rebuild {role}` has it read everything again that Kafka still holds.",
        )
    found, was = await _at_rest(settings)
    moved = await _targets(settings.kafka, found, target, partition)
    skipped = sum(max(0, moved[place] - was[place]) for place in moved)
    _print(
        ("topic", "partition", "beginning", "was", "becomes", "end"),
        (
            [*place, found.spans[place].beginning, was[place], offset, found.spans[place].end]
            for place, offset in moved.items()
        ),
    )
    if skipped and not skip:
        raise SourceError(
            f"{skipped} plays would never be processed.", "--skip says that this is meant."
        )
    if ask:
        typer.confirm("Have the gate resume there?", abort=True, err=True)
    await commit(settings.kafka, group_of(role), moved)
    console.err.print("[dim]done; start the gate workers[/]")


async def again(settings: Settings, start: str, partition: int | None) -> None:
    """Have the gate process plays again from ``start``; it skips none.

    Raises:
        BrokerError: gate workers run.
        SourceError: there is no such place.
    """
    found, was = await _at_rest(settings)
    targets = await _targets(settings.kafka, found, start, partition)
    moved = {place: offset for place, offset in targets.items() if offset < was[place]}
    await commit(settings.kafka, group_of("gate"), moved)
    plays = sum(was[place] - offset for place, offset in moved.items())
    console.out.print(f"{plays} plays will be processed again once gate workers run")
    console.err.print(
        "[dim]Taste and report skip what they have. Third parties get theirs again, and what is"
        " rejected again stands twice in plays.rejected.[/]"
    )


async def taste_positions(
    codecs: Codecs, reader: AIOKafkaConsumer, number: int, span: Span
) -> Positions:
    """How far the state of a partition is, as its changelog says."""
    reach, end = _NEAR, span.end
    while end > span.beginning:
        start = max(span.beginning, span.end - reach)
        record = None
        async for batch in read_span(reader, TASTE_STATE.name, number, start, end):
            for key, value in zip(batch.keys, batch.values, strict=True):
                record = value if key == POSITIONS_KEY else record
        if record is not None:
            row = await codecs.decode([record], ("listens_offset", "body"))
            return Positions.of(row["listens_offset"][0], row["body"][0])
        end, reach = start, reach * _FURTHER
    return Positions()


async def stored_by_taste(settings: Settings, found: Survey) -> dict[Place, int]:
    """Offsets that taste resumes from."""
    stored = {}
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        for topic, number in found.places(TASTE_STATE.name):
            span = found.spans[topic, number]
            positions = await taste_positions(codecs, reader, number, span)
            stored[LISTENS.name, number] = positions.next_offset
            stored[PRIVACY_COMMANDS.name, number] = positions.next_command
            stored[PRIVACY_REKEYS.name, number] = positions.next_rekey
    return stored


def stored_in(warehouse: Warehouse) -> dict[Place, int]:
    """Offsets that report resumes from."""
    listens = warehouse.positions().next_offset
    return {
        **{(ANALYTICS_LISTENS.name, number): offset for number, offset in listens.items()},
        **warehouse.command_positions(),
    }


async def _stored(
    settings: Settings, role: str, found: Survey
) -> tuple[Mapping[Place, int] | None, str]:
    """Offsets that a role's store resumes from, None if they cannot be had; and why not."""
    if role == "gate":
        return found.groups[role].committed, ""
    if role == "taste":
        return await stored_by_taste(settings, found), ""
    if not settings.warehouse.exists():
        return {}, f"report: no warehouse at {settings.warehouse}, so from the beginning"
    try:
        with Warehouse(settings.warehouse, settings.sql) as warehouse:
            return stored_in(warehouse), ""
    except WarehouseError as error:
        return None, f"report: where it resumes is not known here. {error.problem}"


def _rows(role: str, found: Survey, stored: Mapping[Place, int] | None) -> list[Row]:
    rows = []
    committed = found.groups[role].committed
    for topic in INPUTS[role]:
        for place in found.places(topic.name):
            span = found.spans[place]
            resumes = None if stored is None else max(stored.get(place, 0), span.beginning)
            lag = found.lag(role, place)
            rows.append(
                Row(role, *place, committed.get(place), resumes, span.beginning, span.end, lag)
            )
    return rows


async def _at_rest(settings: Settings) -> tuple[Survey, dict[Place, int]]:
    """What Kafka says, and where the gate is in `plays`, while no gate runs."""
    found = await survey(settings.kafka, [PLAYS], ["gate"])
    require_stopped(found, "gate")
    committed = found.groups["gate"].committed
    places = found.places(PLAYS.name)
    return found, {place: committed.get(place, found.spans[place].beginning) for place in places}


def require_stopped(found: Survey, role: str) -> None:
    """Check that no worker of a role is in its group.

    Raises:
        BrokerError: some are; says where.
    """
    members = found.groups[role].members
    if members:
        raise BrokerError(
            f"{len(members)} {role} worker(s) run, at {', '.join(sorted(set(members)))}.",
            "Stop them first (SIGTERM). One that was killed counts until"
            " SOTTOVOCE_SESSION_TIMEOUT_S is over.",
        )


async def _targets(
    kafka: Kafka, found: Survey, target: str, partition: int | None
) -> dict[Place, int]:
    places = found.places(PLAYS.name)
    if partition is not None:
        places = [place for place in places if place[1] == partition]
    if not places:
        raise SourceError("There is no such partition of plays.", "`sottovoce offsets show gate`.")
    spans = {place: found.spans[place] for place in places}
    if target == "beginning":
        return {place: span.beginning for place, span in spans.items()}
    if target == "end":
        return {place: span.end for place, span in spans.items()}
    if target.isdecimal():
        return {place: _offset(int(target), spans) for place in places}
    moment_ms = _moment(target)
    async with partition_reader(kafka) as reader:
        asked = {TopicPartition(*place): moment_ms for place in places}
        answers = await reader.offsets_for_times(asked)
    return {
        place: spans[place].end if answer is None else answer.offset
        for place in places
        for answer in [answers[TopicPartition(*place)]]
    }


def _offset(wanted: int, spans: Mapping[Place, Span]) -> int:
    if len(spans) > 1:
        raise SourceError("An offset is one of a partition.", "Name it with --partition.")
    (span,) = spans.values()
    if not span.beginning <= wanted <= span.end:
        raise SourceError(
            f"The partition has offsets from {span.beginning} to {span.end}.", "Name one of them."
        )
    return wanted


def _moment(text: str) -> int:
    """Unix milliseconds of an ISO 8601 time, UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SourceError(
            "That is neither an offset nor a time.",
            "Say beginning, end, an offset, or a time such as 2026-06-01T12:00.",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000)


async def commit(kafka: Kafka, group: str, offsets: Mapping[Place, int]) -> None:
    """Commit for a group without members, which Kafka accepts from whoever is none."""
    if not offsets:
        return
    wanted = {TopicPartition(*place): offset for place, offset in offsets.items()}
    consumer = AIOKafkaConsumer(**client_arguments(kafka), group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(list(wanted))
        await consumer.commit(wanted)
    except KafkaError as error:
        raise denied(error, f"commits of {group}") or BrokerError(
            f"Kafka does not take the offsets: {type(error).__name__}.",
            "A worker may have started meanwhile; stop it and try again.",
        ) from error
    finally:
        await consumer.stop()


def _print(names: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    table = Table(*(name.replace("_", " ") for name in names), box=None, header_style="bold")
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row))
    console.out.print(table)
