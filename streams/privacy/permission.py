"""What may be done with a play: by consent, standing requests and, without a decision, the policy.

People are known by their subject alone, the keyed digest of the account that no rotation changes.
A decision holds from the event after it: a play that began before it needs an earlier one, or a
grant that says from when it is effective. Kept is the latest decision per purpose, as the compacted
topic keeps it, for everyone who ever decided or asked something.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.privacy.policy import PURPOSES, Consent
from streams.privacy.standing import Exclusion, Standing

PERSONALIZATION = "personalization"
SUBJECT, STARTED, ARTIST, COUNTRY = "subject", "started_at", "artist.name", "location.country"
READS = (STARTED, ARTIST, COUNTRY)
"""Leaves of Play that a permission depends on."""

Mask = npt.NDArray[np.bool_]

_UNDECIDED = np.iinfo(np.int64).min
_NEVER = np.iinfo(np.int64).max
_NOBODY = 0
"""Row of everyone who is not known."""


class Permissions:
    """Decisions by subject. Not for several threads at once."""

    def __init__(self, rules: Consent) -> None:
        self._rules = rules
        self._rows: dict[str, int] = {}
        self._since = {purpose: np.full(1, _UNDECIDED) for purpose in PURPOSES}
        self._erased_before = np.full(1, _UNDECIDED)
        self._restricted = np.zeros(1, bool)
        self._exclusions: dict[int, tuple[Exclusion, ...]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def decided(self, subject: str, purpose: str, since_ms: int | None) -> None:
        """Note a decision: granted for plays that began at ``since_ms`` or later; None: refused."""
        row = self._row(subject)  # first, as it may put longer arrays in place
        self._since[purpose][row] = _NEVER if since_ms is None else since_ms

    def withdrawn(self, subject: str, purpose: str) -> None:
        """Note that there is no decision any more."""
        row = self._row(subject)
        self._since[purpose][row] = _UNDECIDED

    def note(self, standing: Standing) -> None:
        """Note what holds for a subject until further notice.

        Erasures and exclusions are never taken back, so what was noted of them stays.
        """
        row = self._row(standing.subject)
        if standing.erased_before is not None:
            self._erased_before[row] = max(self._erased_before[row], standing.erased_before)
        self._restricted[row] = standing.restricted
        if standing.exclusions:
            both = (*self._exclusions.get(row, ()), *standing.exclusions)
            self._exclusions[row] = tuple(dict.fromkeys(both))

    def masks(self, plays: pl.DataFrame) -> dict[str, Mask]:
        """By purpose, which rows may be used for it.

        Args:
            plays: columns ``subject`` and `READS`; ``started_at`` in milliseconds, not null.
        """
        find = self._rows.get
        rows = np.array([find(each, _NOBODY) for each in plays[SUBJECT].to_list()], dtype=np.int64)
        started = plays[STARTED].to_numpy()
        open_ = (started >= self._erased_before[rows]) & ~self._restricted[rows]
        masks = {}
        for purpose, since_all in self._since.items():
            since = since_all[rows]
            allowed = np.where(
                since == _UNDECIDED, self._undecided(plays, purpose), started >= since
            )
            masks[purpose] = allowed & open_
        if self._exclusions:
            masks[PERSONALIZATION] &= ~self._excluded(plays, rows, started)
        return masks

    def _undecided(self, plays: pl.DataFrame, purpose: str) -> Mask:
        allowed = np.full(len(plays), self._rules.unknown[purpose])
        for country, differs in self._rules.jurisdictions.items():
            if purpose in differs:
                there = (plays[COUNTRY].cast(pl.String) == country).fill_null(False).to_numpy()
                allowed[there] = differs[purpose]
        return allowed

    def _excluded(
        self, plays: pl.DataFrame, rows: npt.NDArray[np.int64], started: npt.NDArray[np.int64]
    ) -> Mask:
        excluded = np.zeros(len(plays), bool)
        for row in set(rows.tolist()) & self._exclusions.keys():
            of = np.flatnonzero(rows == row)
            artists = plays[ARTIST].gather(of).to_list()
            for exclusion in self._exclusions[row]:
                covers = [
                    exclusion.covers(artist, int(at))
                    for artist, at in zip(artists, started[of], strict=True)
                ]
                excluded[of] |= np.array(covers, bool)
        return excluded

    def _row(self, subject: str) -> int:
        row = self._rows.get(subject)
        if row is None:
            row = self._rows[subject] = len(self._rows) + 1
            if row >= len(self._restricted):
                self._grow(2 * row)
        return row

    def _grow(self, size: int) -> None:
        for purpose, since in self._since.items():
            self._since[purpose] = _extended(since, size, _UNDECIDED)
        self._erased_before = _extended(self._erased_before, size, _UNDECIDED)
        self._restricted = np.concatenate(
            [self._restricted, np.zeros(size - len(self._restricted), bool)]
        )


def since(decision: Mapping[str, object]) -> int | None:
    """From which start on a consent record allows plays; None where it refuses."""
    if not decision["granted"]:
        return None
    effective, decided = decision["effective_from"], decision["decided_at"]
    assert isinstance(decided, int)
    return effective if isinstance(effective, int) else decided + 1


def _extended(values: npt.NDArray[np.int64], size: int, fill: int) -> npt.NDArray[np.int64]:
    return np.concatenate([values, np.full(size - len(values), fill)])
