"""Every topic, once: name, zone, what its key is, and how Kafka keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000
SEGMENT_MS = 6 * 3_600_000
"""Kafka removes closed segments only; a short one keeps what is due from staying much longer."""

ENOUGH_REPLICAS = 3
"""From so many on, all but one must have a record before it is acknowledged."""


class Zone(StrEnum):
    """Who may read a topic."""

    RAW = "raw"
    """The gate alone."""
    PSEUDONYMOUS = "pseudonymous"
    """Taste and report."""
    PUBLISHED = "published"
    """Product teams."""
    SHARED = "shared"
    """One third party each."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as `sottovoce topics create` makes it. ``retention_ms`` None means compacted."""

    name: str
    zone: Zone
    schema: str
    key: str
    purpose: str
    retention_ms: int | None = None
    others_write: bool = False
    """Whether programs that are not ours write to it."""

    @property
    def compacted(self) -> bool:
        """Whether Kafka keeps the newest record of each key instead of a span of time."""
        return self.retention_ms is None

    def config(self, replicas: int = 1) -> dict[str, str]:
        """Topic settings for so many replicas of each partition."""
        # The broker unpacks what comes packed, so the largest message is one of real size, and
        # readers need no codec but it may be any that the broker knows.
        settings = {"compression.type": "uncompressed"} if self.others_write else {}
        if replicas >= ENOUGH_REPLICAS:  # one may fail, and no record is acknowledged on one disk
            settings["min.insync.replicas"] = str(replicas - 1)
        if self.retention_ms is None:
            return settings | {
                "cleanup.policy": "compact",
                "segment.ms": str(SEGMENT_MS),
                "max.compaction.lag.ms": str(DAY_MS),
                "delete.retention.ms": str(DAY_MS),
            }
        return settings | {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "segment.ms": str(SEGMENT_MS),
        }


PLAYS = Topic(
    "plays",
    Zone.RAW,
    "play",
    "any or none",
    "plays as clients send them",
    7 * DAY_MS,
    others_write=True,
)
REJECTED = Topic(
    "plays.rejected",
    Zone.RAW,
    "rejected",
    "topic/partition/offset",
    "plays that could not be processed, and why",
    7 * DAY_MS,
)
CATALOGUE = Topic(
    "catalogue", Zone.RAW, "artist-catalogue", "artist", "genres of artists", others_write=True
)
CONSENT = Topic(
    "consent", Zone.RAW, "consent", "user/purpose", "what users allow", others_write=True
)
PRIVACY_REQUESTS = Topic(
    "privacy-requests",
    Zone.RAW,
    "privacy-request",
    "user",
    "what listeners ask for, by account",
    30 * DAY_MS,
    others_write=True,
)
PRIVACY_STANDING = Topic(
    "privacy-standing",
    Zone.RAW,
    "privacy-standing",
    "subject",
    "erasures, restrictions and exclusions that hold until further notice",
)
PRIVACY_RECEIPTS = Topic(
    "privacy-receipts", Zone.RAW, "privacy-receipt", "request", "what became of requests, signed"
)
DELIVERIES = Topic(
    "deliveries",
    Zone.RAW,
    "delivery",
    "subject/audience/partition",
    "which third party received data of whom",
)
LISTENS = Topic(
    "listens",
    Zone.PSEUDONYMOUS,
    "listen",
    "listener",
    "plays after the gate, for profiles (audience product)",
    30 * DAY_MS,
)
ANALYTICS_LISTENS = Topic(
    "listens.analytics",
    Zone.PSEUDONYMOUS,
    "listen",
    "listener",
    "plays after the gate, for reporting (audience analytics)",
    30 * DAY_MS,
)
PRIVACY_COMMANDS = Topic(
    "privacy-commands",
    Zone.PSEUDONYMOUS,
    "privacy-command",
    "listener",
    "what stores must do about a listener",
    30 * DAY_MS,
)
PRIVACY_REKEYS = Topic(
    "privacy-rekeys",
    Zone.PSEUDONYMOUS,
    "privacy-rekey",
    "new listener",
    "pseudonyms that change; emptied when the old epoch is destroyed",
    30 * DAY_MS,
)
PRIVACY_ANSWERS = Topic(
    "privacy-answers",
    Zone.PSEUDONYMOUS,
    "privacy-answer",
    "request digest",
    "what stores did",
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
    PRIVACY_STANDING,
    PRIVACY_RECEIPTS,
    DELIVERIES,
    LISTENS,
    ANALYTICS_LISTENS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    PRIVACY_ANSWERS,
    TASTE_STATE,
    PROFILES,
)
"""Every topic but those of third parties, which the policy names (`shared`)."""

PARTITIONED_ALIKE: tuple[Topic, ...] = (
    LISTENS,
    ANALYTICS_LISTENS,
    PRIVACY_COMMANDS,
    PRIVACY_REKEYS,
    PRIVACY_ANSWERS,
    TASTE_STATE,
    PROFILES,
)
"""What is about a person stands in the same partition of each, in every audience and epoch."""


def shared(audience: str) -> Topic:
    """The topic of a third party."""
    return Topic(
        f"shared.{audience}",
        Zone.SHARED,
        "shared-listen",
        "listener",
        f"plays for {audience}; a record without a value asks to delete its listener",
        7 * DAY_MS,
    )
