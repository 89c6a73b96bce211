"""A short run of the fuzzer, and that it finds what there is to be found."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.fuzz.decoder import LEAK_MB, fuzz, leaked_mb
from tests.fuzz.engine import mutated
from tests.fuzz.target import WHOLE, Found, Target, put_together, taken_apart


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("keys"))


@pytest.mark.slow
def test_a_short_run_finds_nothing(tmp_path: Path) -> None:
    result = fuzz(tmp_path, minutes=20 / 60, seed=random.randrange(2**31))
    assert result.finds == [], f"seed {result.seed}"
    assert result.inputs > 0


@pytest.mark.slow
def test_memory_does_not_grow_over_the_same_inputs(target: Target, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for number, data in enumerate(target.seeds()):
        (tmp_path / "corpus" / f"{number:03}").write_bytes(data)
    assert leaked_mb(tmp_path) < LEAK_MB


@pytest.mark.slow
def test_every_seed_and_its_neighbours_hold(target: Target) -> None:
    rng = random.Random(4)
    for data in target.seeds():
        target.one(data)
        target.one(mutated(rng, data))


def test_inputs_are_taken_apart_as_they_are_put_together() -> None:
    records = [b"", b"a" * 300, b"\x00"]
    assert taken_apart(put_together(3, records)[1:]) == records
    assert taken_apart(b"\x00\x09ab") == [b"ab"]


def test_a_reader_that_loses_a_row_is_found(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = next(iter(target.seeds()))
    monkeypatch.setattr(target, "_fates", lambda values: [None] * len(values))
    with pytest.raises(Found, match="came out otherwise"):
        target.one(bytes([sound[0] | WHOLE]) + sound[1:])


def test_what_is_printed_or_logged_is_found(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_decode", lambda *_: os.write(2, b"a value"))
    with pytest.raises(Found, match="standard error"):
        target.one(b"\x00")
