from __future__ import annotations

from tests.chaos.history import POISON, History, poisoned, spoilt

SMALL = History(seed=3, number=600, listeners=20)


def test_a_seed_gives_the_same_plays_in_the_same_order() -> None:
    assert History(3, 600, 20).plays == SMALL.plays
    assert History(4, 600, 20).plays != SMALL.plays


def test_every_event_is_there_once() -> None:
    ids = [play["event_id"] for play in SMALL.plays]
    assert len(set(ids)) == len(ids) > 590


def test_chunks_are_all_of_it() -> None:
    assert [index for chunk in SMALL.chunks() for index in chunk] == list(range(len(SMALL.plays)))


def test_every_kind_of_poison_changes_the_record() -> None:
    play, value = SMALL.plays[0], b"\0\0\0\0\1 some body of an encoded play"
    for kind in POISON:
        assert (poisoned(play, kind, 0) != play) != (spoilt(value, kind) != value), kind
