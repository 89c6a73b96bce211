"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """What a check found and what to do about it.

    ``fine`` None is no failure: it is not needed by everybody, or cannot be said from here.
    """

    fine: bool | None
    found: str
    remedy: str = ""
