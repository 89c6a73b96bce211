"""Profiles against the recount: the same structure, names and order; figures within 1e-9."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

TOLERANCE = 1e-9


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """Where two profiles differ, by path."""
    if isinstance(found, datetime):
        found = round(found.astimezone(UTC).timestamp() * 1_000)
    if isinstance(expected, dict):
        if not isinstance(found, dict) or found.keys() != expected.keys():
            return [f"{path}: other fields"]
        return [
            each
            for key in expected
            for each in differences(found[key], expected[key], f"{path}.{key}")
        ]
    if isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{path}: {len(found)} entries, not {len(expected)}"]
        return [
            each
            for index, (left, right) in enumerate(zip(found, expected, strict=True))
            for each in differences(left, right, f"{path}[{index}]")
        ]
    if isinstance(expected, float):
        close = math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return [] if close else [f"{path}: {found!r}, not {expected!r}"]
    return [] if found == expected else [f"{path}: {found!r}, not {expected!r}"]
