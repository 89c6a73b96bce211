"""The report's charts: SVG that stands in the page itself and takes its colours from it.

Colours are the page's CSS variables and shades are opacities, so one drawing serves light, dark and
paper. Nothing in a drawing refers to anything, not even by an id. Text is set by the reader's
browser in the page's font: widths are estimates, and names are cut short with that in mind.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import altair as alt

from streams.warehouse.published import (
    WEEKDAYS,
    Activity,
    Cohort,
    Marts,
    Ranked,
    Ranking,
    Segment,
    long_date,
    number,
    percent,
)

TOP = {"artists": 30, "genres": 9, "countries": 7, "devices": 5}
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

_Side = Literal["top", "bottom", "left"]
_Rows = list[dict[str, str | int | float | None]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart for the page: what it shows, in words, and its SVG, or one for each width."""

    label: str
    svgs: tuple[str, ...]


def draw(marts: Marts) -> dict[str, Drawing]:
    """Every chart that the release has rows for, by name."""
    charts: dict[str, Drawing] = {}
    if marts.activity:
        charts["activity"] = activity(marts.activity)
    for name, most in TOP.items():
        found: Ranking = getattr(marts, name)
        if found.rows:
            charts[name] = ranking(name, found.rows[:most])
    if marts.hours:
        charts["hours"] = hours(marts.hours)
    if marts.segments:
        charts["segments"] = segments(marts.segments)
    if marts.cohorts:
        charts["retention"] = retention(marts.cohorts)
    return charts


def activity(shown: Activity) -> Drawing:
    """Listens, listeners (where there is more than one) and skip rate over time."""
    most = max(shown.periods, key=lambda period: period.listens)
    label = (
        f"Bar charts by {shown.unit}, {long_date(shown.first)} to {long_date(shown.last)}. Most "
        f"listens from {long_date(most.start)}: {number(most.listens)}."
    )
    return Drawing(label, (_activity(shown, _WIDE, 8), _activity(shown, _NARROW, 4)))


def ranking(name: str, rows: Sequence[Ranked]) -> Drawing:
    """Bars of listens by name, the first on top."""
    first = f"{cut(rows[0].name)}, {number(rows[0].listens)}"
    label = f"Bar chart of listens, {len(rows)} {name}. First: {first}."
    return Drawing(label, (_bars([(row.name, row.listens) for row in rows]),))


def segments(rows: Sequence[Segment]) -> Drawing:
    """Bars of listeners by segment."""
    bars = [(f"{row.intensity}, {row.breadth}", row.listeners) for row in rows]
    label = "; ".join(f"{name}: {number(count)}" for name, count in bars)
    return Drawing(f"Bar chart of listeners by segment. {label}.", (_bars(bars),))


def hours(listens: Mapping[tuple[int, int], int]) -> Drawing:
    """A heat map: weekdays by hours, hours by weekdays where it is narrow."""
    weekday, hour = max(listens, key=lambda cell: listens[cell])
    label = (
        "Heat map of listens by weekday and hour, UTC. Busiest: "
        f"{WEEKDAYS[weekday - 1]} {hour:02}:00, {number(listens[weekday, hour])} listens."
    )
    rows: _Rows = [
        {"weekday": name, "hour": f"{hour:02}", "listens": listens.get((weekday, hour))}
        for weekday, name in enumerate(WEEKDAYS, 1)
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
    label = (
        f"Table of shades: {len(cohorts)} cohorts, up to {weeks} weeks later. The figures follow."
    )
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


def _activity(shown: Activity, width: int, labels: int) -> str:
    rows: _Rows = [
        {
            "start": _milliseconds(period.start),
            "end": _milliseconds(period.start) + (period.end - period.start).days * _BAR_MS,
            "listens": period.listens,
            "listeners": period.listeners,
            "skip_rate": period.skip_rate,
        }
        for period in shown.periods
    ]
    panels = [("listens", f"Listens a {shown.unit}", "~s", 120)]
    if shown.most_listeners > 1:
        panels.append(("listeners", "Listeners a day", "~s", 80))
    panels.append(("skip_rate", "Skip rate", "~%", 60))
    x = alt.X(
        "start:T",
        scale=alt.Scale(
            type="utc",
            domain=(_milliseconds(shown.periods[0].start), _milliseconds(shown.periods[-1].end)),
        ),
        axis=alt.Axis(
            title=None,
            values=[_milliseconds(start) for start in _ticks(shown, labels)],
            format={"day": "%-d %b", "week": "%b %Y", "month": "%Y"}[shown.unit],
            labelFlush=True,
            grid=False,
            tickSize=4,
        ),
    )
    return _svg(
        alt.vconcat(
            *(
                alt.Chart(alt.InlineData(values=rows))
                .mark_bar(color=_ACCENT)
                .encode(x=x, x2="end:T", y=_upright(field, written), y2=alt.datum(0))
                .properties(width=width - 40, height=height, title=title)
                for field, title, written, height in panels
            ),
            spacing=16,
        )
    )


def _upright(field: str, written: str) -> alt.Y:
    label = f"datum.value ? format(datum.value, '{written}') : '0'"
    axis = alt.Axis(title=None, tickCount=3, labelExpr=label, ticks=False, minExtent=34)
    return alt.Y(f"{field}:Q", axis=axis)


def _ticks(shown: Activity, most: int) -> list[date]:
    """Where to write the date: Mondays, first weeks of a month, Januaries; not too many of them."""
    first = shown.periods[0].start
    span = (shown.periods[-1].start - first).days
    days = [first + timedelta(days=passed) for passed in range(span + 1)]
    if shown.unit == "month":
        wanted = [day for day in days if (day.month, day.day) == (1, 1)]
    else:
        wanted = [day for day in days if day.weekday() == 0]
    if shown.unit == "week":
        wanted = [day for day in wanted if day.day <= 7]
    return (wanted or [first])[:: -(-len(wanted or [first]) // most)]


def _bars(bars: Sequence[tuple[str, int]]) -> str:
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
    base = alt.Chart(alt.InlineData(values=rows)).encode(y=rank)
    names = base.mark_text(align="left", limit=152).encode(x=alt.value(0), text="name:N")
    lengths = base.mark_bar(color=_ACCENT, cornerRadius=2).encode(x=value, x2=alt.datum(0))
    counts = base.mark_text(align="left", dx=5, opacity=0.75).encode(x=value, text="text:N")
    return _svg(alt.layer(names, lengths, counts).properties(width=_HALF, height=alt.Step(21)))


def _heat(rows: _Rows, x: str, y: str, width: int, step: int) -> str:
    """Cells as dark as they are busy; a dashed outline where nothing is told."""
    hours = [f"{hour:02}" for hour in range(24)]
    scales = {"hour": _cells(hours), "weekday": _cells(WEEKDAYS)}
    labels = {"hour": "+datum.value % 3 ? '' : datum.value", "weekday": "datum.value"}
    side: _Side = "bottom" if x == "hour" else "top"
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(f"{x}:O", scale=scales[x], axis=_bare(orient=side, label=labels[x])),
        y=alt.Y(f"{y}:O", scale=scales[y], axis=_bare(label=labels[y])),
    )
    shade = alt.Scale(domainMin=0, zero=True, range=(0.06, 1))
    told = (
        base.transform_filter("datum.listens !== null")
        .mark_rect(color=_ACCENT, cornerRadius=2)
        .encode(opacity=alt.Opacity("listens:Q", legend=None, scale=shade))
    )
    held = base.transform_filter("datum.listens === null").mark_rect(
        fillOpacity=0, stroke=_INK, strokeOpacity=0.3, strokeDash=[2, 2], cornerRadius=2
    )
    return _svg(alt.layer(held, told).properties(width=width - 40, height=alt.Step(step)))


def _triangle(rows: _Rows, weeks: int, cohorts: int) -> str:
    columns = _cells(range(1, max(weeks, 6) + 1))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("week:O", scale=columns, axis=_bare(orient="top", title="weeks later")),
        y=alt.Y("cohort:O", sort=None, axis=_bare(limit=130)),
    )
    # Shades stop at the middle so that the figure on top stays legible in ink, light or dark.
    shade = alt.Opacity("share:Q", legend=None, scale=alt.Scale(domain=(0, 1), range=(0.05, 0.5)))
    cells = base.mark_rect(color=_ACCENT, cornerRadius=2).encode(opacity=shade)
    figures = base.mark_text(fontSize=10).encode(text="text:N")
    return _svg(alt.layer(cells, figures).properties(width=_HALF - 125, height=26 * cohorts))


def _cells(domain: Sequence[str] | range) -> alt.Scale:
    return alt.Scale(domain=list(domain), paddingInner=0.08, paddingOuter=0)


def _bare(
    orient: _Side = "left",
    label: str = "datum.value",
    title: str | None = None,
    limit: int = 60,
) -> alt.Axis:
    """An axis of labels alone."""
    return alt.Axis(
        title=title,
        orient=orient,
        labelExpr=label,
        labelAngle=0,
        labelOverlap=False,
        labelPadding=6,
        labelLimit=limit,
        grid=False,
        ticks=False,
        domain=False,
    )


def _svg(chart: alt.LayerChart | alt.FacetChart | alt.VConcatChart) -> str:
    """The drawing as markup for the page. Vega has escaped every text in it."""
    styled = chart.properties(background="transparent", padding=2).configure(
        aria=False,
        font="sans-serif",
        view=alt.ViewConfig(stroke=None),
        text=alt.MarkConfig(color=_INK, fontSize=11),
        title=alt.TitleConfig(
            anchor="start",
            frame="group",
            offset=8,
            color=_INK,
            fontSize=11,
            fontWeight=600,
        ),
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
    return _ROOT.sub(r'<svg \1 aria-hidden="true" focusable="false">', drawn.getvalue(), count=1)


def _milliseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
