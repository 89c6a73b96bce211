"""Every fact and mart counted again from a plain list of listens: the oracle of these tests.

Slow and obvious on purpose. Ratios and minutes stay unrounded; `same` compares them with what a
mart shows to so many digits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

Listen = Mapping[str, Any]
Row = dict[str, Any]
Marts = dict[str, list[Row]]

UNKNOWN = "(unknown)"
DIGITS = {"minutes": 1, "skip_rate": 4, "completion": 4, "share": 4, "active_days": 1}


def day_of(listen: Listen) -> date:
    return datetime.fromtimestamp(listen["started_at"] / 1_000, UTC).date()


def hour_of(listen: Listen) -> int:
    return datetime.fromtimestamp(listen["started_at"] / 1_000, UTC).hour


def week_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def measures(listens: Iterable[Listen]) -> dict[str, int]:
    """The sums that every fact has."""
    chosen = list(listens)
    return {
        "plays": len(chosen),
        "listens": sum(each["counted"] for each in chosen),
        "skips": sum(each["skipped"] for each in chosen),
        "ms_played": sum(each["ms_played"] or 0 for each in chosen),
    }


def facts(listens: Sequence[Listen]) -> dict[str, dict[tuple[Hashable, ...], dict[str, int]]]:
    """Sums by fact table and key."""
    by_day = _grouped(
        listens, lambda x: (x["listener"], day_of(x), x["country"], x["device_class"])
    )
    by_artist = _grouped(
        listens,
        lambda x: (x["listener"], day_of(x), x["artist"], tuple(dict.fromkeys(x["genres"]))),
    )
    by_hour = _grouped(listens, lambda x: (x["listener"], day_of(x), hour_of(x)))
    return {
        "listener_day": {key: measures(of) | _extent(of) for key, of in by_day.items()},
        "listener_day_artist": {key: measures(of) for key, of in by_artist.items()},
        "listener_day_hour": {key: measures(of) for key, of in by_hour.items()},
    }


def _extent(listens: list[Listen]) -> dict[str, int]:
    return {
        "timed_plays": sum(each["ms_played"] is not None for each in listens),
        "completion_sum": sum(each["completion"] or 0 for each in listens),
        "completion_plays": sum(each["completion"] is not None for each in listens),
    }


def marts(listens: Sequence[Listen]) -> Marts:
    """Every mart about listening with nothing held back, rows in no particular order."""
    return {
        "daily_activity": _cells(listens, lambda x: [(day_of(x),)], ("day",), completion=True),
        "artists": _cells(listens, lambda x: [(x["artist"],)], ("artist",)),
        "genres": _cells(listens, lambda x: [(genre,) for genre in genres_of(x)], ("genre",)),
        "countries": _cells(listens, lambda x: [(x["country"] or UNKNOWN,)], ("country",)),
        "devices": _cells(listens, lambda x: [(x["device_class"] or UNKNOWN,)], ("device_class",)),
        "hour_of_week": _cells(
            listens, lambda x: [(day_of(x).isoweekday(), hour_of(x))], ("weekday", "hour")
        ),
        "listener_segments": _segments(listens),
        "retention": _retention(listens),
    }


def genres_of(listen: Listen) -> list[str]:
    return list(dict.fromkeys(listen["genres"])) or [UNKNOWN]


def segments(listens: Sequence[Listen]) -> dict[str, tuple[str, str]]:
    """Intensity and breadth by listener."""
    result = {}
    for listener, of in _grouped(listens, lambda x: x["listener"]).items():
        counted = [each for each in of if each["counted"]]
        pace = len(counted) / len({day_of(each) for each in of})
        artists = len({each["artist"] for each in counted})
        intensity = "light" if pace < 5 else "regular" if pace < 20 else "heavy"
        wide = bool(counted) and artists >= len(counted) / 2
        result[listener] = (intensity, "explorer" if wide else "loyal")
    return result


def weeks(listens: Sequence[Listen]) -> dict[str, set[date]]:
    """Mondays of the weeks in which each listener played."""
    result = defaultdict(set)
    for each in listens:
        result[each["listener"]].add(week_of(day_of(each)))
    return dict(result)


def _cells(
    listens: Iterable[Listen],
    cells: Callable[[Listen], list[tuple[Hashable, ...]]],
    names: tuple[str, ...],
    completion: bool = False,
) -> list[Row]:
    by_cell = defaultdict(list)
    for listen in listens:
        for cell in cells(listen):
            by_cell[cell].append(listen)
    rows = []
    for cell, of in by_cell.items():
        sums = measures(of)
        row = dict(zip(names, cell, strict=True)) | {
            "listeners": len({each["listener"] for each in of}),
            "plays": sums["plays"],
            "listens": sums["listens"],
            "minutes": sums["ms_played"] / 60_000,
            "skip_rate": sums["skips"] / sums["plays"],
        }
        if completion:
            extent = _extent(of)
            known = extent["completion_plays"]
            row["completion"] = extent["completion_sum"] / known / 100 if known else None
        rows.append(row)
    return rows


def _segments(listens: Sequence[Listen]) -> list[Row]:
    segment = segments(listens)
    rows = _cells(listens, lambda x: [segment[x["listener"]]], ("intensity", "breadth"))
    for row in rows:
        members = {
            listener for listener, of in segment.items() if of == (row["intensity"], row["breadth"])
        }
        days = {(x["listener"], day_of(x)) for x in listens if x["listener"] in members}
        row["active_days"] = len(days) / len(members)
    return rows


def _retention(listens: Sequence[Listen]) -> list[Row]:
    active = weeks(listens)
    cohorts = _grouped(active, lambda listener: min(active[listener]))
    rows = []
    for cohort, members in cohorts.items():
        for week in sorted({week for listener in members for week in active[listener]}):
            back = sum(week in active[listener] for listener in members)
            rows.append(
                {
                    "cohort": cohort,
                    "weeks_later": (week - cohort).days // 7,
                    "cohort_listeners": len(members),
                    "listeners": back,
                    "share": back / len(members),
                }
            )
    return rows


def _grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return dict(groups)


KEYS = {
    "daily_activity": ("day",),
    "artists": ("artist",),
    "genres": ("genre",),
    "countries": ("country",),
    "devices": ("device_class",),
    "hour_of_week": ("weekday", "hour"),
    "listener_segments": ("intensity", "breadth"),
    "retention": ("cohort", "weeks_later"),
}
"""Columns that tell the rows of a mart apart."""


def by_key(mart: str, rows: Iterable[Row]) -> dict[tuple[Hashable, ...], Row]:
    return {tuple(row[name] for name in KEYS[mart]): row for row in rows}


def same(shown: Row, counted: Row) -> bool:
    """Whether a mart's row shows what was counted, to as many digits as it shows."""
    return shown.keys() == counted.keys() and all(
        _close(shown[name], counted[name], DIGITS.get(name)) for name in shown
    )


def _close(shown: Any, counted: Any, digits: int | None) -> bool:
    if digits is None or counted is None:
        return bool(shown == counted)
    return shown is not None and abs(shown - counted) <= 0.5 * 10**-digits + 1e-9
