from __future__ import annotations

import json
from math import exp, log
from pathlib import Path
from typing import Any

import fastavro.validation
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste.state import Bounds, TasteState
from tests.taste.histories import LAST_MINUTE, LISTENERS, Listen, Record, frame, histories, listen
from tests.taste.recount import recount

EXACT = 1e-9
SCHEMA = fastavro.parse_schema(
    json.loads((Path(__file__).parents[2] / "schemas" / "taste-profile.avsc").read_text())
)


def profiled(listens: list[Listen], items: int = 20) -> dict[str, Record]:
    state = TasteState(Bounds())
    state.fold(frame(listens))
    changed = state.checkpoint().listeners
    return {each["listener"]: each for each in state.profiles(changed, items)}


def only(listens: list[Listen], items: int = 20) -> Record:
    (profile,) = profiled(listens, items).values()
    return profile


def assert_same_items(found: list[Record], wanted: list[Record]) -> None:
    """Same names and weights, heaviest first, equals by name."""
    by_name = {each["name"]: each for each in found}
    assert by_name.keys() == {each["name"] for each in wanted}
    order = [(-each["weight"], each["name"]) for each in found]
    assert order == sorted(order)
    for each in wanted:
        assert by_name[each["name"]]["weight"] == pytest.approx(each["weight"], rel=EXACT)
        assert by_name[each["name"]]["share"] == pytest.approx(each["share"], rel=2 * EXACT)


@given(histories)
@settings(deadline=None, max_examples=60)
def test_every_figure_agrees_with_a_plain_recount(listens: list[Listen]) -> None:
    wanted = recount(listens)
    found = profiled(listens)
    assert found.keys() == wanted.keys()
    for listener, profile in found.items():
        expected = wanted[listener]
        for name in ("listener", "epoch", "as_of", "first_at", "plays", "listens"):
            assert profile[name] == expected[name]
        for term, oracle in zip(profile["terms"], expected["terms"], strict=True):
            found_term: dict[str, Any] = {**term}
            assert_same_items(found_term.pop("artists"), oracle.pop("artists"))
            assert_same_items(found_term.pop("genres"), oracle.pop("genres"))
            assert found_term.pop("name") == oracle.pop("name")
            if oracle["completion"] is None:
                assert found_term.pop("completion") is oracle.pop("completion")
            assert found_term == pytest.approx(oracle, rel=2 * EXACT, abs=1e-300)
        assert profile["rhythm"] == pytest.approx(expected["rhythm"], rel=2 * EXACT)


@given(histories, st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_profiles_fit_the_schema_and_stay_in_range(listens: list[Listen], items: int) -> None:
    for profile in profiled(listens, items).values():
        assert fastavro.validation.validate(profile, SCHEMA, strict=True)
        for term in profile["terms"]:
            rates = [term["skip_rate"], term["discovery_rate"], term["repeat_share"]]
            assert all(0 <= rate <= 1 for rate in rates)
            assert term["completion"] is None or 0 <= term["completion"] <= 1
            assert max(len(term["artists"]), len(term["genres"])) <= items
        assert sum(profile["rhythm"]) == pytest.approx(1 if profile["listens"] else 0)


@given(histories)
@settings(deadline=None, max_examples=20)
def test_a_profile_does_not_depend_on_who_is_profiled_with_it(listens: list[Listen]) -> None:
    for listener, profile in profiled(listens).items():
        alone = [each for each in listens if each["listener"] == listener]
        assert only(alone) == profile


def long_term(listens: list[Listen]) -> Record:
    term: Record = only(listens)["terms"][2]
    return term


def test_rates_at_their_ends_are_exact() -> None:
    minutes = [LAST_MINUTE - 40_000 * n for n in range(40)]
    firsts = long_term([listen(minute, artist=str(minute)) for minute in minutes])
    assert (firsts["discovery_rate"], firsts["repeat_share"]) == (1.0, 0.0)
    again = long_term([listen(minute, skipped=True, completion=100) for minute in minutes])
    assert (again["repeat_share"], again["skip_rate"], again["completion"]) == (1.0, 1.0, 1.0)


def test_without_a_listen_there_is_nothing_to_rate() -> None:
    profile = only([listen(counted=False, completion=None)])
    term = profile["terms"][0]
    assert term["completion"] is None
    for name in ("discovery_rate", "repeat_share", "artist_diversity", "genre_diversity"):
        assert term[name] == 0.0
    assert (term["artists"], term["genres"], profile["rhythm"]) == ([], [], [0.0] * 168)


def test_equal_weights_are_listed_by_name() -> None:
    names = ["b", "é", "Z", "a", "a!", ""]
    term = long_term([listen(artist=name, genres=names) for name in names])
    assert [each["name"] for each in term["artists"]] == sorted(names)
    assert [each["name"] for each in term["genres"]] == sorted(names)


def test_diversity_is_the_effective_number_of_artists() -> None:
    term = long_term([listen(artist=name) for name in "abcd"])
    assert term["artist_diversity"] == pytest.approx(4)
    term = long_term([listen(artist=name) for name in "aaab"])
    assert term["artist_diversity"] == pytest.approx(exp(-0.75 * log(0.75) - 0.25 * log(0.25)))


def test_shares_are_of_all_that_is_kept_not_of_what_is_listed() -> None:
    profile = only([listen(artist=name) for name in "abcd"], items=1)
    assert [each["share"] for each in profile["terms"][0]["artists"]] == [0.25]
    assert profile["listener"] == LISTENERS[0]
