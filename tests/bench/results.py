"""A measurement, and all of them as a table and a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

OUT = Path("var/bench/results.json")


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement."""

    name: str
    role: str
    events: int
    events_per_s: float
    cpu_s_per_million: float
    peak_rss_mb: float
    guarantee: str = ""
    """What survives a crash as it ran here."""

    @classmethod
    def of(
        cls,
        name: str,
        role: str,
        events: int,
        seconds: float,
        cpu_s: float,
        peak_mb: float,
        guarantee: str = "",
    ) -> Result:
        """Rates of ``events`` in so much time."""
        return cls(
            name,
            role,
            events,
            round(events / seconds),
            round(cpu_s / events * 1e6, 2),
            round(peak_mb),
            guarantee,
        )


def write(results: Iterable[Result], out: Path = OUT) -> None:
    """Keep them as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([asdict(each) for each in results], indent=2) + "\n")


def read(file: Path = OUT) -> list[Result]:
    """What `write` kept."""
    return [Result(**each) for each in json.loads(file.read_text())]


def table(results: Iterable[Result]) -> Table:
    """For a terminal."""
    columns = ("name", "role", "events", "events/s", "CPU s per million", "peak RSS MB")
    shown = Table(*columns, "guarantee", box=None)
    shown.columns[0].no_wrap = True
    for column in shown.columns[2:6]:
        column.justify = "right"
    for each in results:
        shown.add_row(
            each.name,
            each.role,
            f"{each.events:,}",
            f"{each.events_per_s:,.0f}",
            f"{each.cpu_s_per_million:,.1f}",
            f"{each.peak_rss_mb:,.0f}",
            each.guarantee,
        )
    return shown
