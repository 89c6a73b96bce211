"""Looks for a value in bytes in every form in which it might have got there."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import duckdb


def forms(value: str | float) -> dict[str, bytes]:
    """Needles for a value: text, hex, base64 at each alignment, URL-encoded, unsalted digests."""
    text = (value if isinstance(value, str) else repr(value)).encode()
    found = {
        "text": text,
        "hex": text.hex().encode(),
        "HEX": text.hex().upper().encode(),
        "url": quote(text, safe="").encode(),
        "utf-16": text.decode().encode("utf-16-le"),
    }
    for shift in range(3):
        found |= {
            f"base64+{shift}": _inner(base64.b64encode(b"\0" * shift + text), shift, len(text)),
            f"base64url+{shift}": _inner(
                base64.urlsafe_b64encode(b"\0" * shift + text), shift, len(text)
            ),
        }
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, text, usedforsecurity=False)
        found |= {name: digest.digest(), f"{name} hex": digest.hexdigest().encode()}
        found[f"{name} base64"] = base64.b64encode(digest.digest()).rstrip(b"=")
    if isinstance(value, float):
        found |= {
            "double": struct.pack("<d", value),
            "double, big-endian": struct.pack(">d", value),
        }
    return found


def _inner(encoded: bytes, shift: int, length: int) -> bytes:
    """The characters of a base64 text that depend on the needle alone, not on what is around."""
    return encoded[-(-shift * 8 // 6) : (shift + length) * 8 // 6]


def find(values: Mapping[str, str | float], haystacks: Iterable[tuple[str, bytes]]) -> set[str]:
    """``field, form in haystack`` for each needle found."""
    needles = {
        f"{field} as {form}": needle
        for field, value in values.items()
        for form, needle in forms(value).items()
    }
    return {
        f"{name} in {place}"
        for place, haystack in haystacks
        for name, needle in needles.items()
        if needle in haystack
    }


def database(path: Path, scratch: Path) -> Iterator[tuple[str, bytes]]:
    """A DuckDB file as its rows and as the bytes of an uncompressed copy of it."""
    copy = scratch / f"{path.stem}-uncompressed.duckdb"
    with duckdb.connect() as connection:
        connection.execute("PRAGMA force_compression = 'uncompressed'")
        connection.execute(f"ATTACH '{path}' AS original (READ_ONLY)")
        connection.execute(f"ATTACH '{copy}' AS plain")
        connection.execute("COPY FROM DATABASE original TO plain")
        connection.execute("CHECKPOINT plain")
        tables = connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'plain'"
        ).fetchall()
        for (table,) in tables:
            rows = connection.execute(f"FROM plain.{table}").fetchall()
            yield f"{path.name}, rows of {table}", repr(rows).encode()
    yield f"{path.name}, bytes", path.read_bytes()
    yield f"{path.name}, bytes of an uncompressed copy", copy.read_bytes()
