"""The master: keys that are refused, what is sealed opens unchanged or not at all."""

from __future__ import annotations

import base64
import os
import pickle
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from streams import settings
from streams.errors import KeyMaterialError, SettingsError
from streams.privacy import keys, master

MASTER = bytes(range(32))


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@given(st.binary(max_size=100))
def test_what_is_sealed_opens_and_looks_different_each_time(plain: bytes) -> None:
    sealer = master.Local(MASTER)
    sealed = {sealer.seal(plain) for _ in range(3)}
    assert len(sealed) == 3
    assert {master.Local(MASTER).unseal(each) for each in sealed} == {plain}
    assert all(each.isascii() and each.isprintable() for each in sealed)


def test_sealing_is_aes_gcm_under_a_derived_key() -> None:
    sealed = base64.b64decode(master.Local(MASTER).seal(b"seed").removeprefix("local:1:"))
    purpose = b"sotto voce key ring 1"
    key = keys.hkdf(MASTER, b"sotto voce master 1", purpose, 32)
    assert AESGCM(key).decrypt(sealed[:12], sealed[12:], purpose) == b"seed"


@given(st.data())
def test_any_change_is_noticed(data: st.DataObject) -> None:
    sealer = master.Local(MASTER)
    sealed = bytearray(base64.b64decode(sealer.seal(MASTER).removeprefix("local:1:")))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(KeyMaterialError):
        sealer.unseal("local:1:" + base64.b64encode(sealed).decode())


@pytest.mark.parametrize("sealed", ["", "local:1:", "local:1:é", "local:1:AAAA", "local:2:AAAA"])
def test_what_nobody_sealed_is_refused(sealed: str) -> None:
    with pytest.raises(KeyMaterialError):
        master.Local(MASTER).unseal(sealed)


def test_another_master_is_refused_with_the_settings_to_look_at() -> None:
    sealed = master.Local(MASTER).seal(b"seed")
    with pytest.raises(KeyMaterialError, match="not sealed with this master key") as error:
        master.Local(secrets.token_bytes(32)).unseal(sealed)
    assert "key_file" in error.value.remedy
    assert error.value.__suppress_context__
    with pytest.raises(KeyMaterialError, match="vault_url"):
        master.Local(MASTER).unseal("vault:v1:AAAA")


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a_file_open_to_others_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "key", MASTER.hex())
    path.chmod(mode)
    with pytest.raises(KeyMaterialError) as error:
        master.of(settings.load(key_file=path))
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
            master.of(chosen)
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
        master.of(settings.load(key_file=path))


def test_file_link_and_setting_are_the_same_master(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(private(tmp_path / "key", f" {MASTER.hex()}\n"))
    sealed = master.Local(MASTER).seal(b"seed")
    for chosen in (settings.load(key_file=link), settings.load(key=MASTER.hex())):
        assert master.of(chosen).unseal(sealed) == b"seed"


def test_without_a_key_there_is_no_master() -> None:
    with pytest.raises(KeyMaterialError, match="No pseudonym key"):
        master.of(settings.load())


@pytest.mark.parametrize(
    "given",
    [("key", "key_file"), ("key", "vault_url"), ("key_file", "vault_url")],
    ids=" and ".join,
)
def test_two_masters_are_refused(given: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match=" and ".join(given)):
        settings.load(**dict.fromkeys(given, MASTER.hex()))


def test_a_master_shows_nothing() -> None:
    sealer = master.Local(MASTER)
    assert {repr(sealer), str(sealer), f"{sealer}"} == {"Local(...)"}
    with pytest.raises(TypeError, match="not serialized"):
        pickle.dumps(sealer)
