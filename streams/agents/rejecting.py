"""When to stop rather than to reject: something is wrong with a producer, the schema or the policy,
not with single records, when most of the newest are to be rejected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.errors import TooManyRejected
from streams.privacy.boundary import Rejection


class RejectedShare:
    """Watches, per partition, the share of rejected records in any ``window`` in a row.

    What came before the first record counts as sound: a partition with few records stops nothing
    until ``share * window`` of them are rejected. Kept in memory, so a worker that is started anew
    begins anew, and may in the worst case reject that many again.
    """

    def __init__(self, share: float, window: int) -> None:
        self._share, self._window = share, window
        self._newest: defaultdict[int, NDArray[np.bool_]] = defaultdict(
            lambda: np.zeros(window, bool)
        )

    def forget(self) -> None:
        """Begin anew, as the records may come again."""
        self._newest.clear()

    def check(self, partition: int, records: int, rejections: Sequence[Rejection]) -> None:
        """Take note of a batch that is about to be written.

        Raises:
            TooManyRejected: it must not be. Nothing of it is noted.
        """
        rejected = np.zeros(records, bool)
        rejected[[each.row for each in rejections]] = True
        seen = np.concatenate((self._newest[partition], rejected))
        sums = np.concatenate(([0], np.cumsum(seen)))
        worst = int((sums[self._window :] - sums[: -self._window]).max())
        if worst > self._share * self._window:
            reasons = Counter(str(each.reason) for each in rejections)
            raise TooManyRejected(
                f"{worst} of {self._window} plays in a row of partition {partition} would be"
                f" rejected, most as {reasons.most_common(1)[0][0]}; none of their batch was.",
                "Correct the producer, its schema or the policy; or have them rejected: raise"
                " SOTTOVOCE_REJECTED_SHARE.",
            )
        self._newest[partition] = seen[-self._window :]
