"""What requests are tested with: the committed policy and a third party, key rings, schemas."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache

from streams.avro import schemas as schema_files
from streams.avro.schemas import Schemas
from streams.privacy import policy as policies
from streams.privacy.keyring import Keyring
from streams.privacy.policy import Policy
from streams.privacy.ringfile import Epoch, State
from streams.settings import bundled

THIRD_PARTY = "labels"
_ROOT = bytes(range(100, 132))


@cache
def schemas() -> Schemas:
    return schema_files.load(bundled("schemas"))


@cache
def policy() -> Policy:
    document = tomllib.loads((bundled("schemas") / "policy.toml").read_text("utf-8"))
    product = document["audiences"]["product"]
    document["audiences"][THIRD_PARTY] = {
        "purpose": "sharing",
        "recipient": "Record labels",
        "description": "For tests.",
        "third_party": True,
        "treatments": product["treatments"],
    }
    return policies.parse(document)


def ring(*, overlap: bool) -> Keyring:
    """Epoch 1 alone, or 1 and 2 during the overlap of both; the same keys each time."""
    seeds = {number: bytes(range(number, number + 32)) for number in ((1, 2) if overlap else (1,))}
    first = Epoch(1, State.CURRENT, 0, None, None)
    if not overlap:
        return Keyring(_ROOT, (first,), seeds)
    ending = replace(first, state=State.OVERLAP, ends_ms=10**15)
    return Keyring(_ROOT, (ending, Epoch(2, State.CURRENT, 1, None, None)), seeds)
