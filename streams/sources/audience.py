"""An invented audience: who the listeners are, what they like, when and with what they listen.

Listeners are rows of arrays, so that the plays of all of them are drawn at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.sources import canary as planted
from streams.sources.canary import marks
from streams.sources.play import Device, Location
from streams.sources.world import GENRES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LIKED_GENRES = 3
DEVICES = 2
RHYTHMS = 3
_HOURS = 168

# Code, share of listeners, a point to live near (degrees), and hours ahead of UTC.
_COUNTRIES = (
    ("US", 22, 38.9, -77.0, -5),
    ("BR", 11, -15.8, -47.9, -3),
    ("GB", 10, 51.5, -0.1, 0),
    ("DE", 10, 52.5, 13.4, 1),
    ("IN", 8, 28.6, 77.2, 5),
    ("FR", 7, 48.9, 2.4, 1),
    ("MX", 6, 19.4, -99.1, -6),
    ("JP", 5, 35.7, 139.7, 9),
    ("ES", 5, 40.4, -3.7, 1),
    ("PL", 4, 52.2, 21.0, 1),
    ("NL", 3, 52.4, 4.9, 1),
    ("SE", 3, 59.3, 18.1, 1),
    ("ZA", 2, -25.7, 28.2, 2),
    ("NG", 2, 9.1, 7.5, 1),
    ("AU", 1, -35.3, 149.1, 10),
    ("IS", 1, 64.1, -21.9, 0),
)
_MODELS = (
    "Model 5 over-ear headphone",
    "Model 3 on-ear headphone",
    "Model 2 in-ear buds",
    "Model 7 sport earbuds",
    "Model 1 shelf speaker",
    "Model 4 soundbar",
    "Model 9 mobile",
    "Model 6 laptop",
    "Model 8 turntable",
)


@dataclass(frozen=True, slots=True)
class Audience:
    """Listeners, one row each.

    ``activity`` is cumulative: the share of sessions of all listeners up to this one. ``liked`` has
    ``LIKED_GENRES`` genre numbers, dearest first; ``whim`` shifts the ranking of a genre's artists.
    ``rhythm`` is one of ``RHYTHMS`` and ``ahead`` by how many hours it runs ahead of UTC.
    ``devices`` has ``DEVICES`` per listener, ``locations`` two: with coordinates and without.
    """

    activity: Floats
    liked: Ints
    whim: Ints
    rhythm: Ints
    ahead: Ints
    collects: NDArray[np.bool_]
    reports_skips: NDArray[np.bool_]
    users: list[str]
    devices: list[Device]
    locations: list[Location]


def gather(rng: np.random.Generator, count: int, canary: str | None) -> Audience:
    """``count`` listeners. With a canary, all that identifies them carries it."""
    mark = marks(canary)
    shares = np.cumsum([share for _, share, *_ in _COUNTRIES], dtype=float)
    country = np.searchsorted(shares / shares[-1], rng.random(count), side="right")
    heavy = np.minimum((1 - rng.random(count)) ** -0.6, 25)
    models = (len(_MODELS) * rng.random((count, DEVICES)) ** 1.4).astype(int)
    offsets = np.array([hours for *_, hours in _COUNTRIES])
    return Audience(
        activity=np.cumsum(heavy) / heavy.sum(),
        liked=(len(GENRES) * rng.random((count, LIKED_GENRES)) ** 1.4).astype(np.int64),
        whim=(rng.random(count) * 1_000).astype(np.int64),
        rhythm=(rng.random(count) * RHYTHMS).astype(np.int64),
        ahead=(offsets[country] + rng.random(count) * 5 - 2).astype(np.int64),
        collects=rng.random(count) < 0.25,
        reports_skips=rng.random(count) < 0.7,
        users=[f"{mark['user_id']}account-{number:06d}" for number in range(count)],
        devices=[
            {
                "serial": f"{mark['device.serial']}SV{number:06d}{slot}",
                "model": mark["device.model"] + _MODELS[model],
            }
            for number, row in enumerate(models.tolist())
            for slot, model in enumerate(row)
        ],
        locations=_locations(country.tolist(), rng.random((count, 2)).tolist(), canary),
    )


def _locations(
    countries: list[int], jitter: list[list[float]], canary: str | None
) -> list[Location]:
    """For each listener a place within some 15 km of the country's point, and the country alone."""
    locations: list[Location] = []
    for country, (north, east) in zip(countries, jitter, strict=True):
        code, _, latitude, longitude, _ = _COUNTRIES[country]
        place: Location = {
            "latitude": round(latitude + 0.3 * (north - 0.5), 6),
            "longitude": round(longitude + 0.3 * (east - 0.5), 6),
            "country": code,
        }
        if canary is not None:
            place = {**place, "latitude": planted.LATITUDE, "longitude": planted.LONGITUDE}
            locations += [place, place]
        else:
            locations += [place, {"latitude": None, "longitude": None, "country": code}]
    return locations


def weeks() -> Floats:
    """The rhythms: for each, 168 weights by hour of the week, Monday 00:00 local time first."""
    hour = np.arange(_HOURS) % 24
    weekend = np.arange(_HOURS) >= 5 * 24

    def around(center: float, width: float) -> Floats:
        apart = np.minimum(np.abs(hour - center), 24 - np.abs(hour - center))
        return np.asarray(np.exp(-((apart / width) ** 2)), dtype=np.float64)

    home = around(20, 3) + 0.4 * around(12, 3)
    commuter = np.where(weekend, home, around(8, 1.5) + 1.2 * around(18, 2))
    office = np.where(weekend, 0.5 * home, around(11, 3) + around(15, 2.5))
    night = around(23, 3) * np.where(weekend, 1.6, 1.0)
    return np.stack([commuter, office, night]) + 0.03
