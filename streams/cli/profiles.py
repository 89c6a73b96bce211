"""Shows taste profiles: one listener's newest, or the topic as it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.columns import Columns
from rich.console import Group
from rich.panel import Panel
from rich.table import Table

from streams.app.roles import open_codecs
from streams.avro import wire
from streams.avro.registry import Registry
from streams.avro.single import decode_record
from streams.cli import console
from streams.errors import SettingsError, SourceError, StateError
from streams.settings import Settings
from streams.topics import PROFILES
from streams.transport.reader import end_offsets, partition_reader

Profile = dict[str, Any]


async def show(
    settings: Settings, listener: str | None, user: str | None, *, follow: bool, as_json: bool
) -> None:
    """Print profiles, the newest of each listener unless ``follow``."""
    wanted = _pseudonym(settings, user) if user is not None else listener
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        registry = codecs.registry
        with console.err.status("reading profiles"):
            newest = await newest_profiles(reader, registry, wanted)
        for profile in newest.values():
            emit(profile, as_json=as_json)
        if follow:
            async for key, changed in _following(reader, registry):
                if changed is not None and wanted in (None, key):
                    emit(changed, as_json=as_json)
        elif wanted is not None and not newest:
            raise SourceError(
                "There is no profile of this listener.",
                "Profiles appear at the taste worker's next checkpoint after a play.",
            )


async def newest_profiles(
    reader: AIOKafkaConsumer, registry: Registry, wanted: str | None = None
) -> dict[str, Profile]:
    """The newest profile of each listener, or of ``wanted``, in the order they were written."""
    newest: dict[str, Profile] = {}
    async for key, profile in _history(reader, registry):
        if wanted is None or key == wanted:
            newest.pop(key, None)
            if profile is not None:
                newest[key] = profile
    return newest


def emit(profile: Profile, *, as_json: bool) -> None:
    """Print one profile for a person or a pipe."""
    if as_json:
        console.out.print(json.dumps(profile, default=_iso), markup=False)
    else:
        console.out.print(card(profile))


def card(profile: Profile) -> Panel:
    """A profile as a person would want to read it."""
    figures = Table(box=None, padding=(0, 2), header_style="dim")
    figures.add_column("")
    for term in profile["terms"]:
        figures.add_column(f"{term['name']} ({term['half_life_days']:.0f} d)", justify="right")
    rows: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
        ("listens, decayed", lambda term: f"{term['listens']:.1f}"),
        ("minutes, decayed", lambda term: f"{term['minutes']:.0f}"),
        ("skip rate", lambda term: f"{term['skip_rate']:.0%}"),
        ("completion", lambda term: _share(term["completion"])),
        ("new artists", lambda term: f"{term['discovery_rate']:.0%}"),
        ("repeat artists", lambda term: f"{term['repeat_share']:.0%}"),
        ("effective artists", lambda term: f"{term['artist_diversity']:.1f}"),
        ("effective genres", lambda term: f"{term['genre_diversity']:.1f}"),
    )
    for label, show_figure in rows:
        figures.add_row(label, *(show_figure(term) for term in profile["terms"]))
    short = profile["terms"][0]
    tops = Columns(
        [_ranking("artist, short term", short["artists"]), _ranking("genre", short["genres"])],
        padding=(0, 4),
    )
    span = f"{_day(profile['first_at'])} to {_day(profile['as_of'])}"
    counts = f"{profile['plays']:,} plays, {profile['listens']:,} listens, {span}"
    return Panel(
        Group(counts, "", figures, "", tops, "", _rhythm(profile["rhythm"])),
        title=f"listener {profile['listener']}",
        title_align="left",
        expand=False,
    )


def _ranking(title: str, entries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column(title)
    table.add_column("share", justify="right")
    for entry in entries[:8]:
        table.add_row(console.plain(entry["name"]), f"{entry['share']:.1%}")
    return table


def _rhythm(shares: list[float]) -> str:
    blocks = " ▁▂▃▄▅▆▇█"
    most = max(shares, default=0.0) or 1.0
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    lines = []
    for number, day in enumerate(days):
        hours = shares[number * 24 : number * 24 + 24]
        lines.append(
            f"[dim]{day}[/] " + "".join(blocks[round(share / most * 8)] for share in hours)
        )
    return "[dim]hours of the week, UTC, 0 to 23[/]\n" + "\n".join(lines)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _day(moment: datetime | int) -> str:
    if not isinstance(moment, datetime):
        moment = datetime.fromtimestamp(moment / 1_000, UTC)
    return moment.date().isoformat()


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _pseudonym(settings: Settings, user: str) -> str:
    from streams.privacy.boundary import pseudonym_of
    from streams.privacy.policy import PRODUCT

    if settings.key is None and settings.key_file is None and settings.vault_url is None:
        raise SettingsError(
            "A user id needs the key.", "Set SOTTOVOCE_KEY_FILE, or name the pseudonym."
        )
    return pseudonym_of(settings, user, PRODUCT)


async def _history(
    reader: AIOKafkaConsumer, registry: Registry
) -> AsyncIterator[tuple[str, Profile | None]]:
    ends = await end_offsets(reader, PROFILES.name)
    tps = [TopicPartition(PROFILES.name, number) for number in ends]
    reader.assign(tps)
    await reader.seek_to_beginning(*tps)
    starts = await reader.beginning_offsets(tps)
    left = {tp for tp in tps if starts[tp] < ends[tp.partition]}
    while left:
        for tp, records in (await reader.getmany(timeout_ms=500)).items():
            for record in records:
                yield await _decoded(record, registry)
            if await reader.position(tp) >= ends[tp.partition]:
                left.discard(tp)


async def _following(
    reader: AIOKafkaConsumer, registry: Registry
) -> AsyncIterator[tuple[str, Profile | None]]:
    while True:
        for records in (await reader.getmany(timeout_ms=500)).values():
            for record in records:
                yield await _decoded(record, registry)
        await asyncio.sleep(0)


async def _decoded(record: Any, registry: Registry) -> tuple[str, Profile | None]:
    key = record.key.decode()
    if record.value is None:
        return key, None
    for schema_id, group in wire.split([record.value]).groups.items():
        return key, decode_record(await registry.get(schema_id), group.bodies[0])
    raise StateError(
        f"A record of {PROFILES.name} is in no known format.",
        "Only the taste role may write there; correct the topic's access rules.",
    )
