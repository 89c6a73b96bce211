"""The invented audience: within the ranges that its docstring promises."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from streams.settings import bundled
from streams.sources.audience import DEVICES, LIKED_GENRES, RHYTHMS, Audience, gather, weeks
from streams.sources.world import GENRES

COUNT = 500


def audience(seed: int = 1) -> Audience:
    return gather(np.random.Generator(np.random.PCG64(seed)), COUNT, None)


def test_every_listener_has_a_row_of_everything() -> None:
    found = audience()
    assert len(set(found.users)) == COUNT
    assert len({device["serial"] for device in found.devices}) == COUNT * DEVICES
    assert len(found.locations) == 2 * COUNT
    assert found.liked.shape == (COUNT, LIKED_GENRES)
    assert set(found.liked.flat) <= set(range(len(GENRES)))
    assert set(found.rhythm.tolist()) == set(range(RHYTHMS))
    assert (np.diff(found.activity) > 0).all()
    assert found.activity[-1] == pytest.approx(1)


def test_activity_is_skewed() -> None:
    shares = np.sort(np.diff(audience().activity, prepend=0))
    assert shares[-COUNT // 10 :].sum() > 0.2


def test_places_come_with_coordinates_and_without() -> None:
    found = audience().locations
    for place, country in zip(found[::2], found[1::2], strict=True):
        assert place["country"] == country["country"]
        assert country["latitude"] is country["longitude"] is None
        assert -90 <= (place["latitude"] or 999) <= 90
        assert -180 <= (place["longitude"] or 999) <= 180
    assert len({place["country"] for place in found}) > 8


def test_models_hit_every_class_of_the_policy_and_one_none() -> None:
    policy = tomllib.loads((bundled("schemas") / "policy.toml").read_text())
    lookup = policy["lookups"]["device_class"]
    found = {
        next((kind for kind, words in lookup.items() if any(w in model for w in words)), "other")
        for model in {(device["model"] or "").lower() for device in audience().devices}
    }
    assert found == {*lookup, "other"}


def test_weeks_rise_and_fall() -> None:
    for week in weeks():
        assert week.shape == (168,)
        assert week.min() > 0
        assert week.max() > 5 * week.min()
        assert not np.allclose(week[:24], week[-24:])


def test_the_seed_decides() -> None:
    assert audience().devices == audience().devices != audience(2).devices
