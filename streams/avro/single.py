"""One record at a time, for commands that show what a topic holds."""

from __future__ import annotations

import io
from typing import Any

from fastavro import parse_schema, schemaless_reader

from streams.avro.schemas import Schema
from streams.errors import StateError


def decode_record(schema: Schema, body: bytes) -> dict[str, Any]:
    """The record in ``body``, logical types as Python's.

    Raises:
        StateError: it does not match its schema from the first byte to the last.
    """
    stream = io.BytesIO(body)
    try:
        record = schemaless_reader(stream, parse_schema(schema))
    except Exception:  # fastavro raises whatever the bytes lead it to
        record = None
    if isinstance(record, dict) and stream.tell() == len(body):
        return record
    raise StateError(
        "A record does not match its schema.",
        "Something else than this package wrote it; correct the topic's access rules.",
    )
