"""Keys: RFC 5869's vectors, a plain HMAC implementation, files that are refused, nothing shown."""

from __future__ import annotations

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
from streams.privacy import keys

MASTER = bytes(range(32))

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
    master: bytes, triple: tuple[str, int, str]
) -> None:
    audience, epoch, domain = triple
    info = b""
    for part in (audience, str(epoch), domain):
        info += len(part.encode()).to_bytes(4, "big") + part.encode()
    assert keys.derive(master, *triple) == plain_hkdf(master, b"sotto voce pseudonym 1", info)


@given(triples, triples)
def test_no_two_triples_share_a_key(one: tuple[str, int, str], other: tuple[str, int, str]) -> None:
    assert (keys.derive(MASTER, *one) == keys.derive(MASTER, *other)) == (one == other)


def test_what_is_created_is_private_random_and_loads(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        path = tmp_path / "new" / "folders" / "key"
        keys.create(path)
        keys.create(tmp_path / "second")
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:2]} == {0o700}
    assert len(bytes.fromhex(path.read_text())) == 32
    assert path.read_text() != (tmp_path / "second").read_text()
    key = keys.load(settings.load(key_file=path, key_epoch=7), "analytics")
    assert key.domain("D") == keys.derive(bytes.fromhex(path.read_text()), "analytics", 7, "D")


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys.create(path)
    content = path.read_text()
    with pytest.raises(KeyMaterialError, match="already"):
        keys.create(path)
    assert path.read_text() == content


def test_a_key_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyMaterialError, match="cannot be created"):
        keys.create(tmp_path / "file" / "key")


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a_file_open_to_others_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "key", MASTER.hex())
    path.chmod(mode)
    with pytest.raises(KeyMaterialError) as error:
        keys.load(settings.load(key_file=path), "analytics")
    assert f"chmod 600 {path}" in error.value.remedy


WEAK = {
    "empty": "",
    "short": MASTER[:31].hex(),
    "long": MASTER.hex() + "00",
    "not hexadecimal": "g" * 64,
    "not ascii": "é" * 64,
    "zeros": "00" * 32,
    "all equal": "a7" * 32,
    "repeated": MASTER[:8].hex() * 4,
    "fifteen distinct": (MASTER[:15] + bytes(17)).hex(),
}


@pytest.mark.parametrize("text", WEAK.values(), ids=WEAK)
def test_weak_or_malformed_keys_are_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    from_file = settings.load(key_file=private(tmp_path / "key", text))
    from_setting = settings.load(key=text)
    for chosen in (from_file, from_setting):
        with pytest.raises(KeyMaterialError) as error:
            keys.load(chosen, "analytics")
        assert error.value.remedy
        assert not text or text not in str(error.value)
        assert error.value.__suppress_context__ or error.value.__context__ is None


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "device"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    if kind == "folder":
        path.mkdir(mode=0o700)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    elif kind == "device":
        path = Path(os.devnull)
    with pytest.raises(KeyMaterialError):
        keys.load(settings.load(key_file=path), "analytics")


def test_a_link_to_a_private_file_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(private(tmp_path / "key", f" {MASTER.hex()}\n"))
    assert keys.load(settings.load(key_file=link), "a").domain("d") == keys.derive(
        MASTER, "a", 1, "d"
    )


def test_without_a_key_nothing_is_made() -> None:
    with pytest.raises(KeyMaterialError, match="No pseudonym key"):
        keys.load(settings.load(), "analytics")


def test_a_key_shows_nothing() -> None:
    master = secrets.token_bytes(32)
    key = keys.PseudonymKey("analytics", 1, master)
    for shown in (repr(key), str(key), f"{key}", f"{[key]}"):
        assert shown.strip("[]") == "PseudonymKey(...)"
    with pytest.raises(TypeError, match="not serialized"):
        pickle.dumps(key)
    with pytest.raises(AttributeError):
        key.epoch = 2  # type: ignore[misc]
