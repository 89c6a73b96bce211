"""Every topic, once: name, zone, what its key is, and how Kafka keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000


class Zone(StrEnum):
    """Who may read a topic."""

    RAW = "raw"
    """The gate alone."""
    PSEUDONYMOUS = "pseudonymous"
    """Taste and report."""
    PUBLISHED = "published"
    """Product teams."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as `sottovoce topics create` makes it. ``retention_ms`` None means compacted."""

    name: str
    zone: Zone
    schema: str
    key: str
    purpose: str
    retention_ms: int | None = None

    @property
    def compacted(self) -> bool:
        """Whether Kafka keeps the newest record of each key instead of a span of time."""
        return self.retention_ms is None

    def config(self) -> dict[str, str]:
        """Topic settings. Short segments, so that compaction can reach a tombstone within a day."""
        if self.retention_ms is None:
            return {
                "cleanup.policy": "compact",
                "segment.ms": str(6 * 3_600_000),
                "max.compaction.lag.ms": str(DAY_MS),
                "delete.retention.ms": str(DAY_MS),
            }
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


PLAYS = Topic("plays", Zone.RAW, "play", "any or none", "plays as clients send them", 7 * DAY_MS)
REJECTED = Topic(
    "plays.rejected",
    Zone.RAW,
    "rejected",
    "topic/partition/offset",
    "plays that could not be processed, and why",
    7 * DAY_MS,
)
CATALOGUE = Topic("catalogue", Zone.RAW, "artist-catalogue", "artist", "genres of artists")
CONSENT = Topic("consent", Zone.RAW, "consent", "user/purpose", "what users allow")
PRIVACY_REQUESTS = Topic(
    "privacy-requests",
    Zone.RAW,
    "privacy-request",
    "user",
    "what listeners ask for, by account",
    30 * DAY_MS,
)
LISTENS = Topic(
    "listens", Zone.PSEUDONYMOUS, "listen", "listener", "plays after the gate", 30 * DAY_MS
)
PRIVACY_COMMANDS = Topic(
    "privacy-commands",
    Zone.PSEUDONYMOUS,
    "privacy-command",
    "listener",
    "what listeners ask for, by pseudonym",
    30 * DAY_MS,
)
TASTE_STATE = Topic(
    "taste-state", Zone.PSEUDONYMOUS, "taste-state", "listener", "changelog of the taste role"
)
PROFILES = Topic(
    "taste-profiles", Zone.PUBLISHED, "taste-profile", "listener", "rolling taste profiles"
)

ALL: tuple[Topic, ...] = (
    PLAYS,
    REJECTED,
    CATALOGUE,
    CONSENT,
    PRIVACY_REQUESTS,
    LISTENS,
    PRIVACY_COMMANDS,
    TASTE_STATE,
    PROFILES,
)

PARTITIONED_ALIKE: tuple[Topic, ...] = (LISTENS, PRIVACY_COMMANDS, TASTE_STATE, PROFILES)
"""Topics keyed by listener: what is about a listener stands in the same partition of each."""
