"""Flow control: how much of what was fetched may be held in memory before it is finished.

Batches wait for their role, and taste and report keep them until a checkpoint. When the disk, the
broker or the machine is slow, more comes than goes. Then fetching pauses, what is there is
finished, and the rest waits in Kafka, where it is safe and its lag can be seen.

A batch is always taken when nothing is held, so a bound smaller than one batch slows a worker and
stops none. Nothing else is needed for what is held to be finished: `Held.pressing` says when a role
that waits for its next checkpoint should have it now.
"""

from __future__ import annotations

from streams.transport.batch import RecordBatch

_BATCH_BYTES = 4_096
"""What a batch takes beside its records: a message, an event, arrays, an entry in the ledger."""
_RECORD_BYTES = 112
"""What a record takes beside the bytes of key and value, in CPython on 64 bits: two objects of 33
bytes, rounded up to 16, two pointers, offset and timestamp."""


def footprint(batch: RecordBatch) -> int:
    """Bytes of memory that ``batch`` takes, as good as exact."""
    keys = sum(len(key) for key in batch.keys if key is not None)
    values = sum(len(value) for value in batch.values if value is not None)
    return _BATCH_BYTES + _RECORD_BYTES * len(batch) + keys + values


class Held:
    """Batches of a worker that are delivered and not finished, all partitions together.

    One thread changes it; others may ask for `room`, `paused` and `bytes`.
    """

    def __init__(self, bound: int) -> None:
        """``bound`` is in bytes, at least 1. It is passed by one batch at most."""
        self.bound = bound
        self.bytes = 0
        """Bytes held."""
        self.paused = False
        """Whether the bound was reached and more than half of it is still held."""
        self._sizes: dict[RecordBatch, int] = {}
        self._taken: set[RecordBatch] = set()
        self._taken_bytes = 0

    @property
    def room(self) -> int:
        """Bytes that may be fetched now; 0 while paused."""
        return 0 if self.paused else self.bound - self.bytes

    @property
    def pressing(self) -> bool:
        """Whether the role alone holds half of the bound: what it holds is to be written now."""
        return 2 * self._taken_bytes >= self.bound

    def deliver(self, batch: RecordBatch) -> None:
        """Note a batch as held."""
        size = self._sizes[batch] = footprint(batch)
        self._set(self.bytes + size)

    def take(self, batch: RecordBatch) -> None:
        """Note that the role has the batch now. Nothing happens with one that is not held."""
        if batch in self._sizes:
            self._taken.add(batch)
            self._taken_bytes += self._sizes[batch]

    def finish(self, batch: RecordBatch) -> None:
        """Note a batch as done. Nothing happens with one that is not held."""
        size = self._sizes.pop(batch, 0)
        if batch in self._taken:
            self._taken.remove(batch)
            self._taken_bytes -= size
        self._set(self.bytes - size)

    def reset(self) -> None:
        """Forget everything: a rebalance delivers anew."""
        self._sizes.clear()
        self._taken.clear()
        self._taken_bytes = 0
        self._set(0)

    def _set(self, size: int) -> None:
        self.bytes = size
        self.paused = size >= self.bound or (self.paused and 2 * size > self.bound)
