"""Vault: a stand-in that speaks its protocol, a ring sealed by it, and whatever it may answer."""

from __future__ import annotations

import base64
import json
import pickle
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams import settings
from streams.errors import KeyMaterialError
from streams.privacy import keyring, master, private, vault
from streams.settings import Settings

Answer = tuple[int, Any]


@dataclass
class Transit:
    """As much of Vault's transit engine as there is to speak to (its HTTP API, "Transit")."""

    token: str = field(default_factory=lambda: f"hvs.{secrets.token_urlsafe(24)}")
    versions: dict[str, list[bytes]] = field(default_factory=dict)
    min_decryption_version: int = 1
    url: str = ""
    odd: Answer | None = None
    """What to answer instead, whatever is asked."""
    asked: list[str] = field(default_factory=list)

    def rotate(self, key: str) -> None:
        self.versions.setdefault(key, []).append(secrets.token_bytes(32))

    def answer(self, path: str, token: str | None, body: dict[str, str]) -> Answer:
        self.asked.append(path)
        if self.odd is not None:
            return self.odd
        if token != self.token:
            return 403, {"errors": [f"permission denied for {token}"]}
        *start, operation, key = path.split("/")
        if start != ["", "v1", "transit"] or key not in self.versions:
            return 404, {"errors": []}
        purpose = base64.b64decode(body.get("associated_data", ""))
        if operation == "encrypt":
            return 200, {"data": {"ciphertext": self.encrypt(key, body["plaintext"], purpose)}}
        try:
            return 200, {"data": {"plaintext": self.decrypt(key, body["ciphertext"], purpose)}}
        except (InvalidTag, ValueError, IndexError):
            return 400, {"errors": [f"invalid ciphertext: {body['ciphertext']}"]}

    def encrypt(self, key: str, plaintext: str, purpose: bytes) -> str:
        nonce = secrets.token_bytes(12)
        plain = base64.b64decode(plaintext, validate=True)
        sealed = nonce + AESGCM(self.versions[key][-1]).encrypt(nonce, plain, purpose)
        return f"vault:v{len(self.versions[key])}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, key: str, ciphertext: str, purpose: bytes) -> str:
        _, version, text = ciphertext.split(":")
        number = int(version.removeprefix("v"))
        if number < self.min_decryption_version:
            raise ValueError("ciphertext or signature version is disallowed by policy (too old)")
        sealed = base64.b64decode(text, validate=True)
        plain = AESGCM(self.versions[key][number - 1]).decrypt(sealed[:12], sealed[12:], purpose)
        return base64.b64encode(plain).decode()


@contextmanager
def serving(transit: Transit) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = transit.answer(self.path, self.headers["X-Vault-Token"], body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if status == 307:
                self.send_header("Location", "http://127.0.0.1:1/v1/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        transit.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def transit() -> Iterator[Transit]:
    """A stand-in with the key ``sottovoce``."""
    transit = Transit()
    transit.rotate("sottovoce")
    with serving(transit):
        yield transit


@pytest.fixture
def chosen(transit: Transit, tmp_path: Path) -> Settings:
    """Settings that name it."""
    private.create(tmp_path / "token", f"{transit.token}\n".encode(), "The token")
    return settings.load(
        vault_url=transit.url, vault_token_file=tmp_path / "token", key_ring=tmp_path / "ring"
    )


def test_what_vault_seals_only_vault_opens(transit: Transit, chosen: Settings) -> None:
    sealer = master.of(chosen)
    sealed = sealer.seal(b"\0seed")
    assert sealed.startswith("vault:v1:")
    assert sealed != sealer.seal(b"\0seed")
    assert sealer.unseal(sealed) == b"\0seed"
    transit.rotate("sottovoce")
    assert sealer.seal(b"seed").startswith("vault:v2:")
    assert sealer.unseal(sealed) == b"\0seed"
    transit.versions["sottovoce"] = [bytes(32)]
    with pytest.raises(KeyMaterialError, match="transit key"):
        sealer.unseal(sealed)


def test_what_is_sealed_for_another_purpose_does_not_open(
    transit: Transit, chosen: Settings
) -> None:
    sealed = transit.encrypt("sottovoce", base64.b64encode(b"seed").decode(), b"invoices")
    with pytest.raises(KeyMaterialError, match="transit key"):
        master.of(chosen).unseal(sealed)


def test_a_ring_lives_on_vault(transit: Transit, chosen: Settings) -> None:
    assert chosen.key_ring is not None
    keyring.create(chosen.key_ring, master.of(chosen), 0)
    old = keyring.load(chosen).key("analytics").domain("D")
    keyring.rotate(chosen, 1)
    backup = chosen.key_ring.read_bytes()
    assert keyring.load(chosen, 1).key("analytics", 1).domain("D") == old
    transit.rotate("sottovoce")
    keyring.destroy(chosen, 1, 2, force=True)
    transit.min_decryption_version = 2
    assert keyring.load(chosen, 2).usable == (2,)
    assert keyring.verify(chosen) == 1
    chosen.key_ring.write_bytes(backup)
    with pytest.raises(KeyMaterialError, match="transit key"):
        keyring.load(chosen, 2)


def test_a_renewed_token_is_used(transit: Transit, chosen: Settings) -> None:
    assert chosen.vault_token_file is not None
    sealer = master.of(chosen)
    transit.token = Transit().token
    with pytest.raises(KeyMaterialError, match="refuses the token"):
        sealer.seal(b"seed")
    chosen.vault_token_file.write_text(transit.token)
    assert sealer.unseal(sealer.seal(b"seed")) == b"seed"


ODD: dict[str, tuple[Answer, str]] = {
    "bad request": ((400, {"errors": ["secret"]}), "vault_key"),
    "unauthorized": ((401, {"errors": ["secret"]}), "vault_token_file"),
    "forbidden": ((403, {"errors": ["secret"]}), "vault_token_file"),
    "no such key": ((404, {"errors": []}), "vault_key"),
    "too many": ((429, {"errors": ["secret"]}), "vault_url"),
    "broken": ((500, {"errors": ["secret"]}), "vault_url"),
    "bad gateway": ((502, b"<html>secret</html>"), "vault_url"),
    "sealed": ((503, {"errors": ["Vault is sealed"]}), "vault_url"),
    "teapot": ((418, b"secret"), "vault_url"),
    "elsewhere": ((307, {}), "vault_url"),
    "no content": ((204, b""), "vault_url"),
    "no JSON": ((200, b"secret"), "vault_url"),
    "a list": ((200, ["secret"]), "vault_url"),
    "a list of errors": ((500, ["secret"]), "vault_url"),
    "no data": ((200, {"data": None}), "vault_url"),
    "other data": ((200, {"data": {"plaintext": 5, "ciphertext": 5}}), "vault_url"),
    "no base64": ((200, {"data": {"plaintext": "secret!", "ciphertext": "secret"}}), "vault_url"),
}


@pytest.mark.parametrize(("answer", "setting"), ODD.values(), ids=ODD)
def test_every_refusal_names_a_setting_and_shows_nothing(
    transit: Transit, chosen: Settings, answer: Answer, setting: str
) -> None:
    sealer = master.of(chosen)
    transit.odd = answer
    for attempt in (lambda: sealer.seal(b"plain"), lambda: sealer.unseal("vault:v1:secret")):
        with pytest.raises(KeyMaterialError) as error:
            attempt()
        assert setting in str(error.value)
        assert_shows_nothing(error.value, transit.token)
    assert len(transit.asked) == 2


def assert_shows_nothing(error: KeyMaterialError, token: str) -> None:
    plain = base64.b64encode(b"plain").decode()
    for hidden in (token, "secret!", '"secret', "<html>", plain, "v1:secret"):
        assert hidden not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None


def test_nobody_there_is_an_error(chosen: Settings, transit: Transit) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    closed = chosen.model_copy(update={"vault_url": f"http://127.0.0.1:{port}"})
    with pytest.raises(KeyMaterialError, match=r"does not answer.*vault_url") as error:
        master.of(closed).seal(b"plain")
    assert_shows_nothing(error.value, transit.token)


def test_a_silent_vault_is_given_up(
    chosen: Settings, transit: Transit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(KeyMaterialError, match="does not answer: ReadTimeout") as error:
            master.of(chosen.model_copy(update={"vault_url": url})).seal(b"plain")
    assert_shows_nothing(error.value, transit.token)


@pytest.mark.parametrize(
    "url",
    ["http://vault.example:8200", "vault:8200", "ftp://127.0.0.1", "https://", "http://[", ""],
)
def test_an_address_that_would_show_the_token_is_refused(chosen: Settings, url: str) -> None:
    with pytest.raises(KeyMaterialError, match="vault_url is not an https address"):
        master.of(chosen.model_copy(update={"vault_url": url}))


@pytest.mark.parametrize(
    "url", ["https://vault.example:8200", "http://[::1]:1", "http://localhost"]
)
def test_https_or_this_machine_is_fine(chosen: Settings, url: str) -> None:
    assert repr(master.of(chosen.model_copy(update={"vault_url": url}))) == "Vault(...)"


def _missing(path: Path) -> None:
    path.unlink()


def _open_to_others(path: Path) -> None:
    path.chmod(0o644)


def _empty(path: Path) -> None:
    path.write_text("\n")


def _two_lines(path: Path) -> None:
    path.write_text("hvs.one\nX-Evil: 1\n")


def _no_ascii(path: Path) -> None:
    path.write_text("hvs.schlüssel")


@pytest.mark.parametrize("spoil", [_missing, _open_to_others, _empty, _two_lines, _no_ascii])
def test_a_token_file_that_will_not_do_is_refused(
    chosen: Settings, transit: Transit, spoil: Callable[[Path], None]
) -> None:
    assert chosen.vault_token_file is not None
    spoil(chosen.vault_token_file)
    with pytest.raises(KeyMaterialError, match="token file") as error:
        master.of(chosen)
    assert "hvs." not in str(error.value)
    assert transit.asked == []


def test_without_a_token_file_there_is_no_vault(chosen: Settings) -> None:
    with pytest.raises(KeyMaterialError, match="vault_token_file is not"):
        master.of(chosen.model_copy(update={"vault_token_file": None}))


def test_without_the_library_the_extra_is_named(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.delitem(sys.modules, "streams.privacy.vault")
    monkeypatch.delattr("streams.privacy.vault")
    with pytest.raises(KeyMaterialError, match=r"sotto-voce\[vault\]"):
        master.of(chosen)


def test_a_ring_of_the_other_master_is_named(chosen: Settings) -> None:
    sealed = master.Local(bytes(range(32))).seal(b"seed")
    with pytest.raises(KeyMaterialError, match=r"not sealed by Vault.*key_file"):
        master.of(chosen).unseal(sealed)


def test_vault_shows_nothing(chosen: Settings) -> None:
    sealer = master.of(chosen)
    assert {repr(sealer), str(sealer), f"{sealer}"} == {"Vault(...)"}
    with pytest.raises(TypeError, match="not serialized"):
        pickle.dumps(sealer)
