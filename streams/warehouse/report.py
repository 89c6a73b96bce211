"""The HTML report of a release: one file that needs nothing else, for a reader without tools.

It reads the released file only and shows its rows as they are. The few totals it works out are sums
of rows that it shows, or figures that the release rounded itself, so that it tells nothing that the
marts do not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from streams.errors import WarehouseError

TABLE_ROWS = 50
"""Most rows of an artist, genre or country table; the released file has the rest."""

COHORTS, WEEKS_LATER = 12, 10
"""The newest cohorts, and the weeks after the first, that the retention table has room for."""

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Release:
    """The release itself; ``published_ms`` since 1970-01-01 UTC."""

    id: str
    published_ms: int
    min_listeners: int
    version: str
    listens_read: int


@dataclass(frozen=True, slots=True)
class Day:
    """A row of ``daily_activity``."""

    day: date
    listeners: int
    plays: int
    listens: int
    minutes: float
    skip_rate: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row of ``artists``, ``genres`` or ``countries``."""

    name: str
    listeners: int
    plays: int
    listens: int
    minutes: float
    skip_rate: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rows with the most listens, and how many the mart has."""

    rows: list[Ranked]
    published: int


@dataclass(frozen=True, slots=True)
class Hour:
    """A row of ``hour_of_week``; ``weekday`` from 1, Monday."""

    weekday: int
    hour: int
    listens: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A row of ``listener_segments``."""

    intensity: str
    breadth: str
    listeners: int
    plays: int
    listens: int
    minutes: float
    skip_rate: float
    active_days: float


@dataclass(frozen=True, slots=True)
class Return:
    """A row of ``retention``."""

    cohort: date
    weeks_later: int
    cohort_listeners: int
    listeners: int
    share: float


@dataclass(frozen=True, slots=True)
class Cohort:
    """Listeners who began in the week of ``start``; ``shares`` of them by weeks later, from 1."""

    start: date
    listeners: int
    shares: dict[int, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of ``data_quality``."""

    measure: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Marts:
    """What the report shows of a release."""

    release: Release
    days: list[Day]
    artists: Ranking
    genres: Ranking
    countries: Ranking
    hours: list[Hour]
    segments: list[Segment]
    cohorts: list[Cohort]
    quality: list[Measure]


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline number."""

    label: str
    value: str
    note: str


def render(released: Path, out: Path) -> None:
    """Write the report of the release in ``released`` to ``out``, whole or not at all.

    The same release gives the same bytes. Takes seconds, most of them to load the chart library.

    Raises:
        WarehouseError: there is no release, it is not of this version, or ``out`` is not writable.
    """
    # Loading altair takes longer than most commands; this module is imported by some that need none.
    from streams.warehouse.charts import draw

    marts = read(released)
    page = _template().render(
        marts=marts,
        headline=headline(marts),
        charts=draw(marts),
        minimum=marts.release.min_listeners,
        one_person=_one_person(marts),
        weekdays=WEEKDAYS,
        heat={(cell.weekday, cell.hour): cell.listens for cell in marts.hours},
    )
    _write_whole(out, page)


def read(released: Path) -> Marts:
    """What the report shows of the release in ``released``, which is not written to.

    Raises:
        WarehouseError: there is no release, or it is not of this version.
    """
    if not released.exists():
        raise WarehouseError(f"There is no release at {released}.", "`sottovoce release` makes it.")
    try:
        with duckdb.connect(released, read_only=True) as connection:
            return _marts(connection)
    except duckdb.Error as error:
        raise WarehouseError(
            f"The release at {released} cannot be read ({type(error).__name__}).",
            "`sottovoce release` makes a new one.",
        ) from None


def headline(marts: Marts) -> list[Figure]:
    """The numbers on top: rounded totals of ``data_quality``, the rest over the days shown."""
    rounded = {measure.measure: measure.value for measure in marts.quality}
    days = marts.days
    plays = sum(day.plays for day in days)
    minutes = sum(day.minutes for day in days)
    skips = sum(day.skip_rate * day.plays for day in days)
    shown = "on the days shown"
    return [
        _total(
            Figure("Listeners", number(rounded.get("listeners")), "to the nearest ten"),
            Figure(
                "Listeners",
                number(max((day.listeners for day in days), default=None)),
                "on the busiest day",
            ),
        ),
        _total(
            Figure("Listens", number(rounded.get("listens")), "to the nearest hundred"),
            Figure("Listens", number(sum(day.listens for day in days) if days else None), shown),
        ),
        Figure("Hours heard", number(minutes / 60) if minutes else "–", shown),
        Figure("Skip rate", percent(skips / plays) if plays else "–", f"of plays {shown}"),
        Figure("Days shown", number(len(days)), _of_days(rounded.get("days covered"))),
    ]


def number(value: float | None) -> str:
    """A count with thousands separators; a dash where there is none."""
    return "–" if value is None else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share of 1 as a whole percentage."""
    return f"{100 * share:.0f}%"


def long_date(day: date) -> str:
    """A date that no reader takes for another one."""
    return f"{day.day} {day:%b %Y}"


def _total(rounded: Figure, shown: Figure) -> Figure:
    """``rounded``, unless it was too small to survive the rounding."""
    return shown if rounded.value in ("–", "0") else rounded


def _of_days(covered: float | None) -> str:
    return f"of {number(covered)} covered" if covered else "with enough listeners"


def _measured(measure: Measure) -> str:
    if measure.unit.startswith("percent"):
        return f"{measure.value:.0f}%"
    if measure.value == 0 and "nearest" in measure.unit:
        return "under 5" if measure.unit.endswith("ten") else "under 50"
    return number(measure.value)


def _unit(measure: Measure) -> str:
    return measure.unit.removeprefix("percent ")


def _one_person(marts: Marts) -> bool:
    """Whether it is a history of somebody's own: no minimum, and nobody beside them."""
    return marts.release.min_listeners == 1 and sum(s.listeners for s in marts.segments) == 1


def _marts(connection: duckdb.DuckDBPyConnection) -> Marts:
    def rows(of: type[_Row], columns: str, mart: str, order: str) -> list[_Row]:
        found = connection.execute(f"SELECT {columns} FROM {mart} ORDER BY {order}")
        return [of(*values) for values in found.fetchall()]

    def ranking(mart: str, name: str) -> Ranking:
        columns = f"{name}, listeners, plays, listens, minutes, skip_rate"
        ranked = rows(Ranked, columns, mart, f"listens DESC, {name}")
        return Ranking(ranked[:TABLE_ROWS], len(ranked))

    return Marts(
        # As milliseconds: fetching a TIMESTAMPTZ takes a package that nothing else here needs.
        release=rows(
            Release,
            "id, epoch_ms(published_at), min_listeners, version, listens_read",
            "release",
            "id",
        )[0],
        days=rows(
            Day, "day, listeners, plays, listens, minutes, skip_rate", "daily_activity", "day"
        ),
        artists=ranking("artists", "artist"),
        genres=ranking("genres", "genre"),
        countries=ranking("countries", "country"),
        hours=rows(Hour, "weekday, hour, listens", "hour_of_week", "weekday, hour"),
        segments=rows(
            Segment,
            "intensity, breadth, listeners, plays, listens, minutes, skip_rate, active_days",
            "listener_segments",
            "list_position(['light', 'regular', 'heavy'], intensity), breadth",
        ),
        cohorts=_cohorts(
            rows(
                Return,
                "cohort, weeks_later, cohort_listeners, listeners, share",
                "retention",
                "cohort, weeks_later",
            )
        ),
        quality=rows(Measure, "measure, value, unit", "data_quality", "rowid"),
    )


def _cohorts(returns: Sequence[Return]) -> list[Cohort]:
    """The newest cohorts of which somebody is known to have come back, oldest first."""
    cohorts: dict[date, Cohort] = {}
    for row in returns:
        if 1 <= row.weeks_later <= WEEKS_LATER:
            cohort = cohorts.setdefault(row.cohort, Cohort(row.cohort, row.cohort_listeners, {}))
            cohort.shares[row.weeks_later] = row.share
    return list(cohorts.values())[-COHORTS:]


def _template() -> Environment.template_class:  # type: ignore[name-defined]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "hours": lambda minutes: number(minutes / 60),
        "date": long_date,
        "time": lambda ms: f"{datetime.fromtimestamp(ms / 1000, UTC):%d %b %Y, %H:%M} UTC".lstrip("0"),
        "measured": _measured,
        "unit": _unit,
    }
    return environment.get_template("report.html.j2")


def _write_whole(out: Path, page: str) -> None:
    partial = out.with_name(f"{out.name}.writing")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(page, "utf-8")
        os.replace(partial, out)
    except OSError as error:
        raise WarehouseError(
            f"The report cannot be written to {out} ({type(error).__name__}).",
            "Choose another file with --out, or free disk space.",
        ) from None
    finally:
        partial.unlink(missing_ok=True)
