"""A release as the report shows it: rows of its marts, and how figures are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

import duckdb

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


def number(value: float | None) -> str:
    """A count with thousands separators; a hyphen where there is none."""
    return "-" if value is None else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share of 1 as a whole percentage."""
    return f"{100 * share:.0f}%"


def long_date(day: date) -> str:
    """A date that no reader takes for another one."""
    return f"{day.day} {day:%b %Y}"


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
