"""Requests of listeners, checked, and what they ask of the stores: commands by pseudonym.

A request names an account; a command names a pseudonym of one audience and epoch. The digest that
a command carries, and its answers with it, differs by audience and epoch too: whoever may read the
pseudonymous zone cannot tell by it which pseudonyms are of one person.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streams.avro.schemas import Schemas
from streams.errors import Reason
from streams.privacy.boundary import listener_names
from streams.privacy.keyring import Keyring
from streams.privacy.policy import PRODUCT, Policy
from streams.privacy.pseudonyms import Pseudonyms
from streams.privacy.standing import Exclusion, minute_down, minute_up

ACTIONS = ("erase", "export", "exclude", "restrict", "lift", "rekey")
REKEY = "rekey"
FIELDS = (
    "request_id", "user_id", "action", "requested_at", "exclude_artist", "exclude_from",
    "exclude_until",
)  # fmt: skip
NOT_ANSWERED = ""
"""Stands for a command's digest where no receipt waits for the answer."""

LONGEST_ID = 256
LONGEST_TEXT = 4_096
"""Characters of an account or an artist's name."""
LATEST_MS = int(datetime(9_999, 1, 1, tzinfo=UTC).timestamp()) * 1_000


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """What a person asks for. ``exclusion`` is set with the action ``exclude`` only."""

    request_id: str
    user: str
    action: str
    requested_at: int
    exclusion: Exclusion | None = None

    @property
    def before(self) -> int:
        """Plays that began before this are those the request is about: a whole minute, since
        listens know no seconds."""
        return minute_up(self.requested_at)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record is no request: ``detail`` names a field and rule, never a value."""

    reason: Reason
    detail: str


def parse(record: Mapping[str, Any], latest_ms: int) -> Request | Refusal:
    """A request from a record with the fields `FIELDS`, times in milliseconds.

    One that was asked after ``latest_ms`` is refused: it would erase what is yet to be played.
    """
    for name, longest in (("request_id", LONGEST_ID), ("user_id", LONGEST_TEXT)):
        problem = _text_problem(record[name], longest)
        if problem:
            return Refusal(Reason.INVALID_VALUE, f"{name} {problem}")
    if record["action"] not in ACTIONS:
        return Refusal(Reason.INVALID_VALUE, "action is none there is")
    for name in ("requested_at", "exclude_from", "exclude_until"):
        optional = name != "requested_at" and record[name] is None
        if not optional and not _is_moment(record[name]):
            return Refusal(Reason.INVALID_VALUE, f"{name} is no time from 1970 to 9998")
    if record["requested_at"] > latest_ms:
        return Refusal(Reason.IMPOSSIBLE_TIME, "requested_at in the future")
    request = Request(
        record["request_id"], record["user_id"], record["action"], record["requested_at"]
    )
    return _excluding(request, record) if request.action == "exclude" else request


def _excluding(request: Request, record: Mapping[str, Any]) -> Request | Refusal:
    artist, start, until = (record[f"exclude_{name}"] for name in ("artist", "from", "until"))
    if artist is not None:
        problem = _text_problem(artist, LONGEST_TEXT)
        if problem:
            return Refusal(Reason.INVALID_VALUE, f"exclude_artist {problem}")
    if artist is None and start is None and until is None:
        return Refusal(
            Reason.MISSING_FIELD, "none of exclude_artist, exclude_from and exclude_until is set"
        )
    if start is not None and until is not None and start >= until:
        return Refusal(Reason.INVALID_VALUE, "exclude_from is not before exclude_until")
    exclusion = Exclusion(
        artist,
        None if start is None else minute_down(start),
        None if until is None else minute_up(until),
    )
    return Request(
        request.request_id, request.user, request.action, request.requested_at, exclusion
    )


def to_record(request: Request) -> dict[str, Any]:
    """A record of the schema ``privacy-request``."""
    return {
        "request_id": request.request_id,
        "user_id": request.user,
        "action": request.action,
        "requested_at": request.requested_at,
        **_exclusion_fields(request.exclusion),
    }


@dataclass(frozen=True, slots=True)
class Address:
    """An audience in one epoch, and what makes its pseudonyms of accounts."""

    audience: str
    purpose: str
    third_party: bool
    epoch: int
    names: Pseudonyms


def addresses(policy: Policy, schemas: Schemas, keyring: Keyring) -> tuple[Address, ...]:
    """Every audience in every epoch that can be used, epochs of an audience ascending.

    Raises:
        PolicyError: an audience's policy does not say what becomes of an account.
    """
    return tuple(
        Address(
            name,
            audience.purpose,
            audience.third_party,
            epoch,
            listener_names(policy, schemas, keyring.key(name, epoch)),
        )
        for name, audience in policy.audiences.items()
        for epoch in keyring.usable
    )


@dataclass(frozen=True, slots=True)
class Command:
    """What the stores of an audience have to do about a listener, see the schema."""

    request: str
    audience: str
    listener: str
    action: str
    before: int | None = None
    exclusion: Exclusion | None = None

    def to_record(self, issued_at: int) -> dict[str, Any]:
        """A record of the schema ``privacy-command``."""
        return {
            "request": self.request,
            "audience": self.audience,
            "listener": self.listener,
            "action": self.action,
            "before": self.before,
            "issued_at": issued_at,
            **_exclusion_fields(self.exclusion),
        }


@dataclass(frozen=True, slots=True)
class Rekey:
    """That a listener of an audience goes on under a new pseudonym."""

    audience: str
    old: str
    new: str
    epoch: int

    def to_record(self, issued_at: int) -> dict[str, Any]:
        """A record of the schema ``privacy-rekey``."""
        return {
            "audience": self.audience,
            "old": self.old,
            "new": self.new,
            "epoch": self.epoch,
            "issued_at": issued_at,
        }


def digest(request: Request, address: Address, keyring: Keyring) -> str:
    """What stands for a request in one audience and epoch: 32 hexadecimal digits."""
    parts = (request.request_id, request.user, request.action, address.audience, address.epoch)
    return keyring.digest(json.dumps(parts))


def commands(
    request: Request, addressed: Iterable[Address], keyring: Keyring
) -> tuple[Command, ...]:
    """What a request asks of the stores; nothing for ``rekey``, which `rekeys` serves.

    Third parties get no commands, see `deletions`.
    """
    if request.action == REKEY:
        return ()
    return tuple(
        Command(
            digest(request, address, keyring),
            address.audience,
            address.names.hex(request.user),
            request.action,
            request.before if request.action == "erase" else None,
            request.exclusion,
        )
        for address in addressed
        if not address.third_party and (request.action != "exclude" or address.audience == PRODUCT)
    )


def revocations(
    user: str, purpose: str, before: int, addressed: Iterable[Address]
) -> tuple[Command, ...]:
    """What a withdrawn consent asks of the stores that serve ``purpose``: to erase what began
    before ``before``, a whole minute. Not answered."""
    return tuple(
        Command(NOT_ANSWERED, address.audience, address.names.hex(user), "erase", before)
        for address in addressed
        if address.purpose == purpose and not address.third_party
    )


def deletions(
    user: str, addressed: Iterable[Address], purpose: str | None = None
) -> tuple[tuple[str, str], ...]:
    """Audience and listener to delete at each third party, or at those of a purpose."""
    return tuple(
        (address.audience, address.names.hex(user))
        for address in addressed
        if address.third_party and purpose in (None, address.purpose)
    )


def rekeys(request: Request, addressed: Sequence[Address], keyring: Keyring) -> tuple[Rekey, ...]:
    """The listener's pseudonyms that change, one per audience; none unless a rotation is under
    way. A third party keeps nothing that could follow."""
    if request.action != REKEY or keyring.overlap_ends_ms is None:
        return ()
    own = [address for address in addressed if not address.third_party]
    old, new = min(keyring.usable), keyring.current
    before = {each.audience: each.names for each in own if each.epoch == old}
    return tuple(
        Rekey(
            each.audience,
            before[each.audience].hex(request.user),
            each.names.hex(request.user),
            new,
        )
        for each in own
        if each.epoch == new
    )


def _exclusion_fields(exclusion: Exclusion | None) -> dict[str, Any]:
    given = exclusion or Exclusion()
    return {
        "exclude_artist": given.artist,
        "exclude_from": given.start,
        "exclude_until": given.until,
    }


def _text_problem(value: object, longest: int) -> str:
    if not isinstance(value, str):
        return "is no text"
    if not value.strip():
        return "is empty"
    if len(value) > longest:
        return f"is longer than {longest} characters"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not Unicode"
    return ""


def _is_moment(value: object) -> bool:
    return type(value) is int and 0 <= value < LATEST_MS
