"""The HTML report of a release: one file that needs nothing else, for a reader without tools.

It reads the released file only and shows its rows as they are. The few totals it works out are sums
of rows that it shows, or figures that the release rounded itself, so that it tells nothing that the
marts do not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from streams.errors import WarehouseError

TABLE_ROWS = 50
"""Most rows of the table of a ranking; the released file has the rest."""

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
class Period:
    """Days of ``daily_activity``, from ``start`` to before ``end``; ``listeners`` is their mean."""

    start: date
    end: date
    listeners: float
    plays: int
    listens: int
    minutes: float
    skip_rate: float


@dataclass(frozen=True, slots=True)
class Activity:
    """``daily_activity`` by ``unit``: day, week or month. Periods without a row are left out."""

    first: date
    last: date
    days: int
    most_listeners: int
    unit: str
    periods: list[Period]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row of ``artists``, ``genres``, ``countries`` or ``devices``."""

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
class Cohort:
    """``retention`` of those who began in the week of ``start``; shares by weeks later, from 1."""

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
    """What the report shows; ``hours`` are listens by weekday, 1 is Monday, and hour."""

    release: Release
    activity: Activity | None
    artists: Ranking
    genres: Ranking
    countries: Ranking
    devices: Ranking
    hours: dict[tuple[int, int], int]
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
    # Loading altair takes longer than most commands; some that need none import this module.
    from streams.warehouse import charts

    marts = read(released)
    page = _template().render(
        marts=marts,
        minimum=marts.release.min_listeners,
        one_person=_one_person(marts),
        headline=headline(marts),
        charts=charts.draw(marts),
        weekdays=WEEKDAYS,
        weeks=range(1, max((max(cohort.shares) for cohort in marts.cohorts), default=0) + 1),
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
    shown = marts.activity
    periods = shown.periods if shown else []
    plays = sum(period.plays for period in periods)
    minutes = sum(period.minutes for period in periods)
    skips = sum(period.skip_rate * period.plays for period in periods)
    listeners = Figure("Listeners", number(rounded.get("listeners")), "to the nearest ten")
    listens = Figure("Listens", number(rounded.get("listens")), "to the nearest hundred")
    covered = rounded.get("days covered")
    days = f"of {number(covered)} covered" if covered else "of those covered"
    # What is too small to survive the rounding is told of the days shown only.
    if shown and not rounded.get("listeners"):
        listeners = Figure("Listeners", number(shown.most_listeners), "on the busiest day")
    if shown and not rounded.get("listens"):
        counted = sum(period.listens for period in periods)
        listens = Figure("Listens", number(counted), "on the days shown")
    return [
        listeners,
        listens,
        Figure("Hours heard", number(minutes / 60 if minutes else None), "on the days shown"),
        Figure("Skip rate", percent(skips / plays) if plays else number(None), "of plays"),
        Figure("Days shown", number(shown.days if shown else 0), days),
    ]


def number(value: float | None) -> str:
    """A count with thousands separators; a hyphen where there is none."""
    return "-" if value is None else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share of 1 as a whole percentage."""
    return f"{100 * share:.0f}%"


def long_date(day: date) -> str:
    """A date that no reader takes for another one."""
    return f"{day.day} {day:%b %Y}"


def _moment(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{long_date(moment.date())}, {moment:%H:%M} UTC"


def _measured(measure: Measure) -> str:
    if measure.unit.startswith("percent"):
        return f"{measure.value:.0f}%"
    if measure.value == 0 and "nearest" in measure.unit:
        return "under 5" if measure.unit.endswith("ten") else "under 50"
    return number(measure.value)


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

    hours = connection.execute("SELECT weekday, hour, listens FROM hour_of_week").fetchall()
    return Marts(
        # As milliseconds: fetching a TIMESTAMPTZ takes a package that nothing else here needs.
        release=rows(
            Release,
            "id, epoch_ms(published_at), min_listeners, version, listens_read",
            "release",
            "id",
        )[0],
        activity=_activity(connection),
        artists=ranking("artists", "artist"),
        genres=ranking("genres", "genre"),
        countries=ranking("countries", "country"),
        devices=ranking("devices", "device_class"),
        hours={(weekday, hour): listens for weekday, hour, listens in hours},
        segments=rows(
            Segment,
            "intensity, breadth, listeners, plays, listens, minutes, skip_rate, active_days",
            "listener_segments",
            "list_position(['light', 'regular', 'heavy'], intensity), breadth",
        ),
        cohorts=_cohorts(connection),
        quality=rows(Measure, "measure, value, unit", "data_quality", "rowid"),
    )


def _activity(connection: duckdb.DuckDBPyConnection) -> Activity | None:
    """The days, put together so that each bar of a chart stays wide enough to see."""
    span = connection.execute(
        "SELECT min(day), max(day), count(*), max(listeners) FROM daily_activity"
    ).fetchone()
    if span is None or not span[2]:
        return None
    first, last, days, most_listeners = span
    unit = (
        "day" if (last - first).days <= 100 else "week" if (last - first).days <= 800 else "month"
    )
    periods = connection.execute(
        f"""
        SELECT date_trunc('{unit}', day)::DATE AS start, (start + INTERVAL 1 {unit})::DATE,
            avg(listeners), sum(plays), sum(listens), sum(minutes),
            sum(skip_rate * plays) / sum(plays)
        FROM daily_activity GROUP BY start ORDER BY start
        """
    )
    return Activity(
        first, last, days, most_listeners, unit, [Period(*row) for row in periods.fetchall()]
    )


def _cohorts(connection: duckdb.DuckDBPyConnection) -> list[Cohort]:
    """The newest cohorts of which somebody is known to have come back, oldest first."""
    cohorts: dict[date, Cohort] = {}
    for start, weeks_later, listeners, share in connection.execute(
        "SELECT cohort, weeks_later, cohort_listeners, share FROM retention"
        " WHERE weeks_later BETWEEN 1 AND $1 ORDER BY cohort, weeks_later",
        [WEEKS_LATER],
    ).fetchall():
        cohorts.setdefault(start, Cohort(start, listeners, {})).shares[weeks_later] = share
    return list(cohorts.values())[-COHORTS:]


def _template() -> Template:
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
        "time": _moment,
        "measured": _measured,
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
