"""HashiCorp Vault's transit engine as the master of the key ring.

The key never leaves Vault: seeds go there to be encrypted and come back when the ring is opened.
The token is read anew for each request, since an agent may renew it. It needs the capability
``update`` on ``transit/encrypt/<vault_key>`` and ``transit/decrypt/<vault_key>``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streams.errors import KeyMaterialError
from streams.privacy import private
from streams.settings import Settings

try:
    import hvac  # type: ignore[import-untyped]  # ships no types
    from hvac import exceptions as refusals
except ImportError:
    raise KeyMaterialError(
        "Vault is configured, but the library for it is not installed.",
        "Install `sotto-voce[vault]`, or set key_file instead of vault_url.",
    ) from None

TIMEOUT_S = 5.0
_MARK = "vault:v"
_PURPOSE = base64.b64encode(b"sotto voce key ring 1").decode("ascii")
_TOKEN_FILE = "The Vault token file"  # noqa: S105 - what messages call it


class Vault:
    """Seals with a key of Vault's transit engine, as associated data the purpose.

    Blocks. Gives up when Vault is silent for `TIMEOUT_S`. A certificate authority of one's own is
    named by Vault's variable ``VAULT_CACERT``.
    """

    __slots__ = ("_key", "_token_file", "_url")

    def __init__(self, url: str, key: str, token_file: Path) -> None:
        self._url = url
        self._key = key
        self._token_file = token_file

    def seal(self, plain: bytes) -> str:
        """Vault's cipher text, which begins with ``vault:v`` and the version of the key."""
        text = base64.b64encode(plain).decode("ascii")
        sealed = self._ask(
            "ciphertext",
            lambda transit: transit.encrypt_data(
                self._key, plaintext=text, associated_data=_PURPOSE
            ),
        )
        if not sealed.startswith(_MARK):
            raise _no_vault()
        return sealed

    def unseal(self, sealed: str) -> bytes:
        """The plain bytes; raises KeyMaterialError if Vault has not sealed them, or not so."""
        if not sealed.startswith(_MARK):
            raise KeyMaterialError(
                "The key ring is not sealed by Vault.",
                "Set key_file or key, with which it was made, instead of vault_url.",
            )
        text = self._ask(
            "plaintext",
            lambda transit: transit.decrypt_data(
                self._key, ciphertext=sealed, associated_data=_PURPOSE
            ),
        )
        try:
            return base64.b64decode(text, validate=True)
        except ValueError:
            raise _no_vault() from None

    def __repr__(self) -> str:
        """Nothing but the class."""
        return "Vault(...)"

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        raise TypeError("a master is not serialized")

    def _ask(self, wanted: str, request: Callable[[Any], Any]) -> str:
        token = _token(self._token_file)
        try:
            # No redirects: the token would be shown to wherever they lead.
            client = hvac.Client(self._url, token=token, timeout=TIMEOUT_S, allow_redirects=False)
            with closing(client.adapter):
                answer = request(client.secrets.transit)
        except Exception as error:  # the library raises whatever an odd answer leads it to
            raise _mapped(error) from None
        try:
            found = answer["data"][wanted]
        except (KeyError, TypeError):
            raise _no_vault() from None
        if not isinstance(found, str):
            raise _no_vault()
        return found


def of(settings: Settings) -> Vault:
    """The Vault that the settings name.

    Raises:
        KeyMaterialError: the address would show the token to the network, or the token file is not
            set, missing, or open to others.
    """
    if settings.vault_token_file is None:
        raise KeyMaterialError(
            "vault_url is set, but vault_token_file is not.",
            "Set it to a file with a token that may use the transit key.",
        )
    url = settings.vault_url or ""
    if not _is_safe(url):
        raise KeyMaterialError(
            "vault_url is not an https address.",
            "Give Vault a certificate; plain http is for this machine alone.",
        )
    _token(settings.vault_token_file)
    return Vault(url, settings.vault_key, settings.vault_token_file)


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "http":
            return parts.scheme == "https" and bool(host)
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _token(path: Path) -> str:
    content = private.read(path, _TOKEN_FILE, "Correct vault_token_file")
    token = content.decode("ascii", "replace").strip()
    if not (token.isascii() and token.isprintable() and token and " " not in token):
        raise KeyMaterialError(
            f"{_TOKEN_FILE} {path} does not hold one token.", "Correct vault_token_file."
        )
    return token


def _mapped(error: Exception) -> KeyMaterialError:
    """What to do about an error of the library, whose own message may quote what was sent."""
    kind = type(error).__name__
    if isinstance(error, refusals.Forbidden | refusals.Unauthorized):
        return KeyMaterialError(
            f"Vault refuses the token: {kind}.",
            "Renew what vault_token_file holds, and allow it to use the key vault_key.",
        )
    if isinstance(error, refusals.InvalidPath | refusals.InvalidRequest):
        return KeyMaterialError(
            f"Vault cannot do this with the transit key: {kind}.",
            "Set vault_key to the key that sealed the ring; `vault secrets enable transit` and "
            "`vault write -f transit/keys/<vault_key>` make a first one.",
        )
    if isinstance(error, refusals.VaultError):
        return KeyMaterialError(
            f"Vault is not ready: {kind}.", "Unseal or mend the Vault that vault_url names."
        )
    if isinstance(error, OSError):  # as are all errors of its HTTP client
        return KeyMaterialError(
            f"Vault does not answer: {kind}.", "Start it, or correct vault_url."
        )
    return _no_vault()


def _no_vault() -> KeyMaterialError:
    return KeyMaterialError(
        "What vault_url names does not answer as Vault's transit engine does.",
        "Correct vault_url: scheme, host and port, without a path.",
    )
