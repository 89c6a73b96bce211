"""Limits at the boundary: what is too large is rejected alone, whatever the schema says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from streams.errors import Reason
from streams.privacy.boundary import LONGEST_DETAIL, LONGEST_TEXT, MOST_ITEMS, Boundary
from streams.privacy.policy import PRODUCT
from streams.settings import Settings
from tests.privacy import test_boundary as world
from tests.privacy.test_boundary import PLAY, PLAY_ID, altered, batch, crossed, encoded, simulated

boundary, settings = world.boundary, world.settings


def public(plays: int) -> list[Any]:
    return [play for play in simulated(plays) if not play["private_session"]]


@pytest.mark.parametrize(
    ("path", "value", "detail"),
    [
        ("artist.name", "x" * (LONGEST_TEXT + 1), f"artist.name longer than {LONGEST_TEXT} bytes"),
        ("user_id", "é" * (LONGEST_TEXT // 2 + 1), f"user_id longer than {LONGEST_TEXT} bytes"),
        ("genres", ["x" * (LONGEST_TEXT + 1)], f"genres longer than {LONGEST_TEXT} bytes"),
        ("genres", [""] * (MOST_ITEMS + 1), f"genres with more than {MOST_ITEMS} items"),
    ],
)
def test_what_is_too_long_is_rejected_alone(
    boundary: Boundary, path: str, value: object, detail: str
) -> None:
    plays = public(30)
    plays[4] = altered(plays[4], path, value)
    crossing = crossed(boundary, batch(encoded(plays)))
    assert world.reasons(crossing) == {(Reason.INVALID_VALUE, detail): 1}
    assert len(crossing.listens[PRODUCT]) == len(plays) - 1


def test_the_longest_allowed_passes(boundary: Boundary) -> None:
    play: Any = altered(public(9)[0], "artist.name", "x" * LONGEST_TEXT)
    play = altered(play, "genres", ["x" * LONGEST_TEXT] * MOST_ITEMS)
    # An array of that many long texts is larger than a play may be.
    assert world.reasons(crossed(boundary, batch(encoded([play]))))
    play = altered(play, "genres", ["x" * 500] * MOST_ITEMS)
    assert len(crossed(boundary, batch(encoded([play]))).listens[PRODUCT]) == 1


@pytest.mark.parametrize("open_schema", [False, True])
def test_an_oversized_play_is_rejected_before_it_is_decoded(
    boundary: Boundary, settings: Settings, open_schema: bool
) -> None:
    plays = public(10)
    values = encoded(plays)
    number = PLAY_ID if open_schema else 999
    boundary.close(999, Reason.UNKNOWN_SCHEMA, "no schema of this id")
    values[2] = b"\x00" + number.to_bytes(4, "big") + bytes(settings.largest_play + 1)
    crossing = crossed(boundary, batch(values))
    assert [(each.row, each.reason) for each in crossing.rejections] == [(2, Reason.OVERSIZED)]
    assert len(crossing.listens[PRODUCT]) == len(plays) - 1


def test_a_batch_of_many_megabytes_crosses_in_parts_and_in_order(boundary: Boundary) -> None:
    padded = [altered(play, "track.file_path", "x" * 60_000) for play in public(30)]
    crossing = crossed(boundary, batch(encoded(padded * 8)))
    artists = [play["artist"]["name"] for play in padded * 8]
    assert crossing.listens[PRODUCT]["artist"].to_list() == artists
    assert crossing.listens[PRODUCT]["source_offset"].is_sorted()


def test_unknown_ids_are_not_kept(boundary: Boundary) -> None:
    for number in range(5_000):
        boundary.close(number, Reason.UNKNOWN_SCHEMA, "no schema of this id")
    assert boundary.missing([PLAY_ID, 7]) == {7}
    assert len(boundary._lanes) == 1


def test_schemas_not_in_use_are_given_up_when_there_are_many(boundary: Boundary) -> None:
    for number in range(2_000):
        boundary.close(number, Reason.UNPLANNABLE_SCHEMA, "for a test")
    assert boundary.missing([PLAY_ID, 5]) == set()
    assert len(boundary._lanes) == 2


@pytest.mark.parametrize(
    "odd", [None, [], "string", {"type": "record"}, {"type": "record", "name": 7, "fields": {}}]
)
def test_odd_json_is_not_planned_and_raises_nothing(boundary: Boundary, odd: object) -> None:
    assert boundary.open(42, odd) is not None
    values: list[bytes | None] = [b"\x00\x00\x00\x00\x2a\x02a"]
    crossing = crossed(boundary, batch(values))
    assert [each.reason for each in crossing.rejections] == [Reason.UNPLANNABLE_SCHEMA]


def test_a_name_of_any_length_in_a_schema_makes_no_detail_of_that_length(
    boundary: Boundary,
) -> None:
    endless = copy.deepcopy(PLAY)
    artist = next(each for each in endless["fields"] if each["name"] == "artist")
    artist["type"]["fields"].append({"name": "x" * 100_000, "type": "n.o.t.h.i.n.g"})
    problem = boundary.open(42, endless)
    assert problem is not None
    assert len(problem) <= LONGEST_DETAIL
