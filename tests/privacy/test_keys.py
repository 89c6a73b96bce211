"""Keys: RFC 5869's vectors, a plain HMAC implementation, files made together, nothing shown."""

from __future__ import annotations

import copy
import hmac
import os
import pickle
import secrets
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import settings
from streams.errors import KeyMaterialError
from streams.privacy import keyring, keys

SEED = bytes(range(32))

# RFC 5869, appendix A, the three cases for SHA-256: secret, salt, info, output.
VECTORS = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e59"
        "0e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("secret", "salt", "info", "output"), VECTORS)
def test_hkdf_gives_the_vectors_of_rfc_5869(secret: str, salt: str, info: str, output: str) -> None:
    extracted = bytes.fromhex(secret), bytes.fromhex(salt), bytes.fromhex(info)
    assert keys.hkdf(*extracted, len(output) // 2).hex() == output


def plain_hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block of output."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


parts = st.text(max_size=5)
triples = st.tuples(parts, st.integers(1, 10**6), parts)


@given(st.binary(min_size=32, max_size=32), triples)
def test_derive_is_hkdf_of_parts_with_their_lengths(
    seed: bytes, triple: tuple[str, int, str]
) -> None:
    audience, epoch, domain = triple
    info = b""
    for part in (audience, str(epoch), domain):
        info += len(part.encode()).to_bytes(4, "big") + part.encode()
    assert keys.derive(seed, *triple) == plain_hkdf(seed, b"sotto voce pseudonym 1", info)


@given(triples, triples)
def test_no_two_triples_share_a_key(one: tuple[str, int, str], other: tuple[str, int, str]) -> None:
    assert (keys.derive(SEED, *one) == keys.derive(SEED, *other)) == (one == other)


def test_what_is_created_is_private_random_and_loads(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        path = tmp_path / "new" / "folders" / "key"
        keys.create(path)
        keys.create(tmp_path / "second")
    finally:
        os.umask(previous)
    for file in (path, keyring.beside(path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:2]} == {0o700}
    assert len(bytes.fromhex(path.read_text())) == 32
    assert path.read_text() != (tmp_path / "second").read_text()
    domains = {
        keys.load(settings.load(key_file=file), "analytics").domain("D")
        for file in (path, path, tmp_path / "second")
    }
    assert len(domains) == 2


@pytest.mark.parametrize("there", ["key", "key.ring"])
def test_neither_file_is_ever_overwritten(tmp_path: Path, there: str) -> None:
    keys.create(tmp_path / "key")
    kept = (tmp_path / there).read_text()
    for file in tmp_path.iterdir():
        if file.name != there:
            file.unlink()
    with pytest.raises(KeyMaterialError, match="already") as error:
        keys.create(tmp_path / "key")
    assert kept.strip() not in str(error.value)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {there: kept}


def test_a_key_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyMaterialError, match="cannot be created"):
        keys.create(tmp_path / "file" / "key")


def test_the_current_epoch_gives_the_key(tmp_path: Path) -> None:
    keys.create(tmp_path / "key")
    chosen = settings.load(key_file=tmp_path / "key")
    keyring.rotate(chosen, 0)
    assert keys.load(chosen, "analytics").epoch == 2


def test_a_key_shows_nothing() -> None:
    seed = secrets.token_bytes(32)
    key = keys.PseudonymKey("analytics", 1, seed)
    for shown in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert shown.strip("[]") == "PseudonymKey(...)"
    for serialize in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not serialized"):
            serialize(key)
    with pytest.raises(AttributeError):
        key.epoch = 2  # type: ignore[misc]
