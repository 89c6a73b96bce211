"""What the key ring is sealed with: a master key of 32 bytes, or HashiCorp Vault.

The master never makes a pseudonym. It only seals the seeds that do, so that the ring file is worth
nothing without it.
"""

from __future__ import annotations

import base64
import secrets
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.errors import KeyMaterialError
from streams.privacy import private
from streams.privacy.keys import KEY_BYTES, hkdf
from streams.settings import Settings

MIN_DISTINCT = 16
"""Of 32 random bytes fewer than 16 differ once in 10^16; of typed or patterned ones, often."""
KEY_FILE = "The key file"
_NONCE_BYTES = 12
_SALT = b"sotto voce master 1"
_PURPOSE = b"sotto voce key ring 1"
_MARK = "local:1:"
_MAKE = "Make one with `sottovoce keys init FILE`"


class Master(Protocol):
    """Seals secrets so that only who has the master opens them, and only unchanged."""

    def seal(self, plain: bytes) -> str:
        """Printable ASCII; different at each call.

        Raises:
            KeyMaterialError: the master cannot be used.
        """

    def unseal(self, sealed: str) -> bytes:
        """What was sealed.

        Raises:
            KeyMaterialError: the master cannot be used, is another one, or ``sealed`` was changed.
        """


class Local:
    """Seals with AES-256-GCM (NIST SP 800-38D) under a key derived from the master key."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(hkdf(key, _SALT, _PURPOSE, KEY_BYTES))

    def seal(self, plain: bytes) -> str:
        """A random nonce, the cipher text and its tag, in base64."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, plain, _PURPOSE)
        return _MARK + base64.b64encode(sealed).decode("ascii")

    def unseal(self, sealed: str) -> bytes:
        """The plain bytes; raises KeyMaterialError if the key is another or the text changed."""
        if not sealed.startswith(_MARK):
            raise KeyMaterialError(
                "The key ring is not sealed with a master key.",
                "Set vault_url, if Vault sealed it, instead of key_file or key.",
            )
        try:
            given = base64.b64decode(sealed.removeprefix(_MARK), validate=True)
            return self._cipher.decrypt(given[:_NONCE_BYTES], given[_NONCE_BYTES:], _PURPOSE)
        except (InvalidTag, ValueError):
            raise KeyMaterialError(
                "The key ring is not sealed with this master key, or was changed since.",
                "Set key_file (or key) and key_ring to a pair that was made together.",
            ) from None

    def __repr__(self) -> str:
        """Nothing but the class."""
        return "Local(...)"

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        raise TypeError("a master is not serialized")


def of(settings: Settings) -> Master:
    """The master that the settings name, its key checked.

    Raises:
        KeyMaterialError: none is named, or the key is malformed, weak, or readable by others. Says
            what is wrong and what to do, never what it read.
    """
    if settings.key is not None:
        return Local(_decoded(settings.key.get_secret_value(), "The setting key"))
    if settings.key_file is not None:
        content = private.read(settings.key_file, KEY_FILE, f"{_MAKE}, or correct key_file")
        return Local(
            _decoded(content.decode("ascii", "replace"), f"{KEY_FILE} {settings.key_file}")
        )
    if settings.vault_url is not None:
        from streams.privacy import vault  # which needs a library that is an optional extra

        return vault.of(settings)
    raise missing()


def missing() -> KeyMaterialError:
    """What to say if the settings name no master."""
    return KeyMaterialError("No pseudonym key is set.", f"{_MAKE} and set key_file to its path.")


def _decoded(text: str, source: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise KeyMaterialError(f"{source} is not hexadecimal.", f"{_MAKE}.") from None
    if len(key) != KEY_BYTES:
        raise KeyMaterialError(
            f"{source} does not have {2 * KEY_BYTES} hexadecimal digits.", f"{_MAKE}."
        )
    if len(set(key)) < MIN_DISTINCT:
        raise KeyMaterialError(f"{source} is not random: too few of its bytes differ.", f"{_MAKE}.")
    return key
