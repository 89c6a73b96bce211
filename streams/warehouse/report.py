"""The HTML report of a release: one file that needs nothing else, for a reader without tools.

It reads the released file only and shows its rows as they are. The few totals it works out are sums
of rows that it shows, or figures that the release rounded itself, so that it tells nothing that the
marts do not. Importing this module loads the chart library, which takes longer than most commands.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from streams.errors import WarehouseError
from streams.warehouse import charts
from streams.warehouse.published import (
    WEEKDAYS,
    Marts,
    Measure,
    long_date,
    number,
    percent,
    read,
)


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
