"""Receipts: what became of a request in every store, and a signature under it.

A request is finished when every store that has a part in it has answered every command it was
given. What no store answers for (topics that time empties, copies at third parties) is listed with
the moment at which it is gone or was asked to go. The body is canonical JSON (sorted keys, no
spaces, UTF-8), so that whoever has the receipt can form the signed bytes again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from streams.privacy.keyring import Keyring
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.privacy.requests import Request
from streams.topics import (
    ANALYTICS_LISTENS,
    CONSENT,
    DAY_MS,
    DELIVERIES,
    LISTENS,
    PLAYS,
    PRIVACY_ANSWERS,
    PRIVACY_COMMANDS,
    PRIVACY_REQUESTS,
    PRIVACY_STANDING,
    PROFILES,
    REJECTED,
    TASTE_STATE,
    Topic,
    shared,
)

VERSION = 1
STATE, PROFILE, WAREHOUSE, RELEASE = "taste-state", "taste-profiles", "warehouse", "release"

STORES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "erase": {PRODUCT: (STATE, PROFILE), ANALYTICS: (WAREHOUSE, RELEASE)},
    "exclude": {PRODUCT: (STATE, PROFILE)},
    "restrict": {PRODUCT: (PROFILE,), ANALYTICS: (RELEASE,)},
    "lift": {PRODUCT: (PROFILE,), ANALYTICS: (RELEASE,)},
    "export": {PRODUCT: (STATE,), ANALYTICS: (WAREHOUSE,)},
}
"""By action and audience, the stores that answer a command."""

_BY_RETENTION = (
    PLAYS, REJECTED, LISTENS, ANALYTICS_LISTENS, PRIVACY_REQUESTS, PRIVACY_COMMANDS,
    PRIVACY_ANSWERS,
)  # fmt: skip
_BY_COMPACTION = (CONSENT, TASTE_STATE, PROFILES)
_KEPT = {
    PRIVACY_STANDING: "a keyed digest of the account and a time, so that old plays stay out",
    DELIVERIES: "by a keyed digest of the account, as an account of who received data",
}
_ROLL_MS = 7 * DAY_MS
"""Kafka deletes whole segments, and begins a new one after a week unless a topic says otherwise."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a store did about a command, see the schema ``privacy-answer``."""

    request: str
    audience: str
    store: str
    removed: int
    remaining: int
    check: str
    finished_at: int
    held: str | None = None

    def combined(self, other: Answer) -> Answer:
        """Of two answers to one command, as a restart leaves them: the newer finding, and what was
        removed at all, which the second time may be nothing."""
        newer = max((other, self), key=lambda each: each.finished_at)
        return Answer(
            newer.request,
            newer.audience,
            newer.store,
            max(self.removed, other.removed),
            newer.remaining,
            newer.check,
            newer.finished_at,
            newer.held,
        )


@dataclass(frozen=True, slots=True)
class Issued:
    """A command that stands in its topic."""

    audience: str
    action: str
    issued_at: int


def outstanding(
    issued: Mapping[str, Issued], answers: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Digest and store of the answers that the commands ``issued``, by digest, still lack."""
    wanted = {
        (digest, store)
        for digest, command in issued.items()
        for store in STORES[command.action].get(command.audience, ())
    }
    return wanted - set(answers)


def body(
    request: Request,
    issued: Iterable[Issued],
    answers: Iterable[Answer],
    consents_left: int,
    third_parties: Iterable[str],
) -> dict[str, Any]:
    """The receipt of a request whose stores have all answered.

    Args:
        request: it.
        issued: the commands it led to, one at least.
        answers: all of them.
        consents_left: with erase, decisions of the person that are not tombstones.
        third_parties: audiences that were asked to delete, with erase.
    """
    given = sorted(answers, key=lambda each: (each.audience, each.store, each.finished_at))
    asked_at = min(each.issued_at for each in issued)
    finished_at = max(each.finished_at for each in given)
    return {
        "version": VERSION,
        "request_id": request.request_id,
        "action": request.action,
        "requested_at": request.requested_at,
        "finished_at": finished_at,
        "stores": [
            {
                "audience": each.audience,
                "store": each.store,
                "removed": each.removed,
                "remaining": each.remaining,
                "check": each.check,
                "finished_at": each.finished_at,
            }
            for each in given
        ],
        "elsewhere": _elsewhere(request, asked_at, finished_at, consents_left, third_parties)
        if request.action == "erase"
        else [],
    }


def _elsewhere(
    request: Request,
    asked_at: int,
    finished_at: int,
    consents_left: int,
    third_parties: Iterable[str],
) -> list[dict[str, Any]]:
    retained = [
        {"store": each.name, "how": "retention", "until": _gone_by(each, request.requested_at)}
        for each in _BY_RETENTION
    ]
    compacted: list[dict[str, Any]] = [
        {"store": each.name, "how": "compaction", "until": _gone_by(each, finished_at)}
        for each in _BY_COMPACTION
    ]
    compacted[0] |= {"remaining": consents_left, "check": "decisions without a tombstone"}
    asked = [
        {"store": shared(each).name, "how": "deletion asked for", "at": asked_at}
        for each in sorted(set(third_parties))
    ]
    kept = [{"store": each.name, "how": "kept", "why": why} for each, why in _KEPT.items()]
    return [*retained, *compacted, *asked, *kept]


def _gone_by(topic: Topic, moment_ms: int) -> int:
    """When a record written at ``moment_ms``, or one that it replaces, is off the broker's disk."""
    config = topic.config()
    roll = int(config.get("segment.ms", _ROLL_MS))
    return moment_ms + roll + int(topic.retention_ms or config["max.compaction.lag.ms"])


def canonical(receipt: Mapping[str, Any]) -> str:
    """The text that is signed."""
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sign(receipt: Mapping[str, Any], keyring: Keyring) -> dict[str, Any]:
    """A record of the schema ``privacy-receipt``."""
    signer, text = keyring.signer(), canonical(receipt)
    return {
        "request_id": receipt["request_id"],
        "finished_at": receipt["finished_at"],
        "body": text,
        "signature": signer.sign(text.encode()),
        "public_key": signer.public_key().public_bytes_raw(),
    }


def verify(record: Mapping[str, Any]) -> bool:
    """Whether a record's signature is that of its public key over its body, and its request is the
    body's. Whose key it is, the caller must know from elsewhere."""
    try:
        key = Ed25519PublicKey.from_public_bytes(record["public_key"])
        key.verify(record["signature"], record["body"].encode())
        return bool(json.loads(record["body"])["request_id"] == record["request_id"])
    except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
        return False
