"""The pseudonym key: read, checked, created, and derived per audience, epoch and domain.

The master key is 32 random bytes that only the gate reads. No pseudonym is made with it directly:
each audience, epoch and domain has its own key (HKDF-SHA256, RFC 5869), so that two audiences
cannot join their pseudonyms and an epoch's end makes old ones unlinkable.
"""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streams.errors import KeyMaterialError
from streams.settings import Settings

KEY_BYTES = 32
MIN_DISTINCT = 16
"""Of 32 random bytes fewer than 16 differ once in 10^16; of typed or patterned ones, often."""
_SALT = b"sotto voce pseudonym 1"
_MAKE = "Make one with `sottovoce keys init FILE`"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PseudonymKey:
    """Makes the keys of one audience and epoch. Shows and pickles nothing of the master key."""

    audience: str
    epoch: int
    _master: bytes

    def domain(self, name: str) -> bytes:
        """32 bytes for one domain; equal texts in two domains get unrelated pseudonyms."""
        return derive(self._master, self.audience, self.epoch, name)

    def __repr__(self) -> str:
        """Nothing but the class, since a repr ends up in logs."""
        return "PseudonymKey(...)"

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        raise TypeError("a key is not serialized")


def load(settings: Settings, audience: str) -> PseudonymKey:
    """The key that the settings give, for ``audience`` in the epoch they name.

    Raises:
        KeyMaterialError: no key is set, or it is malformed, weak, or readable by others. Says what
            is wrong and what to do, never what it read.
    """
    return PseudonymKey(audience, settings.key_epoch, _master(settings))


def create(path: Path) -> None:
    """Write a new master key for its owner alone, in folders (where made) of its owner alone.

    Raises:
        KeyMaterialError: the file is there already (a key is never overwritten: the pseudonyms made
            with it would be lost) or cannot be written.
    """
    try:
        for folder in reversed([path.parent, *path.parent.parents]):
            if not folder.exists():
                folder.mkdir(mode=0o700)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyMaterialError(
            f"The key file {path} is there already.", "Keep it, or name another file."
        ) from None
    except OSError as error:
        raise KeyMaterialError(
            f"The key file {path} cannot be created: {error.strerror}.", "Name another file."
        ) from None
    with os.fdopen(file, "w", encoding="ascii") as sink:
        sink.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")
        sink.flush()
        os.fsync(file)


def derive(master: bytes, audience: str, epoch: int, domain: str) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869); each part of ``info`` is preceded by its length, so that
    no two triples give the same one."""
    parts = (audience.encode(), str(epoch).encode(), domain.encode())
    info = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hkdf(master, _SALT, info, KEY_BYTES)


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869): extract, then expand to ``length`` bytes."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def _master(settings: Settings) -> bytes:
    if settings.key is not None:
        return _decoded(settings.key.get_secret_value(), "The setting key")
    if settings.key_file is not None:
        return _decoded(_read(settings.key_file), f"The key file {settings.key_file}")
    raise KeyMaterialError("No pseudonym key is set.", f"{_MAKE} and set key_file to its path.")


def _read(path: Path) -> str:
    try:
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise KeyMaterialError(
            f"The key file {path} cannot be opened: {error.strerror}.",
            f"{_MAKE}, or correct key_file.",
        ) from None
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            raise KeyMaterialError(f"The key file {path} is not a regular file.", f"{_MAKE}.")
        if mode & 0o077:
            raise KeyMaterialError(
                f"The key file {path} is open to its group or to others.",
                f"Run `chmod 600 {path}`; if others may have read it, replace the key.",
            )
        return os.read(file, 4 * KEY_BYTES).decode("ascii", errors="replace")
    finally:
        os.close(file)


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
