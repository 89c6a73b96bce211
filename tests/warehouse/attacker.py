"""Someone who subtracts published figures from one another, with the true listens at hand to score.

Whatever a subtraction isolates must be about nobody or at least the minimum of listeners. What is
tried needs the released marts and public knowledge only (which genre an artist has):

- all plays less the rows of a mart: what the mart holds back;
- a mart less another that adds up to the same plays, over everything and by weekday;
- a genre less the artists of it;
- the listeners of one mart less those of another where each listener is in one row;
- in retention, a cohort less who came back, and a calendar week less the rows about it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations

from tests.warehouse import recount
from tests.warehouse.recount import UNKNOWN, Listen, Marts, by_key, day_of, genres_of, hour_of

Cell = tuple[Hashable, ...]
Group = Callable[[Listen], bool]


@dataclass(frozen=True)
class Finding:
    """A group below the minimum and the subtraction that isolates it."""

    listeners: int
    by: str


class Attacker:
    """Knows the marts; is told the listens to see how far the guesses would go."""

    def __init__(self, listens: Sequence[Listen], published: Marts, minimum: int) -> None:
        self.listens = listens
        self.minimum = minimum
        self.shown = {mart: set(by_key(mart, published[mart])) for mart in recount.KEYS}
        self.segment = recount.segments(listens)
        self.weeks = recount.weeks(listens)
        self.cohort = {listener: min(weeks) for listener, weeks in self.weeks.items()}
        self.cell_of: dict[str, Callable[[Listen], Cell]] = {
            "daily_activity": lambda x: (day_of(x),),
            "countries": lambda x: (x["country"] or UNKNOWN,),
            "devices": lambda x: (x["device_class"] or UNKNOWN,),
            "artists": lambda x: (x["artist"],),
            "hour_of_week": lambda x: (day_of(x).isoweekday(), hour_of(x)),
            "listener_segments": lambda x: self.segment[x["listener"]],
        }

    def findings(self) -> list[Finding]:
        """Every group below the minimum that some subtraction isolates."""
        return [
            *self._rows(),
            *self._marts("all plays", lambda _: True),
            *(
                finding
                for weekday in range(1, 8)
                for finding in self._pairs(
                    ("daily_activity", "hour_of_week"),
                    f"weekday {weekday}",
                    lambda x, weekday=weekday: day_of(x).isoweekday() == weekday,  # type: ignore[misc]
                )
            ),
            *self._genres(),
            *self._memberships(),
            *self._returns(),
        ]

    def _small(self, listeners: Iterable[Hashable], by: str) -> list[Finding]:
        found = len(set(listeners))
        return [Finding(found, by)] if 0 < found < self.minimum else []

    def _rows(self) -> list[Finding]:
        counted = recount.marts(self.listens)
        return [
            Finding(row["listeners"], f"a row of {mart}")
            for mart, rows in counted.items()
            for key, row in by_key(mart, rows).items()
            if key in self.shown[mart] and row["listeners"] < self.minimum
        ]

    def _marts(self, name: str, group: Group) -> list[Finding]:
        singles = [
            finding
            for mart in self.cell_of
            if self._published(mart, group)
            for finding in self._small(
                self._net(self._held(mart, group), []), f"{name} less {mart}"
            )
        ]
        genres = [
            x["listener"]
            for x in self.listens
            if any((genre,) not in self.shown["genres"] for genre in genres_of(x))
        ]
        singles += self._small(genres, f"{name} less genres") if self.shown["genres"] else []
        return singles + self._pairs(self.cell_of, name, group)

    def _pairs(self, marts: Iterable[str], name: str, group: Group) -> list[Finding]:
        return [
            finding
            for one, other in combinations(marts, 2)
            if self._published(one, group) and self._published(other, group)
            for finding in self._small(
                self._net(self._held(one, group), self._held(other, group)),
                f"{name}: {one} less {other}",
            )
        ]

    def _published(self, mart: str, group: Group) -> bool:
        cell = self.cell_of[mart]
        return any(group(x) and cell(x) in self.shown[mart] for x in self.listens)

    def _held(self, mart: str, group: Group) -> list[Listen]:
        cell = self.cell_of[mart]
        return [x for x in self.listens if group(x) and cell(x) not in self.shown[mart]]

    def _net(self, plus: Iterable[Listen], minus: Iterable[Listen]) -> list[str]:
        """Listeners with a share in the difference of two sums."""
        net: dict[str, Counter[str]] = defaultdict(Counter)
        for sign, listens in ((1, plus), (-1, minus)):
            for listen in listens:
                for name, value in recount.measures([listen]).items():
                    net[listen["listener"]][name] += sign * value
        return [listener for listener, sums in net.items() if any(sums.values())]

    def _genres(self) -> list[Finding]:
        if not self.shown["genres"]:
            return []
        held = self._held("artists", lambda _: True)
        remainder = defaultdict(set)
        for listen in held:
            for genre in genres_of(listen):
                known = (genre,) in self.shown["genres"]
                remainder[genre if known else "held genres"].add(listen["listener"])
        return [
            finding
            for genre, listeners in remainder.items()
            for finding in self._small(listeners, f"{genre} less its artists")
        ]

    def _memberships(self) -> list[Finding]:
        cohorts = {key[0] for key in self.shown["retention"]}
        segments = self.shown["listener_segments"]
        new = {listener for listener, cohort in self.cohort.items() if cohort not in cohorts}
        odd = {listener for listener, of in self.segment.items() if of not in segments}
        return [
            *(self._small(new, "listeners less cohorts") if cohorts else []),
            *(self._small(new ^ odd, "segments less cohorts") if cohorts and segments else []),
        ]

    def _returns(self) -> list[Finding]:
        members = defaultdict(set)
        for listener, cohort in self.cohort.items():
            members[cohort].add(listener)
        findings = []
        held: dict[date, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
        for week in {week for weeks in self.weeks.values() for week in weeks}:
            for cohort in (each for each in members if each <= week):
                back = {each for each in members[cohort] if week in self.weeks[each]}
                away = members[cohort] - back
                if (cohort, (week - cohort).days // 7) in self.shown["retention"]:
                    findings += self._small(away, "a cohort less who came back")
                else:
                    held[week][0].update(back)
                    held[week][1].update(away)
        for week, (back, away) in held.items():
            if self._told_by_one_day(week):
                findings += self._small(back, "a week less its cohorts")
                findings += self._small(away, "those away in a week less its cohorts")
        return findings

    def _told_by_one_day(self, week: date) -> bool:
        days = {day_of(x) for x in self.listens if week <= day_of(x) < week + timedelta(days=7)}
        return len(days) == 1 and (next(iter(days)),) in self.shown["daily_activity"]


def naive(listens: Sequence[Listen], minimum: int) -> Marts:
    """Marts that hold back small rows and nothing else: what an attacker hopes for."""
    return {
        mart: [row for row in rows if row["listeners"] >= minimum]
        for mart, rows in recount.marts(listens).items()
    }
