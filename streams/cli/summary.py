"""What the demo prints at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from streams.app.roles import open_codecs
from streams.cli import console
from streams.cli.arrival import Page
from streams.cli.produce import Sent, account
from streams.cli.profiles import card, newest_profiles
from streams.settings import Settings
from streams.sources.detect import History
from streams.topics import ANALYTICS_LISTENS, LISTENS
from streams.transport.reader import partition_reader
from streams.warehouse.release import Manifest


@dataclass(slots=True)
class Outcome:
    """What a demo came to. ``pages`` are the workers' metrics by role."""

    sent: Sent
    pages: dict[str, Page]
    manifest: Manifest
    seconds: float
    profile: dict[str, Any] | None = None
    history: History | None = None


async def sample_profile(settings: Settings) -> dict[str, Any] | None:
    """The newest profile of the listener in the middle, by number of listens."""
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        profiles = await newest_profiles(reader, codecs.registry)
    ordered = sorted(profiles.values(), key=lambda each: (each["listens"], each["listener"]))
    return ordered[len(ordered) // 2] if ordered else None


def show(data: Path, outcome: Outcome, seconds: float) -> None:
    """Print it."""
    if outcome.profile is not None:
        console.out.print(card(outcome.profile))
    console.out.print()
    console.out.print(_counts(outcome))
    console.out.print()
    console.out.print(_treatments(outcome))
    console.out.print()
    console.out.print(_marts(outcome))
    console.out.print()
    rate = outcome.sent.plays / outcome.seconds if outcome.seconds else 0.0
    console.out.print(
        f"{rate:,.0f} plays/s from the first play sent to the last one in profiles and warehouse "
        f"({outcome.seconds:.1f} s); {seconds:.1f} s in all"
    )
    for name, meaning in (
        ("report.html", "the report, for a browser"),
        ("reporting.duckdb", "the marts, for DuckDB"),
        ("parquet", "the marts, for anything else"),
        ("logs", "what the workers said"),
    ):
        console.out.print(f"  {data / name}  [dim]{meaning}[/]")


def _counts(outcome: Outcome) -> Table:
    gate, taste = outcome.pages["gate"], outcome.pages["taste"]
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{gate.total('sottovoce_plays_read_total'):,}", "plays")
    written = gate.by("sottovoce_listens_written_total", "topic")
    for topic, purpose in ((LISTENS, "for profiles"), (ANALYTICS_LISTENS, "for reporting")):
        table.add_row(f"{written.get((topic.name,), 0):,}", f"listens {purpose}")
    for (reason,), count in sorted(gate.by("sottovoce_plays_rejected_total", "reason").items()):
        table.add_row(f"{count:,}", f"rejected: {reason}")
    for (rule,), count in sorted(gate.by("sottovoce_plays_filtered_total", "rule").items()):
        table.add_row(f"{count:,}", f"left at the gate: {rule}")
    table.add_row(f"{taste.total('sottovoce_duplicates_total'):,}", "duplicates")
    table.add_row(f"{taste.total('sottovoce_listeners'):,}", "profiles")
    if outcome.history is not None:
        for line in account(outcome.history):
            table.add_row("", console.plain(line))
    return table


def _treatments(outcome: Outcome) -> Table:
    table = Table("audience", "treatment", "values", "tags", box=None, padding=(0, 2))
    table.columns[2].justify = "right"
    treated = outcome.pages["gate"].by(
        "sottovoce_fields_treated_total", "audience", "treatment", "tag"
    )
    for audience, treatment in sorted({labels[:2] for labels in treated}):
        tags = {
            tag: count
            for (of, by, tag), count in sorted(treated.items())
            if (of, by) == (audience, treatment)
        }
        table.add_row(audience, treatment, f"{sum(tags.values()):,}", ", ".join(tags))
    return table


def _marts(outcome: Outcome) -> Table:
    table = Table("rows", "mart", box=None, padding=(0, 2), header_style="dim")
    table.columns[0].justify = "right"
    for mart, rows in outcome.manifest.rows.items():
        table.add_row(f"{rows:,}", mart)
    return table
