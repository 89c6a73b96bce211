"""The pseudonym key of an audience and epoch, and how it is derived and first made.

No pseudonym is made with a seed directly: each audience, epoch and domain has its own key
(HKDF-SHA256, RFC 5869), so that two audiences cannot join their pseudonyms. What the seeds are and
where they are kept: `streams.privacy.keyring`; what they are sealed with: `streams.privacy.master`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from streams.errors import KeyMaterialError
from streams.privacy import private
from streams.settings import Settings

KEY_BYTES = 32
_SALT = b"sotto voce pseudonym 1"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PseudonymKey:
    """Makes the keys of one audience and epoch. Shows and pickles nothing of the seed."""

    audience: str
    epoch: int
    _seed: bytes

    def domain(self, name: str) -> bytes:
        """32 bytes for one domain; equal texts in two domains get unrelated pseudonyms."""
        return derive(self._seed, self.audience, self.epoch, name)

    def __repr__(self) -> str:
        """Nothing but the class, since a repr ends up in logs."""
        return "PseudonymKey(...)"

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        raise TypeError("a key is not serialized")


def load(settings: Settings, audience: str) -> PseudonymKey:
    """The key of ``audience`` in the current epoch of the ring that the settings name.

    Raises:
        KeyMaterialError: as `keyring.load`.
    """
    from streams.privacy import keyring  # which is made of the keys above

    return keyring.load(settings).key(audience)


def create(path: Path) -> None:
    """Make a master key and beside it (``.ring`` appended) a ring with a first epoch.

    Both are for their owner alone, in folders (where made) of its owner alone.

    Raises:
        KeyMaterialError: one of them is there already (nothing is ever overwritten: the pseudonyms
            made with it would be lost) or cannot be written.
    """
    from streams.privacy import keyring, master

    ring = keyring.beside(path)
    if ring.exists():
        raise KeyMaterialError(
            f"The key ring {ring} is there already.", "Keep it with its key, or name another file."
        )
    secret = secrets.token_bytes(KEY_BYTES)
    private.create(path, f"{secret.hex()}\n".encode(), master.KEY_FILE)
    keyring.create(ring, master.Local(secret))


def derive(seed: bytes, audience: str, epoch: int, domain: str) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869); each part of ``info`` is preceded by its length, so that
    no two triples give the same one."""
    parts = (audience.encode(), str(epoch).encode(), domain.encode())
    info = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hkdf(seed, _SALT, info, KEY_BYTES)


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869): extract, then expand to ``length`` bytes."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
