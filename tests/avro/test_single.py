from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from streams.avro.encode import RecordEncoder
from streams.avro.single import decode_record
from streams.avro.wire import HEADER
from streams.errors import StateError

FIELDS = [
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "text", "type": "string"},
]
SCHEMA: dict[str, Any] = {"type": "record", "name": "R", "fields": FIELDS}
RECORD = {"at": datetime(2020, 2, 29, tzinfo=UTC), "text": "secret"}
BODY = RecordEncoder(SCHEMA, 1).encode([RECORD])[0][HEADER:]


def test_a_record_comes_back_as_it_was_written() -> None:
    assert decode_record(SCHEMA, BODY) == RECORD


@pytest.mark.parametrize("body", [b"", BODY[:-1], BODY + b"\x00", BODY.replace(b"s", b"\xff")])
def test_a_body_that_does_not_match_is_refused_without_its_value(body: bytes) -> None:
    with pytest.raises(StateError, match="does not match") as caught:
        decode_record(SCHEMA, body)
    assert "secret"[1:] not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
