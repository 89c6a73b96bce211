"""The report's charts: SVG that stands in the page itself and takes its colours from it.

Colours are the page's CSS variables and shades are opacities, so one drawing serves light, dark and
paper. Nothing in a drawing refers to anything, not even by an id. Text is drawn by the reader's
browser in the page's font; widths are estimated, and names cut short, with that in mind.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import altair as alt
from markupsafe import Markup

from streams.warehouse.report import Cohort, Day, Hour, Marts, Ranking, Segment, long_date, number

ACCENT, INK = "var(--accent)", "currentColor"
FAINT = 0.14
"""Opacity of lines behind the data."""
NAME_WIDTH = 27
"""Longest name beside a bar, in narrow letters; a wide one, such as a Chinese sign, is two."""

_HALF, _WIDE, _NARROW = 400, 820, 340
"""Widths of drawings, px: half the page and all of it on a desk, all of it on a phone."""
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")

Value = str | int | float | None
Rows = list[dict[str, Value]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart for the page: what it shows in words, and one SVG or one for each width."""

    label: str
    svgs: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """A day, week or month of activity; ``listeners`` is the mean of its days."""

    start: date
    end: date
    listens: int
    listeners: float
    skip_rate: float


def draw(marts: Marts) -> dict[str, Drawing]:
    """Every chart that the release has rows for, by name."""
    charts: dict[str, Callable[[], Drawing]] = {}
    if marts.days:
        charts["activity"] = lambda: activity(marts.days)
    for name in ("artists", "genres", "countries"):
        found: Ranking = getattr(marts, name)
        if found.rows:
            charts[name] = lambda name=name, found=found: ranking(name, found)
    if marts.hours:
        charts["hours"] = lambda: hours(marts.hours)
    if marts.segments:
        charts["segments"] = lambda: segments(marts.segments)
    if marts.cohorts:
        charts["retention"] = lambda: retention(marts.cohorts)
    return {name: chart() for name, chart in charts.items()}
