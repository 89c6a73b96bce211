"""The key ring: a file of random seeds, one per epoch, sealed under the master.

::

    master key or Vault ── seals ──► root ── HKDF ──► subjects, digests, the signer: never rotate
                                     seed of epoch 1 ─┐
                                     seed of epoch 2 ─┴ HKDF ──► key per audience, epoch and domain

An epoch ends in two steps. After a rotation the epoch before stays usable until its overlap ends,
so that what is stored under its pseudonyms can move to the new ones. Then it is destroyed: its seed
depends on nothing else, so that without it nobody can compute its pseudonyms again.

A destroyed epoch lives on in backups of the file: they must be destroyed as well.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from streams.errors import KeyMaterialError
from streams.privacy import master, private
from streams.privacy.keys import KEY_BYTES, PseudonymKey
from streams.privacy.master import Master
from streams.privacy.pseudonyms import Pseudonyms
from streams.privacy.ringfile import (
    Epoch,
    State,
    StoredEpoch,
    StoredRing,
    overlap_ends,
    root_key,
)
from streams.settings import Settings

_NAME = "The key ring"
_MAKE = "Make one with `sottovoce keys init`, or correct key_ring"


class Keyring:
    """The keys of every audience in the epochs in use, unsealed. Shows and pickles nothing.

    The same object answers for as long as it is held: load another one when `stamp` changes, or
    when the overlap ends.
    """

    __slots__ = ("_digests", "_keys", "_root", "_seeds", "_subjects", "epochs")

    def __init__(self, root: bytes, epochs: tuple[Epoch, ...], seeds: dict[int, bytes]) -> None:
        """``epochs`` ascend, the current one last; ``seeds`` has those of the epochs in use."""
        self.epochs = epochs
        self._root = root
        self._seeds = seeds
        self._keys: dict[tuple[str, int], PseudonymKey] = {}
        self._subjects = Pseudonyms(root_key(root, "subject"))
        self._digests = Pseudonyms(root_key(root, "digest"))

    @property
    def current(self) -> int:
        """Number of the epoch in which new pseudonyms are made."""
        return self.epochs[-1].number

    @property
    def usable(self) -> tuple[int, ...]:
        """The epochs there are keys for, ascending: two during an overlap, else the current one."""
        return tuple(sorted(self._seeds))

    @property
    def overlap_ends_ms(self) -> int | None:
        """When the epoch before ends; None if none was in use when the ring was loaded."""
        return overlap_ends(self.epochs)

    def key(self, audience: str, epoch: int | None = None) -> PseudonymKey:
        """The key of an audience, by default of the current epoch. The same object each time.

        Raises:
            KeyMaterialError: the epoch is not `usable`; says whether it ended, is destroyed or
                never was.
        """
        number = self.current if epoch is None else epoch
        if number not in self._seeds:
            state = next((each.state for each in self.epochs if each.number == number), None)
            why = "does not exist" if state is None else f"is not in use: {state}"
            raise KeyMaterialError(
                f"Key epoch {number} {why}.", "`sottovoce keys list` shows the epochs there are."
            )
        found = PseudonymKey(audience, number, self._seeds[number])
        return self._keys.setdefault((audience, number), found)

    def subjects(self) -> Pseudonyms:
        """Digests of accounts that outlive every rotation; for the raw zone alone."""
        return self._subjects

    def digest(self, text: str) -> str:
        """A keyed digest of 32 hexadecimal digits, the same in every epoch."""
        return self._digests.hex(text)

    def signer(self) -> Ed25519PrivateKey:
        """The key that signs receipts (RFC 8032), the same in every epoch."""
        return Ed25519PrivateKey.from_private_bytes(root_key(self._root, "sign"))

    def __repr__(self) -> str:
        """Nothing but the class, since a repr ends up in logs."""
        return "Keyring(...)"

    def __reduce__(self) -> str:
        """Refuse to be pickled."""
        raise TypeError("a key ring is not serialized")


def load(settings: Settings, now_ms: int | None = None) -> Keyring:
    """Read the ring and unseal what is in use at ``now_ms`` (None: by the clock).

    Raises:
        KeyMaterialError: master or ring is missing, weak, readable by others, or one does not fit
            the other. Says what is wrong and what to do, never what it read.
    """
    opened = _open(settings)
    epochs = opened.ring.shown(_clock() if now_ms is None else now_ms)
    used = {each.number for each in epochs if each.state in (State.CURRENT, State.OVERLAP)}
    return Keyring(opened.root, epochs, opened.seeds(used))


def stamp(settings: Settings) -> object:
    """Something that compares equal for as long as the file is the same; cheap, opens nothing.

    Raises:
        KeyMaterialError: the settings name no ring.
    """
    try:
        found = path_of(settings).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def path_of(settings: Settings) -> Path:
    """The ring file that the settings name.

    Raises:
        KeyMaterialError: they name none.
    """
    if settings.key_ring is not None:
        return settings.key_ring
    if settings.key_file is not None:
        return beside(settings.key_file)
    if settings.key is None and settings.vault_url is None:
        raise master.missing()
    raise KeyMaterialError(
        "key_ring is not set, and there is no key_file to find the ring beside.",
        "Set key_ring to a file on a disk of the gate.",
    )


def beside(key_file: Path) -> Path:
    """Where the ring is if the settings do not say."""
    return key_file.with_name(f"{key_file.name}.ring")


def create(path: Path, sealer: Master, now_ms: int | None = None) -> None:
    """Make a ring with a first epoch, for its owner alone.

    Raises:
        KeyMaterialError: it is there already, or cannot be written; the master cannot be used.
    """
    root = secrets.token_bytes(KEY_BYTES)
    first = StoredEpoch(
        number=1,
        created_at=_clock() if now_ms is None else now_ms,
        seed=sealer.seal(secrets.token_bytes(KEY_BYTES)),
    )
    private.create(path, StoredRing.of(root, sealer.seal(root), (first,)).content(), _NAME)


def rotate(settings: Settings, now_ms: int) -> int:
    """Begin an epoch; the one before ends ``rotation_overlap_s`` later. Returns its number.

    Raises:
        KeyMaterialError: an overlap is under way, another command changes the ring, or `load`'s.
    """
    with _changing(settings) as opened:
        ring = opened.ring
        if overlap_ends(ring.shown(now_ms)) is not None:
            raise KeyMaterialError(
                f"The overlap of key epoch {ring.epochs[-2].number} is still under way.",
                "`sottovoce keys list` shows when it ends; only then rotate again.",
            )
        old = ring.epochs[-1]
        ends_at = now_ms + round(settings.rotation_overlap_s * 1_000)
        new = StoredEpoch(
            number=old.number + 1,
            created_at=now_ms,
            seed=opened.sealer.seal(secrets.token_bytes(KEY_BYTES)),
        )
        ended = old.model_copy(update={"ends_at": ends_at})
        epochs = (*ring.epochs[:-1], ended, new)
        content = StoredRing.of(opened.root, ring.root, epochs).content()
        private.replace(opened.path, content, _NAME)
    return new.number


def check_destruction(settings: Settings, epoch: int, now_ms: int, *, force: bool = False) -> None:
    """Whether `destroy` would be allowed to; raises what it raises, and changes nothing."""
    _refuse(_open(settings).ring, epoch, now_ms, force=force)


def destroy(settings: Settings, epoch: int, now_ms: int, *, force: bool = False) -> None:
    """Remove the seed of an old epoch for good. What was destroyed before stays as it is.

    The blocks of the old file are overwritten, as far as the disk lets them be (see
    `private.replace`). Backups of the file keep the seed: destroy them too. What is left is sealed
    anew; so with Vault, rotate the transit key before, and raise its ``min_decryption_version``
    after, and no older copy of the ring can be opened any more.

    Raises:
        KeyMaterialError: it is the current epoch or never was; an overlap is under way and not
            ``force``; another command changes the ring; or `load`'s.
    """
    with _changing(settings) as opened:
        _refuse(opened.ring, epoch, now_ms, force=force)
        seeds = opened.seeds({each.number for each in opened.ring.epochs if each.seed} - {epoch})
        epochs = tuple(
            each.model_copy(
                update={"seed": opened.sealer.seal(seeds[each.number])}
                if each.number in seeds
                else {"seed": None, "destroyed_at": each.destroyed_at or now_ms}
            )
            for each in opened.ring.epochs
        )
        ring = StoredRing.of(opened.root, opened.sealer.seal(opened.root), epochs)
        private.replace(opened.path, ring.content(), _NAME, wipe=True)


def verify(settings: Settings) -> int:
    """Unseal every seed there is, in use or not, and seal one on trial. Returns how many.

    Raises:
        KeyMaterialError: as `load`.
    """
    opened = _open(settings)
    opened.sealer.unseal(opened.sealer.seal(secrets.token_bytes(KEY_BYTES)))
    return len(opened.seeds({each.number for each in opened.ring.epochs if each.seed}))


@dataclass(frozen=True, slots=True, repr=False)
class _Opened:
    """A ring whose root is unsealed and which is what was written under it."""

    path: Path
    sealer: Master
    ring: StoredRing
    root: bytes

    def seeds(self, numbers: set[int]) -> dict[int, bytes]:
        """The seeds of epochs that are not destroyed."""
        return {
            each.number: self.sealer.unseal(each.seed)
            for each in self.ring.epochs
            if each.seed is not None and each.number in numbers
        }


def _open(settings: Settings) -> _Opened:
    sealer = master.of(settings)
    path = path_of(settings)
    try:
        ring = StoredRing.model_validate_json(private.read(path, _NAME, _MAKE))
    except ValidationError:  # its message holds what was read
        raise _damaged(path) from None
    root = sealer.unseal(ring.root)
    if not ring.is_authentic(root):
        raise _damaged(path)
    return _Opened(path, sealer, ring, root)


@contextmanager
def _changing(settings: Settings) -> Iterator[_Opened]:
    _open(settings)  # what is wrong is said before a lock is made
    with private.changing(path_of(settings), _NAME):
        yield _open(settings)


def _refuse(ring: StoredRing, epoch: int, now_ms: int, *, force: bool) -> None:
    shown = ring.shown(now_ms)
    found = next((each for each in shown if each.number == epoch), None)
    if found is None:
        raise KeyMaterialError(
            f"There is no key epoch {epoch}.", "`sottovoce keys list` shows those there are."
        )
    if found.state is State.CURRENT:
        raise KeyMaterialError(
            f"Key epoch {epoch} is the current one.", "First `sottovoce keys rotate`."
        )
    if overlap_ends(shown) is not None and not force:
        raise KeyMaterialError(
            "An overlap is still under way: listeners are moving to their new pseudonyms.",
            "Wait for its end, which `sottovoce keys list` shows. --force loses the history of "
            "those who have not moved.",
        )


def _damaged(path: Path) -> KeyMaterialError:
    return KeyMaterialError(
        f"{_NAME} {path} is damaged or was changed by something else.",
        "Put back the newest copy; without one, what was stored cannot be recognized again.",
    )


def _clock() -> int:
    return time.time_ns() // 1_000_000
