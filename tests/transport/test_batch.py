"""Batches show where they are from, never what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.transport.batch import RecordBatch


@dataclass
class Record:
    offset: int
    key: bytes | None = b"secret-key"
    value: bytes | None = b"secret-value"
    timestamp: int = 0
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


def test_columns_and_offsets_with_gaps() -> None:
    headed = Record(9, headers=[("a", b"secret-header")])
    batch = RecordBatch.of("plays", 3, [Record(4), Record(7, value=None), headed])
    assert (batch.first_offset, batch.next_offset, len(batch)) == (4, 10, 3)
    assert batch.values == [b"secret-value", None, b"secret-value"]
    assert batch.with_headers == 1


def test_no_payload_in_the_representation() -> None:
    batch = RecordBatch.of("plays", 3, [Record(4, headers=[("h", b"secret-header")])])
    assert repr(batch) == "<RecordBatch plays/3 4..4, 1 records>"
    assert "secret" not in f"{batch!r} {batch}"
