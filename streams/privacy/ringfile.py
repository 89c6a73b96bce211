"""The key ring's file: its form, what may be shown of it, and what authenticates it.

A seed stands there sealed, or null once its epoch is destroyed. The root, sealed too, authenticates
the rest: seeds exchanged, dates changed or epochs left out are noticed. An older file put back
whole is not.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streams.privacy.keys import KEY_BYTES, hkdf

_SALT = b"sotto voce root 1"
_Millis = Annotated[int, Field(ge=0, description="Unix milliseconds.")]


class State(StrEnum):
    """What an epoch is good for."""

    CURRENT = "current"
    """New pseudonyms are made in it."""
    OVERLAP = "overlap"
    """What is stored under its pseudonyms moves to the current ones."""
    ENDED = "ended"
    """Not used any more, but its seed is still there."""
    DESTROYED = "destroyed"
    """Its seed is gone."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What may be shown of an epoch. Times are Unix milliseconds."""

    number: int
    state: State
    created_ms: int
    ends_ms: int | None
    """End of the overlap, not included; None for the current epoch."""
    destroyed_ms: int | None


class StoredEpoch(BaseModel):
    """An epoch as the file has it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    number: Annotated[int, Field(ge=1)]
    created_at: _Millis
    ends_at: _Millis | None = None
    destroyed_at: _Millis | None = None
    seed: str | None = Field(repr=False)

    def state(self, now_ms: int) -> State:
        """What it is good for at a time."""
        if self.seed is None:
            return State.DESTROYED
        if self.ends_at is None:
            return State.CURRENT
        return State.OVERLAP if now_ms < self.ends_at else State.ENDED


Epochs = tuple[StoredEpoch, ...]


class StoredRing(BaseModel):
    """The ring as the file has it: epochs from 1 on, of which the last is the current one."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    version: Literal[1]
    root: str = Field(repr=False)
    epochs: Annotated[Epochs, Field(min_length=1)]
    mac: str

    @classmethod
    def of(cls, root: bytes, sealed_root: str, epochs: Epochs) -> StoredRing:
        """The ring of these epochs, authenticated under ``root``."""
        mac = _mac(root, sealed_root, epochs)
        return cls(version=1, root=sealed_root, epochs=epochs, mac=mac)

    @model_validator(mode="after")
    def _consistent(self) -> StoredRing:
        *old, current = self.epochs
        if [each.number for each in self.epochs] != list(range(1, len(self.epochs) + 1)):
            raise ValueError("epochs are not numbered from 1 on")
        if any((each.seed is None) != (each.destroyed_at is not None) for each in self.epochs):
            raise ValueError("an epoch has a seed and is destroyed, or neither")
        if any(each.ends_at is None for each in old):
            raise ValueError("an old epoch has no end")
        if current.seed is None or current.ends_at is not None:
            raise ValueError("the current epoch has ended")
        return self

    def is_authentic(self, root: bytes) -> bool:
        """Whether everything is as it was written under ``root``."""
        return hmac.compare_digest(self.mac.encode(), _mac(root, self.root, self.epochs).encode())

    def content(self) -> bytes:
        """The file."""
        return self.model_dump_json(indent=1).encode() + b"\n"

    def shown(self, now_ms: int) -> tuple[Epoch, ...]:
        """The epochs as they are at a time."""
        return tuple(
            Epoch(
                number=each.number,
                state=each.state(now_ms),
                created_ms=each.created_at,
                ends_ms=each.ends_at,
                destroyed_ms=each.destroyed_at,
            )
            for each in self.epochs
        )


def overlap_ends(epochs: tuple[Epoch, ...]) -> int | None:
    """When the overlap that is under way ends, Unix milliseconds; None if there is none."""
    return next((each.ends_ms for each in epochs if each.state is State.OVERLAP), None)


def root_key(root: bytes, purpose: str) -> bytes:
    """32 bytes for what never rotates, one key per purpose."""
    return hkdf(root, _SALT, purpose.encode(), KEY_BYTES)


def _mac(root: bytes, sealed_root: str, epochs: Epochs) -> str:
    content = json.dumps([sealed_root, [each.model_dump() for each in epochs]], sort_keys=True)
    return hmac.digest(root_key(root, "ring"), content.encode(), "sha256").hex()
