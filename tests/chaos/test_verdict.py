"""The verdict finds what is planted, and calls it by its name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.topics import ANALYTICS_LISTENS, LISTENS
from tests.chaos import verdict
from tests.chaos.evidence import POSITIONS_KEY, Evidence, Reached, Written
from tests.chaos.history import History, play_key, poison_key
from tests.chaos.verdict import Produced, Wrong, judge, outcomes
from tests.taste.recount import recount
from tests.warehouse import recount as marts

HISTORY = History(seed=5, number=400, listeners=12)
GONE = HISTORY.users[0]
PRODUCED = Produced(
    HISTORY.plays,
    {audience: {user: f"{audience} {user}" for user in HISTORY.users}
     for audience in (PRODUCT, ANALYTICS)},
    epoch=1,
    erased=frozenset({GONE}),
    genres={artist.lower(): genres for artist, genres in HISTORY.catalogue()},
    asked=frozenset({"a request"}),
    items=20,
)  # fmt: skip
TOPICS = (LISTENS.name, ANALYTICS_LISTENS.name)


def all_well() -> Evidence:
    """What a run leaves in which nothing went wrong, one record sent twice, one poisonous."""
    keys = [*(play_key(index) for index in range(len(HISTORY.plays)))]
    twice = next(key for key in keys if PRODUCED.became(key) == "passed")
    keys += [twice, poison_key("truncated", 0)]
    plays = {(0, offset): key for offset, key in enumerate(keys)}
    passed = [at for at, key in plays.items() if PRODUCED.became(key) in ("passed", "either")]
    listens = [Written((0, offset), source) for offset, source in enumerate(passed)]
    analytics = PRODUCED.listens(ANALYTICS)
    profiles = recount(PRODUCED.listens(PRODUCT), items=PRODUCED.items)
    reached = {0: Reached(len(listens), {0: passed[-1][1]})}
    return Evidence(
        plays=plays,
        listens={topic: list(listens) for topic in TOPICS},
        rejected={(0, len(keys) - 1): "undecodable"},
        profiles=profiles,
        restored=copy.deepcopy(profiles),
        states=[(0, b"someone", 3), (0, POSITIONS_KEY, 4), (0, b"someone", 9)],
        taste=reached,
        warehouse=dict(reached),
        facts=marts.facts(analytics),
        counters={"folded": len(listens) - 1, "duplicates": 1},
        marts=marts.marts(analytics),
        receipts={"a request"},
        behind=[],
    )


def test_nothing_is_found_where_all_is_well() -> None:
    assert judge(PRODUCED, all_well()) == []


def test_every_record_became_something() -> None:
    found = all_well()
    became = outcomes(PRODUCED, found)
    assert became.total() == len(found.plays)
    assert became["duplicate"] == became["rejected: undecodable"] == 1
    assert became["filtered"] == sum(play["private_session"] for play in HISTORY.plays) > 0


def entry(name: str, weight: float) -> dict[str, Any]:
    return {"name": name, "weight": weight}


def test_what_weighs_the_same_may_stand_in_any_order() -> None:
    expected = [entry("a", 2.0), entry("b", 1.0), entry("c", 1.0 - 1e-12)]
    swapped = [expected[0], expected[2], expected[1]]
    assert verdict._placed(swapped, expected) == expected
    upside_down = [expected[1], expected[0], expected[2]]
    assert verdict._placed(upside_down, expected) == upside_down
    other = [expected[0], expected[1], entry("d", 1.0)]
    assert verdict._placed(other, expected) == other


def lost_listen(found: Evidence) -> None:
    del found.listens[LISTENS.name][3]


def lost_play(found: Evidence) -> None:
    del found.plays[0, 7]


def wrong_reason(found: Evidence) -> None:
    found.rejected = dict.fromkeys(found.rejected, "malformed")


def rejected_and_passed(found: Evidence) -> None:
    found.rejected[found.listens[LISTENS.name][0].source] = "undecodable"


def lost_from_state(found: Evidence) -> None:
    someone(found)["plays"] -= 1


def doubled_in_state(found: Evidence) -> None:
    someone(found)["plays"] += 1


def stale_profile(found: Evidence) -> None:
    next(iter(found.profiles.values()))["plays"] -= 1


def profile_of_nobody(found: Evidence) -> None:
    found.profiles["nobody"] = found.restored["nobody"] = next(iter(found.profiles.values()))


def no_profile(found: Evidence) -> None:
    found.profiles.pop(next(iter(found.profiles)))


def weight_off(found: Evidence) -> None:
    someone(found)["terms"][0]["listens"] *= 1 + 1e-8


def older_state(found: Evidence) -> None:
    found.states.append((0, b"someone", 8))


def doubled_fact(found: Evidence) -> None:
    next(iter(found.facts["listener_day"].values()))["plays"] *= 2


def lost_mart_row(found: Evidence) -> None:
    found.marts["artists"].pop()


def minutes_off(found: Evidence) -> None:
    found.marts["daily_activity"][0]["minutes"] += 1


def duplicate_not_counted(found: Evidence) -> None:
    found.counters["duplicates"] = 0


def behind_in_warehouse(found: Evidence) -> None:
    found.warehouse[0] = Reached(3, found.warehouse[0].highest)


def behind_in_group(found: Evidence) -> None:
    found.behind.append("sottovoce-gate: 3 of plays/0")


def no_receipt(found: Evidence) -> None:
    found.receipts.clear()


def someone(found: Evidence) -> dict[str, Any]:
    return next(iter(found.restored.values()))


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lost_listen, Wrong.LOST),
        (lost_play, Wrong.LOST),
        (wrong_reason, Wrong.MISSING),
        (rejected_and_passed, Wrong.MISSING),
        (lost_from_state, Wrong.LOST),
        (doubled_in_state, Wrong.DOUBLED),
        (stale_profile, Wrong.STALE),
        (profile_of_nobody, Wrong.DOUBLED),
        (no_profile, Wrong.STALE),
        (weight_off, Wrong.FIGURE),
        (older_state, Wrong.OVERWRITTEN),
        (doubled_fact, Wrong.DOUBLED),
        (lost_mart_row, Wrong.LOST),
        (minutes_off, Wrong.FIGURE),
        (duplicate_not_counted, Wrong.MISSING),
        (behind_in_warehouse, Wrong.POSITION),
        (behind_in_group, Wrong.POSITION),
        (no_receipt, Wrong.UNANSWERED),
    ],
)
def test_what_is_planted_is_found(plant: Callable[[Evidence], None], kind: Wrong) -> None:
    found = all_well()
    plant(found)
    assert kind in {difference.kind for difference in judge(PRODUCED, found)}
