"""What holds for a person until further notice: erased before, restricted, exclusions.

Kept by subject, the keyed digest of the account, so that it may outlive the account. Requests are
the only thing that changes it, and `after` says how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.privacy.requests import Request

MINUTE_MS = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, repr=False)
class Exclusion:
    """What stays out of a profile: an artist or all, within ``[start, until)`` of Unix ms.

    Bounds are whole minutes, the precision that listens have, so that it covers the same plays
    before and after the gate.
    """

    artist: str | None = None
    start: int | None = None
    until: int | None = None

    def covers(self, artist: str | None, started_at: int) -> bool:
        """Whether a play of ``artist``, named as the exclusion names it, is left out."""
        return (
            (self.artist is None or self.artist == artist)
            and (self.start is None or started_at >= self.start)
            and (self.until is None or started_at < self.until)
        )


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """What holds for ``subject``. Times are Unix milliseconds."""

    subject: str
    erased_before: int | None = None
    restricted: bool = False
    exclusions: tuple[Exclusion, ...] = ()
    changed_at: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Standing:
        """From a record of the schema ``privacy-standing``, times as numbers or as Python's."""
        return cls(
            record["subject"],
            _ms(record["erased_before"]),
            record["restricted"],
            tuple(
                Exclusion(each["artist"], _ms(each["from"]), _ms(each["until"]))
                for each in record["exclusions"]
            ),
            _ms(record["changed_at"]) or 0,
        )

    def to_record(self) -> dict[str, Any]:
        """A record of the schema ``privacy-standing``."""
        return {
            "subject": self.subject,
            "erased_before": self.erased_before,
            "restricted": self.restricted,
            "exclusions": [
                {"artist": each.artist, "from": each.start, "until": each.until}
                for each in self.exclusions
            ],
            "changed_at": self.changed_at,
        }


def changes(request: Request) -> bool:
    """Whether `after` may give something else than what it was given."""
    return request.action in ("erase", "exclude", "restrict", "lift")


def after(standing: Standing, request: Request) -> Standing:
    """What holds once ``request`` of the same person is heard; the same, heard twice."""
    match request.action:
        case "erase":
            before = max(standing.erased_before or 0, request.before)
            changed = replace(standing, erased_before=before)
        case "exclude":
            asked = (request.exclusion,) if request.exclusion else ()
            unique = dict.fromkeys((*standing.exclusions, *asked))
            changed = replace(standing, exclusions=tuple(unique))
        case "restrict" | "lift":
            changed = replace(standing, restricted=request.action == "restrict")
        case _:
            return standing
    return replace(changed, changed_at=max(standing.changed_at, request.requested_at))


def merged(earlier: Standing, later: Standing) -> Standing:
    """Both, of one person, where ``later`` stands later in the topic.

    A worker that lost its partition may still write what held when it had it. That takes nothing
    back here: erasures and exclusions only grow, and a restriction is as the newer change left it.
    """
    newer = earlier if earlier.changed_at > later.changed_at else later
    erased = [each.erased_before for each in (earlier, later) if each.erased_before is not None]
    return replace(
        newer,
        erased_before=max(erased, default=None),
        exclusions=tuple(dict.fromkeys((*earlier.exclusions, *later.exclusions))),
    )


def placement(subject: str, partitions: int) -> int:
    """Partition of everything about a person: subjects are uniform, so their head is a hash."""
    return int(subject[:8], 16) % partitions


def minute_up(moment_ms: int) -> int:
    """The first whole minute that is not before ``moment_ms``."""
    return -(-moment_ms // MINUTE_MS) * MINUTE_MS


def minute_down(moment_ms: int) -> int:
    """The last whole minute that is not after ``moment_ms``."""
    return moment_ms // MINUTE_MS * MINUTE_MS


def _ms(moment: int | datetime | None) -> int | None:
    return (moment - _EPOCH) // _MS if isinstance(moment, datetime) else moment
