from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.taste import decay

HALF_LIVES = st.sampled_from([term.half_life for term in decay.TERMS])


def exact_power(minutes: int, half_life: int) -> Decimal:
    with localcontext(prec=40):
        return Decimal(2) ** (Decimal(minutes) / Decimal(half_life))


@given(st.integers(-40_000_000, 1_000_000), HALF_LIVES)
@settings(deadline=None)
def test_power_is_two_to_the_half_lives(minutes: int, half_life: int) -> None:
    value = float(decay.power(np.array([minutes]), half_life)[0])
    exact = exact_power(minutes, half_life)
    assert abs(Decimal(value) / exact - 1) < Decimal("1e-15")


@given(st.integers(-1_000, 30), HALF_LIVES)
@settings(deadline=None)
def test_power_is_exact_at_whole_half_lives(half_lives: int, half_life: int) -> None:
    assert decay.power(np.array([half_lives * half_life]), half_life)[0] == 2.0**half_lives


def test_power_never_falls_from_one_minute_to_the_next() -> None:
    for term in decay.TERMS:
        inside = np.arange(decay.BAND)
        assert (np.diff(decay.power(inside, term.half_life)) > 0).all()


@given(st.integers(0, decay.BANDS * decay.BAND - 1))
@settings(deadline=None)
def test_a_weight_and_its_age_make_the_decay_within_the_stated_error(minute: int) -> None:
    as_of = minute + 1_000
    stored = decay.weights(np.array([minute]))
    band, owner = np.array([minute // decay.BAND]), np.array([0])
    worth = stored * decay.aged(band, owner, np.array([as_of]))
    for value, term in zip(worth[:, 0].tolist(), decay.TERMS, strict=True):
        exact = exact_power(-1_000, term.half_life)
        assert abs(Decimal(value) / exact - 1) < Decimal(2) ** -31 + Decimal("3e-15")


@given(st.lists(st.integers(0, decay.BAND - 1), max_size=20))
@settings(deadline=None)
def test_weights_looked_up_are_those_calculated(minutes: list[int]) -> None:
    looked_up = decay.weights(np.array(minutes, np.int64))
    calculated = decay.weights(np.array(minutes, np.int64), terms=decay.TERMS[::-1])[::-1]
    assert looked_up.tolist() == calculated.tolist()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(100, 110)), max_size=8),
    st.lists(st.integers(111 * decay.BAND, 60_000_000), min_size=3, max_size=3),
    st.integers(1, 40),
)
@settings(deadline=None)
def test_a_band_is_worth_the_same_however_many_are_asked_for(
    rows: list[tuple[int, int]], as_of: list[int], times: int
) -> None:
    owner, band = np.array(rows, np.int64).reshape(-1, 2).T
    alone = [
        decay.aged(np.array([its]), np.array([0]), np.array([as_of[whose]]))[:, 0].tolist()
        for whose, its in rows
    ]
    many = decay.aged(np.tile(band, times), np.tile(owner, times), np.array(as_of))
    assert many.T.tolist() == alone * times


def test_a_weight_stays_below_the_bound_that_sums_rely_on() -> None:
    last = np.array([decay.BAND - 1])
    assert decay.weights(last).max() < 2**36.5 < 2**63 / 94_000_000
    assert decay.divided(decay.weights(last), np.array([1])).max() < 2**63 / 2_900_000
    assert decay.weights(np.array([decay.ERA - 1]), decay.ERA, (decay.MEDIUM,)).max() <= 2**38


@given(st.integers(2**30, 2**37), st.integers(1, 36))
@settings(deadline=None)
def test_a_divided_weight_is_off_by_half_a_unit_at_most(weight: int, parts: int) -> None:
    stored = int(decay.divided(np.array([weight]), np.array([parts]))[0])
    exact = Fraction(weight * (decay.GENRE_WEIGHT // decay.WEIGHT), parts)
    assert abs(stored - exact) <= Fraction(1, 2) + Fraction(1, 2**9)


@given(st.lists(st.tuples(st.integers(0, 2**37), st.integers(0, 2**31 - 1)), max_size=30))
@settings(deadline=None)
def test_sums_of_products_are_exact(pairs: list[tuple[int, int]]) -> None:
    weight = np.array([pair[0] for pair in pairs], np.int64)
    amount = np.array([pair[1] for pair in pairs], np.int64)
    high, low = decay.times(weight, amount)
    total = sum(one * other for one, other in pairs)
    assert int(high.sum()) * 2**32 + int(low.sum()) == total
    assert ((low >= 0) & (low < 2**32)).all()
    assert decay.joined(high, low).sum() == pytest.approx(float(total), rel=1e-15)


def test_the_terms_are_those_of_the_published_schema() -> None:
    assert [(term.name, term.half_life_days) for term in decay.TERMS] == [
        ("short", 28),
        ("medium", 182),
        ("long", 365),
    ]
