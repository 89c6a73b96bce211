from __future__ import annotations

from tests.chaos.faults import KINDS, possible
from tests.chaos.schedule import CALM_S, Kind, draw

SHORT, LONG, ONCE = Kind("short"), Kind("long", (5.0, 9.0)), Kind("once", most=1)
SOME = (SHORT, LONG, ONCE)


def test_a_seed_draws_the_same_faults_every_time() -> None:
    assert draw(7, 60.0, SOME) == draw(7, 60.0, SOME)
    assert draw(7, 60.0, SOME) != draw(8, 60.0, SOME)


def test_every_kind_comes_and_none_more_often_than_it_may() -> None:
    for seed in range(50):
        drawn = [fault.kind for fault in draw(seed, 60.0, SOME)]
        assert set(drawn) == {"short", "long", "once"}
        assert drawn.count("once") == 1
        assert len(drawn) >= 10


def test_faults_are_over_before_the_end() -> None:
    for seed in range(50):
        for fault in draw(seed, 60.0, SOME):
            assert fault.at_s >= CALM_S
            assert fault.at_s + fault.lasts_s <= 60.01


def test_several_are_under_way_at_once() -> None:
    faults = draw(1, 60.0, [KINDS[name] for name in possible(3, True)])
    together = [
        (one, other)
        for one in faults
        for other in faults
        if one is not other and one.at_s <= other.at_s < one.at_s + one.lasts_s
    ]
    assert len(together) > 5


def test_what_is_not_there_cannot_fail() -> None:
    assert set(possible(3, True)) - set(possible(1, False)) == {"leader moved", "registry gone"}
