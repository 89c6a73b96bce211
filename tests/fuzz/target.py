"""What is fuzzed: a batch across the boundary, and what must hold whatever is in it.

An input is one byte that names a schema, then records, each behind its length in two bytes. The
records are put between sound ones, and the batch is decoded; where `WHOLE` is set in the first
byte, it is taken apart, decoded and treated, which takes 30 times as long. An input whose first
byte is `SCHEMA_TEXT` is the JSON of a writer schema instead, which is planned.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from fastavro import _read_py, parse_schema

from streams.avro import schemas as schema_files
from streams.avro import wire
from streams.avro.columns import MISMATCH, ColumnDecoder
from streams.avro.encode import RecordEncoder
from streams.errors import Reason
from streams.privacy import keyring, keys, policy
from streams.privacy.boundary import Boundary, Crossing, from_settings
from streams.privacy.permission import Permissions
from streams.privacy.policy import PRODUCT, PURPOSES, Consent
from streams.settings import load
from streams.sources.simulate import Simulation
from streams.transport.batch import RecordBatch
from tests.fuzz.writers import WRITERS, filled

NOW_MS = 1_790_000_000_000
SCHEMA_TEXT = 0xFF
WHOLE = 0x80
LONGEST_S = 2.0
"""CPU time that an input of a few kilobytes may take, seconds."""
MOST_RECORDS = 5
_EVERYTHING = Permissions(Consent(dict.fromkeys(PURPOSES, True), {}))
_DETAIL = re.compile(
    "no magic byte and schema id|no schema of this id|larger than SOTTOVOCE_LARGEST_PLAY"
    f"|{re.escape(MISMATCH)}|[a-z_.]+( is no (32-bit integer|symbol of its enum|boolean))?"
    "|ms_played below zero|started_at (before the earliest|in the future)"
    "|[a-z_.]+ (longer than [0-9]+ bytes|with more than [0-9]+ items)"
)
_LEAVES = (
    "event_id",
    "user_id",
    "started_at",
    "ms_played",
    "artist.name",
    "artist.mbid",
    "genres",
    "private_session",
    "location.latitude",
)


class Found(Exception):
    """Something that must not be."""


class Target:
    """Takes inputs; see the module's text. Raises `Found` or whatever the boundary raises."""

    def __init__(self, folder: Path) -> None:
        """Make a key in ``folder`` and plan every schema of `writers`."""
        keys.create(folder / "key.hex")
        self._settings = load(key_file=folder / "key.hex")
        self._boundary = self._new_boundary()
        for number, schema in enumerate(WRITERS):
            problem = self._boundary.open(number, schema)
            if problem is not None:
                raise Found(f"schema {number} is not planned: {problem}")
        self._decoders = [ColumnDecoder(schema, _LEAVES) for schema in WRITERS]
        self._twins = [_Twin(schema) for schema in WRITERS]
        self._sound_bodies = [list(filled(schema, 99, MOST_RECORDS + 1)) for schema in WRITERS]
        self._read = list(map(_outcome, self._decoders, self._sound_bodies))
        self._sound = _sound()
        self._expected = self._fates(self._sound)
        self._said = _Said()
        logging.getLogger().addHandler(self._said)

    def one(self, data: bytes) -> None:
        """Try an input."""
        started = time.process_time()
        with _quiet_stderr():
            if data[:1] == bytes([SCHEMA_TEXT]):
                self._plan(data[1:])
            elif data:
                number, records = (data[0] & ~WHOLE) % len(WRITERS), taken_apart(data[1:])
                self._cross(records) if data[0] & WHOLE else self._decode(number, records)
        if self._said.lines:
            raise Found("something was logged")
        spent = time.process_time() - started
        if spent > LONGEST_S:
            raise Found(f"{spent:.1f} s of CPU time for {len(data)} bytes")

    def seeds(self) -> Iterator[bytes]:
        """Inputs to begin with."""
        sound = [value for value in self._sound if value is not None]
        for number, schema in enumerate(WRITERS):
            plays = list(filled(schema, number, 6))
            yield put_together(number, plays[:4])
            framed = [wire.frame(number, body) for body in plays[:2]]
            yield put_together(WHOLE | number, [*framed, *sound[:2]])
            yield bytes([SCHEMA_TEXT]) + json.dumps(schema).encode()

    def _new_boundary(self) -> Boundary:
        settings = self._settings
        schemas = schema_files.load(settings.schemas)
        rules = policy.load(settings.policy)
        return from_settings(settings, schemas, rules, keyring.load(settings))

    def _decode(self, number: int, bodies: list[bytes]) -> None:
        sound, decoder = self._sound_bodies[number], self._decoders[number]
        fates = _outcome(decoder, _interleaved(sound, bodies))
        if any(fates[row] != want for row, want in _others(self._read[number], bodies)):
            raise Found("a sound body came out otherwise")
        for place, body in zip(_places(bodies), bodies, strict=True):
            if not _same(_outcome(decoder, [body])[0], fates[place]):
                raise Found("a body fares otherwise alone")
            expected = self._twins[number].read(body)  # stricter than ours
            if expected is not None and fates[place] == MISMATCH:
                raise Found("a body that fits its schema does not decode")
            decoded = isinstance(fates[place], tuple)
            if expected is not None and decoded and not _same(fates[place], expected):
                raise Found("a body decodes to other values")

    def _cross(self, values: list[bytes]) -> None:
        fates = self._fates(_interleaved(self._sound, values))
        if any(fates[row] != want for row, want in _others(self._expected, values)):
            raise Found("a sound play came out otherwise")
        if values:
            chosen = sum(map(len, values)) % len(values)
            if self._fates([values[chosen]])[0] != fates[_places(values)[chosen]]:
                raise Found("a record fares otherwise alone")

    def _fates(self, values: Sequence[bytes | None]) -> list[Any]:
        """What becomes of each record: its listen, its rejection, or None if it is filtered."""
        crossing = self._crossed(values)
        fates: dict[int, Any] = {
            each.row: (each.reason, each.detail) for each in crossing.rejections
        }
        if any(not _DETAIL.fullmatch(each.detail) for each in crossing.rejections):
            raise Found("a rejection says something unheard of")
        listens = crossing.listens[PRODUCT]
        for row, *listen in listens.select("source_offset", pl.exclude("source_offset")).rows():
            if row in fates:
                raise Found("a record is rejected and passed on, or passed on twice")
            fates[row] = listen
        if len(fates) + crossing.filtered.total() != len(values):
            raise Found("a record is not accounted for")
        return [fates.get(row) for row in range(len(values))]

    def _crossed(self, values: Sequence[bytes | None]) -> Crossing:
        rows = np.arange(len(values), dtype=np.int64)
        nothing: list[bytes | None] = [None] * len(values)
        batch = RecordBatch("plays", 0, rows, rows, nothing, list(values), 0)
        split = wire.split(values)
        for schema_id in self._boundary.missing(split.groups):
            self._boundary.close(schema_id, Reason.UNKNOWN_SCHEMA, "no schema of this id")
        return self._boundary.cross(batch, split, _EVERYTHING, NOW_MS)

    def _plan(self, text: bytes) -> None:
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError):
            return
        boundary = self._boundary
        problem = boundary.open(1_000, schema)
        if problem is None:
            self._fates([wire.frame(1_000, bytes(40)), *self._sound])
        boundary.close(1_000, Reason.UNKNOWN_SCHEMA, "")


class _Twin:
    """Reads record by record in Python; what a fuzzer sees of the decoder."""

    def __init__(self, schema: Any) -> None:
        self._schema = parse_schema(_physical(schema))

    def read(self, body: bytes) -> tuple[Any, ...] | None:
        """The leaves of `_LEAVES`, None if the body does not fit."""
        stream = io.BytesIO(body)
        try:
            record: Any = _read_py.schemaless_reader(stream, self._schema, None)
        except Exception:  # it raises whatever the bytes lead it to
            return None
        if stream.tell() != len(body) or _long_winded(body):
            return None
        return tuple(_leaf(record, path.split(".")) for path in _LEAVES)


def _interleaved(sound: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    pairs = zip(sound, [*others, *[None] * len(sound)], strict=False)
    return [each for pair in pairs for each in pair if each is not None]


def _places(others: Sequence[bytes]) -> list[int]:
    """Where `_interleaved` puts them."""
    return list(range(1, 2 * len(others), 2))


def _others(expected: list[Any], others: Sequence[bytes]) -> Iterator[tuple[int, Any]]:
    """Where it puts the sound ones, with what is expected of each."""
    count = len(others)
    return ((row + min(row, count), want) for row, want in enumerate(expected))


def _outcome(decoder: ColumnDecoder, bodies: Sequence[bytes]) -> list[Any]:
    """What becomes of each body: its leaves, or what is wrong with it."""
    decoded = decoder.decode(bodies)
    fates = dict(zip(decoded.rows.tolist(), decoded.frame.rows(), strict=True)) | dict(decoded.bad)
    if len(fates) != len(bodies) or len(fates) != len(decoded.rows) + len(decoded.bad):
        raise Found("a body is not accounted for")
    return [fates[row] for row in range(len(bodies))]


def taken_apart(data: bytes) -> list[bytes]:
    """Records from an input without its first byte."""
    records: list[bytes] = []
    at = 0
    while at < len(data) and len(records) < MOST_RECORDS:
        size = int.from_bytes(data[at : at + 2], "big")
        records.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return records


def put_together(number: int, records: Sequence[bytes]) -> bytes:
    """An input from records of that schema."""
    return bytes([number]) + b"".join(len(each).to_bytes(2, "big") + each for each in records)


class _Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Raises `Found` if anything is written to standard error meanwhile."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        if held.tell():
            raise Found("something was written to standard error")


def _sound() -> list[bytes | None]:
    simulation = Simulation(end=date(2026, 6, 1), listeners=5, plays=80, seed=3)
    plays = [play for chunk in simulation.chunks() for play in chunk]
    public = [play for play in plays if not play["private_session"]][: MOST_RECORDS + 1]
    return list(RecordEncoder(WRITERS[0], 0).encode(public))


def _physical(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _physical(value) for key, value in schema.items() if key != "logicalType"}
    return [_physical(item) for item in schema] if isinstance(schema, list) else schema


def _leaf(record: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        record = None if record is None else record.get(step)
    return record


def _long_winded(body: bytes) -> bool:
    """Whether a number may be written in more bytes than Avro allows."""
    return re.search(rb"[\x80-\xff]{9}", body) is not None


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, tuple | list) and isinstance(right, tuple | list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
