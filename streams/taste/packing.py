"""Bodies made smaller: bytes of one place in a row side by side, then LZ4.

Most numbers of a state are far smaller than what they are stored in, and neighbours are alike in
their high bytes, so a table with its bytes transposed is mostly zeros and runs. A body comes to
three fifths of its size. What is read back are the same bytes, whatever LZ4 made of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct, error
from typing import Final
from zlib import adler32

import numpy as np
import pyarrow as pa

_HEAD: Final = Struct("<BqII")
"""Version, offset of `listens` that is included, size of what is packed, checksum of the rest."""
_MOST: Final = 255
"""How much smaller LZ4 can make anything; a larger size is none."""
_LZ4: Final = pa.Codec("lz4_raw")


def packed(
    version: int, offset: int, head: bytes, tables: Iterable[tuple[bytes, int]], tail: bytes
) -> bytes:
    """``tables``, each with the bytes of a row, between ``head`` and ``tail``, in one body."""
    turned = [_turned(table, (-1, width)) for table, width in tables]
    plain = b"".join((head, *turned, tail))
    small: bytes = _LZ4.compress(plain, asbytes=True)
    return _HEAD.pack(version, offset, len(plain), _checksum(len(plain), small)) + small


def unpacked(body: bytes) -> bytes:
    """What was packed, the bytes still transposed.

    Raises:
        ValueError: ``body`` is no such body.
    """
    try:
        *_, size, checksum = _HEAD.unpack_from(body)
        if size > _MOST * len(body):
            raise ValueError("larger than it can be")
        # LZ4 takes what goes on after its end, and pyarrow what ends before ``size``.
        if _checksum(size, body[_HEAD.size :]) != checksum:
            raise ValueError("not what was packed")
        plain: bytes = _LZ4.decompress(body[_HEAD.size :], size, asbytes=True)
    except (error, pa.ArrowException, OSError) as cause:
        raise ValueError("not what was packed") from cause
    return plain


def straight(plain: bytes, head: int, tables: Iterable[tuple[int, int]]) -> bytes:
    """What was packed as it was, from bytes of the head, and of each table and its rows.

    Raises:
        ValueError: it is not that long.
    """
    parts, begin = [plain[:head]], head
    for size, width in tables:
        parts.append(_turned(plain[begin : begin + size], (width, -1)))
        begin += size
    return b"".join((*parts, plain[begin:]))


def _checksum(size: int, small: bytes) -> int:
    return adler32(small, adler32(size.to_bytes(4, "little")))


def _turned(table: bytes, shape: tuple[int, int]) -> bytes:
    return np.frombuffer(table, np.uint8).reshape(shape).T.tobytes()
