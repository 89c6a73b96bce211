"""What a run left against a plain recount of what was produced: every difference, by its kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.sources.play import Play
from streams.topics import ANALYTICS_LISTENS, LISTENS
from tests.chaos.evidence import POSITIONS_KEY, Evidence, Position, Reached, Written
from tests.chaos.history import POISON, listen_of
from tests.taste.recount import recount
from tests.warehouse import recount as marts
from tests.whole.compare import TOLERANCE, differences

Listen = Mapping[str, Any]


class Wrong(StrEnum):
    """Kinds of differences."""

    LOST = "lost"
    """Produced, and not counted."""
    DOUBLED = "doubled"
    """Counted more often than produced."""
    STALE = "stale profile"
    """The state is right and the profile is older."""
    OVERWRITTEN = "zombie overwrite"
    """A state was followed by an older one."""
    MISSING = "not accounted for"
    """A record of which no trace says what became of it, or one that was let in or out wrongly."""
    POSITION = "position"
    """A role says that it is elsewhere than the topics are."""
    FIGURE = "figure"
    """The number of plays is right, something else is not."""
    UNANSWERED = "unanswered"
    """A request without a receipt."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; ``where`` names what differs, ``how`` what was found and expected."""

    kind: Wrong
    where: str
    how: str


@dataclass(frozen=True)
class Produced:
    """What was produced, as far as the recount must know.

    Attributes:
        names: by audience the current pseudonym of each user.
        epoch: of these pseudonyms.
        erased: users of whom nothing may be left.
        genres: the catalogue by lower-case artist.
        asked: requests that end in a receipt.
        items: artists and genres in a profile.
    """

    plays: Sequence[Play]
    names: Mapping[str, Mapping[str, str]]
    epoch: int
    erased: frozenset[str]
    genres: Mapping[str, Sequence[str]]
    asked: frozenset[str]
    items: int

    def listens(self, audience: str) -> list[Listen]:
        """What must be counted for an audience: each event once."""
        names = self.names[audience]
        return [
            listen_of(play, names[play["user_id"]], self.epoch, self.genres)
            for play in self.plays
            if not play["private_session"] and play["user_id"] not in self.erased
        ]

    def became(self, key: bytes) -> str:
        """What must become of a record with that key: passed, filtered, either or a reason."""
        if key.startswith(b"x"):
            return str(POISON[key.decode().split("/", 1)[1]])
        play = self.plays[int(key[1:])]
        if play["private_session"]:
            return "filtered"
        return "either" if play["user_id"] in self.erased else "passed"


def judge(produced: Produced, found: Evidence) -> list[Difference]:
    """All differences."""
    product, analytics = produced.listens(PRODUCT), produced.listens(ANALYTICS)
    return [
        *_accounted(produced, found),
        *_profiles(recount(product, items=produced.items), found),
        *_overwritten(found.states),
        *_facts(marts.facts(analytics), found.facts),
        *_marts(marts.marts(analytics), found.marts),
        *_counters(found),
        *_positions("taste-state", found.taste, found.listens[LISTENS.name]),
        *_positions("warehouse", found.warehouse, found.listens[ANALYTICS_LISTENS.name]),
        *(Difference(Wrong.POSITION, "group", each) for each in found.behind),
        *(
            Difference(Wrong.UNANSWERED, f"request {request}", "no receipt")
            for request in sorted(produced.asked - found.receipts)
        ),
    ]


def outcomes(produced: Produced, found: Evidence) -> Counter[str]:
    """How many records of ``plays`` became what, from what the topics hold."""
    passed = {each.source for each in found.listens[LISTENS.name]}
    tally: Counter[str] = Counter()
    seen: set[bytes] = set()
    for position, key in found.plays.items():
        if position in found.rejected:
            tally[f"rejected: {found.rejected[position]}"] += 1
        elif position not in passed:
            tally["filtered"] += 1
        elif key in seen:
            tally["duplicate"] += 1
        else:
            seen.add(key)
            tally["folded"] += 1
    return tally


def _accounted(produced: Produced, found: Evidence) -> Iterator[Difference]:
    kept = {f"e{index}".encode() for index in range(len(produced.plays))}
    if gone := kept - set(found.plays.values()):
        yield Difference(Wrong.LOST, "plays", f"{len(gone)} events that Kafka acknowledged")
    wrong: dict[tuple[str, str, str], list[Position]] = defaultdict(list)
    passed = {topic: {each.source for each in its} for topic, its in found.listens.items()}
    for position, key in found.plays.items():
        expected = produced.became(key)
        for topic, sources in passed.items():
            became = "passed" if position in sources else "filtered"
            became = found.rejected.get(position, became)
            if expected not in (became, "either") or (
                became in POISON.values() and position in sources
            ):
                wrong[topic, became, expected].append(position)
    for (topic, became, expected), positions in wrong.items():
        how = f"{len(positions)} records {became}, not {expected}: {_where(positions)}"
        lost = (became, expected) == ("filtered", "passed")
        yield Difference(Wrong.LOST if lost else Wrong.MISSING, topic, how)


def _where(positions: Iterable[Position]) -> str:
    """Partitions with how many there are, and their first and last offset."""
    places: dict[int, list[int]] = defaultdict(list)
    for partition, offset in positions:
        places[partition].append(offset)
    return ", ".join(
        f"{len(its)} from {min(its)} to {max(its)} of partition {partition}"
        for partition, its in sorted(places.items())
    )


def _profiles(expected: Mapping[str, Any], found: Evidence) -> Iterator[Difference]:
    for listener in sorted(expected.keys() | found.profiles.keys() | found.restored.keys()):
        right = expected.get(listener)
        profile, state = found.profiles.get(listener), found.restored.get(listener)
        wrong_state = _kind(state, right)
        if wrong_state is not None:
            yield Difference(wrong_state, f"state of {listener}", _how(state, right))
        wrong = _kind(profile, right)
        if wrong is not None:
            kind = Wrong.STALE if wrong_state is None else wrong
            yield Difference(kind, f"profile of {listener}", _how(profile, right))


def _kind(found: Any, expected: Any) -> Wrong | None:
    plays = [each["plays"] if each else 0 for each in (found, expected)]
    if plays[0] != plays[1]:
        return Wrong.LOST if plays[0] < plays[1] else Wrong.DOUBLED
    return Wrong.FIGURE if found is not None and _differ(found, expected) else None


def _how(found: Any, expected: Any) -> str:
    if found is None or expected is None or found["plays"] != expected["plays"]:
        return "{} plays, not {}".format(*(x["plays"] if x else "no" for x in (found, expected)))
    return "; ".join(_differ(found, expected)[:3])


def _differ(found: Any, expected: Any) -> list[str]:
    """Where two profiles differ. Names that weigh the same to the last digits may change places."""
    terms = []
    for its, right in zip(found["terms"], expected["terms"], strict=True):
        lists = {kind: _placed(its[kind], right[kind]) for kind in ("artists", "genres")}
        terms.append({**its, **lists})
    return differences({**found, "terms": terms}, expected)


def _placed(found: list[Any], expected: list[Any]) -> list[Any]:
    place = {each["name"]: number for number, each in enumerate(expected)}
    weights = [each["weight"] for each in found]
    falling = all(after <= before * (1 + TOLERANCE) for before, after in pairwise(weights))
    if not falling or place.keys() != {each["name"] for each in found}:
        return found
    return sorted(found, key=lambda each: place[each["name"]])


def _overwritten(states: Iterable[tuple[int, bytes, int | None]]) -> Iterator[Difference]:
    newest: dict[tuple[int, bytes], int] = {}
    back: Counter[tuple[int, str]] = Counter()
    for partition, key, offset in states:
        if offset is None:
            newest.pop((partition, key), None)
        elif offset < newest.get((partition, key), -1):
            back[partition, "positions" if key == POSITIONS_KEY else "states"] += 1
        else:
            newest[partition, key] = offset
    for (partition, what), often in sorted(back.items()):
        yield Difference(
            Wrong.OVERWRITTEN,
            f"taste-state/{partition}",
            f"{often} {what} older than the one before",
        )


def _facts(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    for table, rows in expected.items():
        yield from _rows(table, rows, found[table], lambda a, b: bool(a == b))


def _marts(expected: marts.Marts, found: marts.Marts) -> Iterator[Difference]:
    for name, rows in expected.items():
        yield from _rows(
            f"mart {name}", marts.by_key(name, rows), marts.by_key(name, found[name]), marts.same
        )


def _rows(table: str, expected: Any, found: Any, same: Any) -> Iterator[Difference]:
    wrong: defaultdict[Wrong, list[str]] = defaultdict(list)
    for key in expected.keys() | found.keys():
        left, right = found.get(key), expected.get(key)
        if left is None or right is None or not same(left, right):
            plays = [each.get("plays", 0) if each else 0 for each in (left, right)]
            kind = Wrong.FIGURE
            if plays[0] != plays[1]:
                kind = Wrong.LOST if plays[0] < plays[1] else Wrong.DOUBLED
            wrong[kind].append(f"{plays[0]} plays, not {plays[1]}")
    for kind, hows in wrong.items():
        yield Difference(kind, table, f"{len(hows)} rows; the first: {hows[0]}")


def _counters(found: Evidence) -> Iterator[Difference]:
    records = found.listens[ANALYTICS_LISTENS.name]
    keys = [found.plays.get(source, b"") for source in {each.source for each in records}]
    expected = {
        "repeated": len(records) - len(keys),
        "duplicates": len(keys) - len(set(keys)),
        "unreadable": 0,
    }
    for counter, number in expected.items():
        if found.counters.get(counter, 0) != number:
            how = f"{found.counters.get(counter, 0)}, not {number}"
            yield Difference(Wrong.MISSING, f"warehouse counter {counter}", how)


def _positions(
    store: str, reached: Mapping[int, Reached], listens: Iterable[Written]
) -> Iterator[Difference]:
    ends: dict[int, int] = {}
    highest: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for (partition, offset), (source_partition, source_offset) in listens:
        ends[partition] = offset + 1
        seen = highest[partition].get(source_partition, -1)
        highest[partition][source_partition] = max(seen, source_offset)
    for partition, end in ends.items():
        at = reached.get(partition, Reached(0, {}))
        if at.next_offset != end or at.highest != highest[partition]:
            how = f"at {at.next_offset}, not {end}"
            yield Difference(Wrong.POSITION, f"{store}/{partition}", how)
