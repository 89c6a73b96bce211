"""The report's charts: SVG that stands in the page itself and takes its colours from it.

Colours are the page's CSS variables and shades are opacities, so one drawing serves light, dark and
paper. Nothing in a drawing refers to anything, not even by an id. Text is set by the reader's
browser in the page's font: widths are estimates, and names are cut short with that in mind.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

import altair as alt
from markupsafe import Markup

from streams.warehouse.report import (
    WEEKDAYS,
    Cohort,
    Day,
    Hour,
    Marts,
    Ranked,
    Segment,
    long_date,
    number,
    percent,
)

TOP = {"artists": 20, "genres": 12, "countries": 10}
"""Most bars of a ranking."""

NAME_WIDTH = 25
"""Longest name beside a bar, in narrow letters; a wide one, such as a Chinese sign, is two."""

_HALF, _WIDE, _NARROW = 400, 820, 340
"""Widths of drawings, px: half the page and all of it on a desk, all of it on a phone."""

_ACCENT, _INK = "var(--accent)", "currentColor"
_BAR_MS = 72_000_000  # what the bar takes of a day's width; the rest is the gap
_LINE = 0.14  # opacity of lines behind the data
_HIDDEN = re.compile("[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ROOT = re.compile(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>")

_Rows = list[dict[str, str | int | float | None]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart for the page: what it shows, in words, and its SVG, or one for each width."""

    label: str
    svgs: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """A day, week or month up to ``end``, which is not in it; ``listeners`` is the mean of its days."""

    start: date
    end: date
    listens: int
    listeners: float
    skip_rate: float


def draw(marts: Marts) -> dict[str, Drawing]:
    """Every chart that the release has rows for, by name."""
    charts: dict[str, Drawing] = {}
    if marts.days:
        charts["activity"] = activity(marts.days)
    rankings = {"artists": marts.artists, "genres": marts.genres, "countries": marts.countries}
    for name, found in rankings.items():
        if found.rows:
            charts[name] = ranking(name, found.rows[: TOP[name]])
    if marts.hours:
        charts["hours"] = hours(marts.hours)
    if marts.segments:
        charts["segments"] = segments(marts.segments)
    if marts.cohorts:
        charts["retention"] = retention(marts.cohorts)
    return charts


def unit_of(days: Sequence[Day]) -> str:
    """``day``, ``week`` or ``month``: the shortest that leaves each bar wide enough to see."""
    span = (days[-1].day - days[0].day).days
    return "day" if span <= 100 else "week" if span <= 800 else "month"


def periods(days: Sequence[Day]) -> list[Period]:
    """Days, oldest first, put together to periods of `unit_of`. Periods without a day are left out."""
    unit = unit_of(days)
    together = groupby(days, lambda day: _start(day.day, unit))
    return [_period(start, unit, list(members)) for start, members in together]


def activity(days: Sequence[Day]) -> Drawing:
    """Listens, listeners (where there is more than one) and skip rate over time."""
    shown, unit = periods(days), unit_of(days)
    busiest = max(days, key=lambda day: day.listens)
    label = (
        f"Charts by {unit}, {long_date(days[0].day)} to {long_date(days[-1].day)}. Most listens "
        f"on {long_date(busiest.day)}: {number(busiest.listens)}."
    )
    return Drawing(
        label, (_activity(shown, unit, _WIDE, 8), _activity(shown, unit, _NARROW, 4))
    )


def ranking(name: str, rows: Sequence[Ranked]) -> Drawing:
    """Bars of listens by name, the first on top."""
    label = f"Bar chart of listens, {len(rows)} {name}. First: {cut(rows[0].name)}, {number(rows[0].listens)}."
    return Drawing(label, (_bars([(row.name, row.listens) for row in rows]),))


def segments(rows: Sequence[Segment]) -> Drawing:
    """Bars of listeners by segment."""
    bars = [(f"{row.intensity}, {row.breadth}", row.listeners) for row in rows]
    label = "; ".join(f"{name}: {number(count)}" for name, count in bars)
    return Drawing(f"Bar chart of listeners by segment. {label}.", (_bars(bars),))


def hours(cells: Sequence[Hour]) -> Drawing:
    """A heat map of listens: weekdays by hours, hours by weekdays where it is narrow."""
    most = max(cells, key=lambda cell: cell.listens)
    label = (
        "Heat map of listens by weekday and hour, UTC. Busiest: "
        f"{WEEKDAYS[most.weekday - 1]} {most.hour:02}:00, {number(most.listens)} listens."
    )
    found = {(cell.weekday, cell.hour): cell.listens for cell in cells}
    rows: _Rows = [
        {"weekday": weekday, "hour": f"{hour:02}", "listens": found.get((number_, hour))}
        for number_, weekday in enumerate(WEEKDAYS, 1)
        for hour in range(24)
    ]
    return Drawing(
        label,
        (
            _heat(rows, x="hour", y="weekday", width=_WIDE, step=27),
            _heat(rows, x="weekday", y="hour", width=_NARROW, step=17),
        ),
    )


def retention(cohorts: Sequence[Cohort]) -> Drawing:
    """A triangle of shares: a row a cohort, a column a week after its first."""
    weeks = max(max(cohort.shares) for cohort in cohorts)
    rows: _Rows = [
        {
            "cohort": f"{long_date(cohort.start)} · {number(cohort.listeners)}",
            "week": week,
            "share": share,
            "text": percent(share),
        }
        for cohort in cohorts
        for week, share in cohort.shares.items()
    ]
    label = f"Table of shades: {len(cohorts)} cohorts, up to {weeks} weeks later. The figures follow."
    return Drawing(label, (_triangle(rows, weeks, len(cohorts)),))


def printable(name: str) -> str:
    """``name`` on one line, without signs that would turn or hide the text around it."""
    return " ".join(_HIDDEN.sub(" ", name).split())


def cut(name: str, width: int = NAME_WIDTH) -> str:
    """``name``, `printable`, with an ellipsis in place of what exceeds ``width``."""
    name, used = printable(name), 0
    for index, letter in enumerate(name):
        used += _width(letter)
        if used > width:
            return name[: max(index - 1, 0)].rstrip() + "…"
    return name


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _start(day: date, unit: str) -> date:
    if unit == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if unit == "week" else day


def _period(start: date, unit: str, days: list[Day]) -> Period:
    plays = sum(day.plays for day in days)
    length = {"day": 1, "week": 7, "month": 31}[unit]
    return Period(
        start,
        _start(start + timedelta(days=length), unit),
        sum(day.listens for day in days),
        sum(day.listeners for day in days) / len(days),
        sum(day.skip_rate * day.plays for day in days) / plays if plays else 0.0,
    )


def _activity(shown: Sequence[Period], unit: str, width: int, labels: int) -> Markup:
    rows: _Rows = [
        {
            "start": _milliseconds(period.start),
            "end": _milliseconds(period.start) + (period.end - period.start).days * _BAR_MS,
            "listens": period.listens,
            "listeners": period.listeners,
            "skip_rate": period.skip_rate,
        }
        for period in shown
    ]
    panels = [("listens", f"Listens a {unit}", "~s", 120)]
    if any(period.listeners > 1 for period in shown):
        panels.append(("listeners", "Listeners a day", "~s", 80))
    panels.append(("skip_rate", "Skip rate", "~%", 60))
    axis = alt.Axis(
        title=None,
        values=[_milliseconds(start) for start in _ticks(shown, unit, labels)],
        format={"day": "%-d %b", "week": "%b %Y", "month": "%Y"}[unit],
        labelFlush=True,
        labelOverlap=True,
        grid=False,
        tickSize=4,
    )
    span = (_milliseconds(shown[0].start), _milliseconds(shown[-1].end))
    charts = [
        alt.Chart(alt.Data(values=rows))
        .mark_bar(color=_ACCENT)
        .encode(
            x=alt.X("start:T", scale=alt.Scale(type="utc", domain=span), axis=axis),
            x2="end:T",
            y=alt.Y(
                f"{field}:Q",
                scale=alt.Scale(zero=True),
                axis=alt.Axis(title=None, tickCount=3, format=number_format, ticks=False, minExtent=34),
            ),
        )
        .properties(
            width=width - 40,
            height=height,
            title=alt.Title(title, anchor="start", frame="group", offset=8),
        )
        for field, title, number_format, height in panels
    ]
    return _svg(alt.vconcat(*charts, spacing=16))


def _ticks(shown: Sequence[Period], unit: str, most: int) -> list[date]:
    """Where to write the date: Mondays, first weeks of a month, Januaries; not too many of them."""
    first, last = shown[0].start, shown[-1].start
    days = (first + timedelta(days=number_) for number_ in range((last - first).days + 1))
    wanted = {
        "day": lambda day: day.weekday() == 0,
        "week": lambda day: day.weekday() == 0 and day.day <= 7,
        "month": lambda day: (day.month, day.day) == (1, 1),
    }[unit]
    found = [day for day in days if wanted(day)] or [first]
    return found[:: -(-len(found) // most)]


def _bars(bars: Sequence[tuple[str, int]]) -> Markup:
    """Name, bar and count in a row; names may repeat, so that rows are told apart by their rank."""
    rows: _Rows = [
        {"rank": rank, "name": cut(name), "value": value, "text": number(value)}
        for rank, (name, value) in enumerate(bars)
    ]
    rank = alt.Y("rank:O", axis=None, scale=alt.Scale(paddingInner=0.35))
    most = max(value for _, value in bars)
    value = alt.X(
        "value:Q", axis=None, scale=alt.Scale(domain=(0, max(most, 1)), range=(160, _HALF - 48))
    )
    base = alt.Chart(alt.Data(values=rows)).encode(y=rank)
    names = base.mark_text(align="left", limit=152).encode(x=alt.value(0), text="name:N")
    lengths = base.mark_bar(color=_ACCENT, cornerRadiusEnd=2).encode(x=value)
    counts = base.mark_text(align="left", dx=5, opacity=0.75).encode(x=value, text="text:N")
    return _svg(alt.layer(names, lengths, counts).properties(width=_HALF, height=alt.Step(21)))


def _heat(rows: _Rows, x: str, y: str, width: int, step: int) -> Markup:
    """Cells as dark as they are busy; a dashed outline where nothing is told."""
    axes = {
        "hour": alt.Axis(title=None, values=[f"{hour:02}" for hour in range(0, 24, 3)], labelAngle=0),
        "weekday": alt.Axis(title=None, labelAngle=0),
    }
    orient = {"hour": "bottom", "weekday": "top"}[x]
    scale = alt.Scale(paddingInner=0.08, paddingOuter=0)
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(f"{x}:O", sort=None, scale=scale, axis=_bare(axes[x], orient)),
        y=alt.Y(f"{y}:O", sort=None, scale=scale, axis=_bare(axes[y], "left")),
    )
    told = base.transform_filter("datum.listens !== null").mark_rect(color=_ACCENT, cornerRadius=2)
    shade = alt.Opacity(
        "listens:Q", legend=None, scale=alt.Scale(domainMin=0, range=(0.06, 1), zero=True)
    )
    held = base.transform_filter("datum.listens === null").mark_rect(
        fillOpacity=0, stroke=_INK, strokeOpacity=0.3, strokeDash=[2, 2], cornerRadius=2
    )
    layers = alt.layer(held, told.encode(opacity=shade))
    return _svg(layers.properties(width=width - 40, height=alt.Step(step)))


def _triangle(rows: _Rows, weeks: int, cohorts: int) -> Markup:
    scale = alt.Scale(paddingInner=0.06, paddingOuter=0, domain=list(range(1, weeks + 1)))
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("week:O", scale=scale, axis=_bare(alt.Axis(title="weeks later", labelAngle=0), "top")),
        y=alt.Y(
            "cohort:O",
            sort=None,
            scale=alt.Scale(paddingInner=0.08, paddingOuter=0),
            axis=_bare(alt.Axis(title=None, labelLimit=130), "left"),
        ),
    )
    # Shades stop at the middle so that the figure on top stays legible in ink, light or dark.
    shade = alt.Opacity("share:Q", legend=None, scale=alt.Scale(domain=(0, 1), range=(0.05, 0.5)))
    cells = base.mark_rect(color=_ACCENT, cornerRadius=2).encode(opacity=shade)
    figures = base.mark_text(fontSize=10).encode(text="text:N")
    wide = min(54.0, (_HALF - 125) / weeks) * weeks
    return _svg(alt.layer(cells, figures).properties(width=wide, height=26 * cohorts))


def _bare(axis: alt.Axis, orient: str) -> alt.Axis:
    bare: alt.Axis = axis.copy()
    bare.orient, bare.grid, bare.ticks, bare.domain, bare.labelPadding = orient, False, False, False, 6
    return bare


def _svg(chart: alt.LayerChart | alt.VConcatChart) -> Markup:
    """The drawing as markup for the page. Vega has escaped every text in it."""
    styled = chart.properties(background="transparent", padding=2).configure(
        aria=False,
        font="sans-serif",
        view=alt.ViewConfig(stroke=None),
        text=alt.MarkConfig(color=_INK, fontSize=11),
        title=alt.TitleConfig(color=_INK, fontSize=11, fontWeight=600),
        axis=alt.AxisConfig(
            labelColor=_INK,
            labelOpacity=0.75,
            labelFontSize=10.5,
            titleColor=_INK,
            titleOpacity=0.75,
            titleFontSize=10.5,
            titleFontWeight="normal",
            gridColor=_INK,
            gridOpacity=_LINE,
            domainColor=_INK,
            domainOpacity=2 * _LINE,
            tickColor=_INK,
            tickOpacity=2 * _LINE,
        ),
        axisY=alt.AxisConfig(domain=False),
    )
    drawn = io.StringIO()
    styled.save(drawn, format="svg")
    # The wrapper in the page speaks for the drawing, whose size is the page's business, too.
    return Markup(_ROOT.sub(r'<svg \1 aria-hidden="true" focusable="false">', drawn.getvalue(), count=1))


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
