"""Pseudonyms: HMAC-SHA256 of a text under the key of its domain, one at a time or by column; and
short digests, keyed BLAKE2b, for what every play has another of."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b, sha256

import numpy as np
import polars as pl

from streams.privacy.keys import PseudonymKey

HEX_DIGITS = 32
REMEMBERED = 65_536
"""Pseudonyms kept at hand per domain, since few listeners send most plays; 20 MB when full."""

SHORT_BYTES = 8

_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Pseudonyms:
    """Digests under one key of at most 64 bytes, HMAC-SHA256 (RFC 2104) unless said otherwise.

    The key's two padded blocks are hashed once and the states copied per text: 0.8 us a text where
    ``hmac.digest`` takes 3.6, which sets up its key each time.
    """

    def __init__(self, key: bytes) -> None:
        """Raises ValueError if the key is longer."""
        if len(key) > _BLOCK:
            raise ValueError("the key is longer than a block")
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = sha256(padded.translate(_INNER)).copy
        self._outer = sha256(padded.translate(_OUTER)).copy
        self._short = blake2b(digest_size=SHORT_BYTES, key=key).copy
        self._hex = lru_cache(REMEMBERED)(self._fresh_hex)

    def digest(self, text: bytes) -> bytes:
        """32 bytes."""
        inner = self._inner()
        inner.update(text)
        outer = self._outer()
        outer.update(inner.digest())
        return outer.digest()

    def hex(self, text: str) -> str:
        """The first 16 bytes as 32 hexadecimal digits; of n listeners two share one with a chance
        of n^2 / 2^129."""
        return self._hex(text)

    def hex_column(self, texts: pl.Series) -> pl.Series:
        """`hex` of each text; null stays null."""
        found = [None if text is None else self._hex(text) for text in texts.to_list()]
        return pl.Series(texts.name, found, dtype=pl.String)

    def int64_column(self, texts: pl.Series) -> pl.Series:
        """BLAKE2b (RFC 7693) of 8 bytes under the key, as a signed number, most significant first;
        null stays null. A third of the time that HMAC takes."""
        digests = b"".join(map(self._short_digest, texts.cast(pl.Binary).to_list()))
        numbers = np.frombuffer(digests, dtype=">i8").astype(np.int64)
        found = pl.Series(texts.name, numbers, dtype=pl.Int64)
        return found.set(texts.is_null(), None) if texts.null_count() else found

    def _short_digest(self, text: bytes | None) -> bytes:
        state = self._short()
        if text is not None:
            state.update(text)
        return state.digest()

    def _fresh_hex(self, text: str) -> str:
        return self.digest(text.encode())[: HEX_DIGITS // 2].hex()


@lru_cache(maxsize=256)
def pseudonyms(key: PseudonymKey, domain: str) -> Pseudonyms:
    """The maker for a domain, which is the tag that has a leaf pseudonymized: the same account gets
    the same pseudonym wherever it stands under the same tag. One per key object and domain."""
    return Pseudonyms(key.domain(domain))
