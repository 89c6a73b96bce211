"""Texts planted in every personal field of simulated plays, to be searched for where none may be.

Fields are named as in ``schemas/play.avsc``, with dots. What may pass the gate (artist, genres,
country, kind of context) is not planted.
"""

from __future__ import annotations

TEXT_FIELDS = (
    "event_id",
    "user_id",
    "device.serial",
    "device.model",
    "track.title",
    "track.album",
    "track.isrc",
    "track.recording_mbid",
    "track.uri",
    "track.file_path",
    "track.file_hash",
    "context.name",
)
ADDRESS = "203.0.113.253"
"""An address for documentation (RFC 5737) that no play without canary has."""
LATITUDE = 12.3456789012
LONGITUDE = -98.7654321098


def canaries(canary: str) -> dict[str, str | float]:
    """What is planted, by field: a text that the field's value contains, or the whole value.

    ``ip`` and the coordinates cannot carry a text; they have the same value in every play.
    """
    planted: dict[str, str | float] = {
        field: f"{canary}-{field.rpartition('.')[2].replace('_', '-')}" for field in TEXT_FIELDS
    }
    return planted | {
        "ip": ADDRESS,
        "location.latitude": LATITUDE,
        "location.longitude": LONGITUDE,
    }


def marks(canary: str | None) -> dict[str, str]:
    """What to put before the value of each text field: nothing without a canary."""
    if canary is None:
        return dict.fromkeys(TEXT_FIELDS, "")
    planted = canaries(canary)
    return {field: f"{planted[field]}-" for field in TEXT_FIELDS}
