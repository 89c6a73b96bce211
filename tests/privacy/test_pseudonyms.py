"""Pseudonyms are HMAC-SHA256, short ones BLAKE2b; by column as one at a time; null stays null."""

from __future__ import annotations

import hmac
from hashlib import blake2b

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.privacy.keys import PseudonymKey
from streams.privacy.pseudonyms import Pseudonyms, pseudonyms

KEY = bytes(range(32))

texts = st.text(st.characters(codec="utf-8"))
columns = st.lists(st.none() | texts)

# RFC 4231, cases 1 to 4: key, data, HMAC-SHA-256.
VECTORS = [
    ("0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("aa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        bytes(range(1, 26)).hex(),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
]


@pytest.mark.parametrize(("key", "data", "digest"), VECTORS)
def test_digests_are_those_of_rfc_4231(key: str, data: bytes, digest: str) -> None:
    assert Pseudonyms(bytes.fromhex(key)).digest(data).hex() == digest


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_digests_are_those_of_the_standard_library(key: bytes, data: bytes) -> None:
    maker = Pseudonyms(key)
    assert maker.digest(data) == hmac.digest(key, data, "sha256")
    assert maker.digest(data) == hmac.digest(key, data, "sha256")  # states are not used up


def test_a_key_longer_than_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="block"):
        Pseudonyms(bytes(65))


@given(columns)
def test_columns_hold_the_pseudonym_of_each_text(values: list[str | None]) -> None:
    maker = Pseudonyms(KEY)
    column = pl.Series("c", values, dtype=pl.String)
    digests = [v if v is None else hmac.digest(KEY, v.encode(), "sha256") for v in values]
    assert maker.hex_column(column).to_list() == [d and d[:16].hex() for d in digests]
    assert maker.hex_column(column).to_list() == [v if v is None else maker.hex(v) for v in values]
    short = [v if v is None else blake2b(v.encode(), digest_size=8, key=KEY) for v in values]
    assert maker.int64_column(column).to_list() == [
        d if d is None else int.from_bytes(d.digest(), "big", signed=True) for d in short
    ]
    assert maker.int64_column(column).dtype == pl.Int64
    assert maker.hex_column(column).dtype == pl.String


@given(texts)
def test_domains_epochs_and_audiences_are_unrelated(text: str) -> None:
    keys = [PseudonymKey(*of, KEY) for of in (("a", 1), ("b", 1), ("a", 2))]
    found = {pseudonyms(key, domain).hex(text) for key in keys for domain in ("X", "Y")}
    assert len(found) == 6


def test_one_maker_per_key_and_domain() -> None:
    key = PseudonymKey("a", 1, KEY)
    assert pseudonyms(key, "X") is pseudonyms(key, "X")
    assert pseudonyms(key, "X") is not pseudonyms(PseudonymKey("a", 1, KEY[::-1]), "X")
