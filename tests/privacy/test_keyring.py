"""The key ring: what rotates and what does not, what is destroyed, refused, and never shown."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from streams import settings
from streams.errors import KeyMaterialError
from streams.privacy import keyring, keys, master
from streams.privacy.ringfile import State
from streams.settings import Settings

OVERLAP_S = 10.0
T0, T1 = 1_000_000, 1_010_000
"""A rotation, and the end of its overlap, in Unix milliseconds."""
NAMES = ("USER_ID", "EVENT_ID")


@pytest.fixture
def made(tmp_path: Path) -> Settings:
    """Settings with a master key and a ring of one epoch."""
    keys.create(tmp_path / "key")
    return settings.load(key_file=tmp_path / "key", rotation_overlap_s=OVERLAP_S)


def ring_file(made: Settings) -> Path:
    return keyring.path_of(made)


def secrets_of(made: Settings) -> set[str]:
    """Every form in which a secret of the ring could be shown."""
    assert made.key_file is not None
    key = bytes.fromhex(made.key_file.read_text())
    stored = json.loads(ring_file(made).read_text())
    sealed = [stored["root"], *(each["seed"] for each in stored["epochs"] if each["seed"])]
    plain = [key, *(master.Local(key).unseal(each) for each in sealed)]
    return {
        form
        for each in plain
        for form in (each.hex(), str(each), str(list(each)), base64.b64encode(each).decode())
    } | {*sealed}


def test_a_new_ring_has_one_epoch_in_use(made: Settings) -> None:
    ring = keyring.load(made)
    assert (ring.current, ring.usable, ring.overlap_ends_ms) == (1, (1,), None)
    assert [(each.number, each.state) for each in ring.epochs] == [(1, State.CURRENT)]
    assert ring_file(made).name == "key.ring"


def test_a_rotation_keeps_the_old_key_and_brings_a_new_one(made: Settings) -> None:
    before = keyring.load(made)
    old = {name: before.key("analytics").domain(name) for name in NAMES}
    assert keyring.rotate(made, T0) == 2
    after = keyring.load(made, T0)
    assert (after.current, after.usable, after.overlap_ends_ms) == (2, (1, 2), T1)
    assert {name: after.key("analytics", 1).domain(name) for name in NAMES} == old
    assert {after.key("analytics").domain(name) for name in NAMES}.isdisjoint(old.values())
    assert after.key("analytics").epoch == 2


@pytest.mark.parametrize(
    ("now_ms", "usable"), [(T0, (1, 2)), (T1 - 1, (1, 2)), (T1, (2,)), (T1 + 10**9, (2,))]
)
def test_the_old_epoch_is_of_use_until_the_overlap_ends(
    made: Settings, now_ms: int, usable: tuple[int, ...]
) -> None:
    keyring.rotate(made, T0)
    ring = keyring.load(made, now_ms)
    assert ring.usable == usable
    assert ring.overlap_ends_ms == (T1 if 1 in usable else None)
    if 1 not in usable:
        with pytest.raises(KeyMaterialError, match="epoch 1 is not in use: ended"):
            ring.key("analytics", 1)


def test_what_is_made_of_the_root_never_rotates(made: Settings) -> None:
    before = keyring.load(made)
    message = b"receipt"
    signature = before.signer().sign(message)
    keyring.rotate(made, T0)
    keyring.destroy(made, 1, T1)
    after = keyring.load(made, T1)
    after.signer().public_key().verify(signature, message)
    assert after.subjects().hex("user") == before.subjects().hex("user")
    assert after.digest("user") == before.digest("user")
    assert re.fullmatch("[0-9a-f]{32}", after.digest("user"))
    assert after.digest("user") != after.subjects().hex("user")
    assert after.subjects() is after.subjects()


def test_two_rings_have_nothing_in_common(made: Settings, tmp_path: Path) -> None:
    keys.create(tmp_path / "other")
    one, other = keyring.load(made), keyring.load(settings.load(key_file=tmp_path / "other"))
    assert one.digest("user") != other.digest("user")
    assert one.subjects().hex("user") != other.subjects().hex("user")
    assert one.key("a").domain("D") != other.key("a").domain("D")
    assert one.signer().public_key() != other.signer().public_key()


places = st.tuples(st.text(max_size=4), st.sampled_from([1, 2]), st.text(max_size=4))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=places, other=places)
def test_no_two_audiences_epochs_or_domains_share_a_key(
    rotated: keyring.Keyring, one: tuple[str, int, str], other: tuple[str, int, str]
) -> None:
    found = [rotated.key(audience, epoch).domain(name) for audience, epoch, name in (one, other)]
    assert (found[0] == found[1]) == (one == other)


@pytest.fixture
def rotated(made: Settings) -> keyring.Keyring:
    keyring.rotate(made, T0)
    return keyring.load(made, T0)


def test_the_same_key_is_the_same_object(rotated: keyring.Keyring) -> None:
    assert rotated.key("a") is rotated.key("a", 2)
    assert rotated.key("a") is not rotated.key("a", 1)


def test_no_rotation_within_an_overlap(made: Settings) -> None:
    keyring.rotate(made, T0)
    with pytest.raises(KeyMaterialError, match="epoch 1 is still under way"):
        keyring.rotate(made, T1 - 1)
    assert keyring.rotate(made, T1) == 3
    assert keyring.load(made, T1).usable == (2, 3)


def test_of_two_rotations_at_once_one_is_refused(made: Settings) -> None:
    start, outcomes = threading.Barrier(4), list[int | str]()

    def rotate() -> None:
        start.wait()
        try:
            outcomes.append(keyring.rotate(made, T0))
        except KeyMaterialError as error:
            outcomes.append(error.problem)

    threads = [threading.Thread(target=rotate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(2) == 1
    refusals = [each for each in outcomes if isinstance(each, str)]
    assert all(re.search("another command|still under way", each) for each in refusals)
    assert [each.number for each in keyring.load(made, T0).epochs] == [1, 2]


def test_a_destroyed_epoch_cannot_be_computed_again(made: Settings) -> None:
    sealed = json.loads(ring_file(made).read_text())["epochs"][0]["seed"]
    keyring.rotate(made, T0)
    with ring_file(made).open("rb") as old:
        keyring.destroy(made, 1, T1)
        assert not old.read().strip(b"\0")
    assert sealed not in ring_file(made).read_text()
    assert json.loads(ring_file(made).read_text())["epochs"][0]["seed"] is None
    ring = keyring.load(made, T1)
    assert (ring.usable, ring.overlap_ends_ms) == ((2,), None)
    assert (ring.epochs[0].state, ring.epochs[0].destroyed_ms) == (State.DESTROYED, T1)
    with pytest.raises(KeyMaterialError, match="epoch 1 is not in use: destroyed"):
        ring.key("analytics", 1)
    with pytest.raises(KeyMaterialError, match="epoch 1 is not in use: destroyed"):
        keyring.load(made, T0).key("analytics", 1)


def test_what_is_left_after_a_destruction_is_sealed_anew(made: Settings) -> None:
    keyring.rotate(made, T0)
    before = json.loads(ring_file(made).read_text())
    current = keyring.load(made, T1).key("analytics").domain("D")
    keyring.destroy(made, 1, T1)
    after = json.loads(ring_file(made).read_text())
    assert after["root"] != before["root"]
    assert after["epochs"][1]["seed"] != before["epochs"][1]["seed"]
    assert keyring.load(made, T1).key("analytics").domain("D") == current


def test_what_may_be_destroyed(made: Settings) -> None:
    def refused(epoch: int, now_ms: int, match: str) -> None:
        content = ring_file(made).read_bytes()
        for attempt in (keyring.check_destruction, keyring.destroy):
            with pytest.raises(KeyMaterialError, match=match):
                attempt(made, epoch, now_ms)
        assert ring_file(made).read_bytes() == content

    refused(1, T0, "current")
    refused(2, T0, "no key epoch 2")
    keyring.rotate(made, T0)
    refused(2, T1, "current")
    refused(1, T1 - 1, "overlap")
    keyring.rotate(made, T1)
    refused(1, T1, "overlap")  # the records that link 2 and 3 would go with those of 1 and 2
    keyring.destroy(made, 1, 2 * T1)
    keyring.destroy(made, 1, 3 * T1)
    epochs = keyring.load(made, 3 * T1).epochs
    assert [each.destroyed_ms for each in epochs] == [2 * T1, None, None]


def test_force_ends_an_overlap(made: Settings) -> None:
    keyring.rotate(made, T0)
    keyring.check_destruction(made, 1, T0, force=True)
    keyring.destroy(made, 1, T0, force=True)
    ring = keyring.load(made, T0)
    assert (ring.usable, ring.overlap_ends_ms) == ((2,), None)
    assert keyring.rotate(made, T0) == 3
    with pytest.raises(KeyMaterialError, match="current"):
        keyring.destroy(made, 3, T0, force=True)


def test_the_stamp_changes_with_the_file(made: Settings) -> None:
    stamps = [keyring.stamp(made), keyring.stamp(made)]
    assert stamps[0] == stamps[1] is not None
    keyring.rotate(made, T0)
    stamps.append(keyring.stamp(made))
    keyring.destroy(made, 1, T1)
    stamps.append(keyring.stamp(made))
    ring_file(made).unlink()
    stamps.append(keyring.stamp(made))
    assert len(set(stamps)) == 4


def test_another_master_is_refused(made: Settings, tmp_path: Path) -> None:
    keys.create(tmp_path / "other")
    mixed = settings.load(key_file=tmp_path / "other", key_ring=ring_file(made))
    with pytest.raises(KeyMaterialError, match="not sealed with this master key") as error:
        keyring.load(mixed)
    assert "key_ring" in error.value.remedy


def test_a_ring_put_together_of_two_is_refused(made: Settings, tmp_path: Path) -> None:
    assert made.key_file is not None
    other = tmp_path / "other.ring"
    keyring.create(other, master.of(made), T0)
    one, two = (json.loads(path.read_text()) for path in (ring_file(made), other))
    for mixed in (one | {"epochs": two["epochs"]}, one | {"root": two["root"]}):
        ring_file(made).write_text(json.dumps(mixed))
        with pytest.raises(KeyMaterialError, match="damaged or was changed"):
            keyring.load(made)


@pytest.mark.parametrize("content", ["", "{}", "[]", "\0" * 90, '{"version": 1, "root": "x"}'])
def test_what_is_no_ring_is_refused_and_left_alone(made: Settings, content: str) -> None:
    ring_file(made).write_text(content)
    for use in (keyring.load, keyring.verify, lambda chosen: keyring.rotate(chosen, T0)):
        with pytest.raises(KeyMaterialError, match="damaged or was changed"):
            use(made)
    assert ring_file(made).read_text() == content


def test_a_ring_that_is_missing_or_open_to_others_is_refused(made: Settings) -> None:
    ring_file(made).chmod(0o640)
    with pytest.raises(KeyMaterialError, match="open to its group") as error:
        keyring.load(made)
    assert f"chmod 600 {ring_file(made)}" in error.value.remedy
    ring_file(made).unlink()
    with pytest.raises(KeyMaterialError, match="cannot be opened") as error:
        keyring.load(made)
    assert "sottovoce keys init" in error.value.remedy


def test_without_a_key_the_command_that_makes_one_is_named() -> None:
    for use in (keyring.load, keyring.stamp, keyring.verify):
        with pytest.raises(KeyMaterialError, match="No pseudonym key is set") as error:
            use(settings.load())
        assert "sottovoce keys init" in error.value.remedy


def test_a_key_without_a_file_needs_a_place_for_the_ring(tmp_path: Path) -> None:
    key = secrets.token_hex(32)
    with pytest.raises(KeyMaterialError, match="key_ring is not set"):
        keyring.load(settings.load(key=key))
    chosen = settings.load(key=key, key_ring=tmp_path / "ring")
    keyring.create(tmp_path / "ring", master.of(chosen))
    assert keyring.load(chosen).current == 1


def test_verify_opens_every_seed_in_use_or_not(made: Settings) -> None:
    keyring.rotate(made, T0)
    keyring.rotate(made, T1)
    assert keyring.load(made, 10 * T1).usable == (3,)
    assert keyring.verify(made) == 3
    keyring.destroy(made, 1, 10 * T1)
    assert keyring.verify(made) == 2


def errors_of(made: Settings) -> Iterator[KeyMaterialError]:
    """An error of each kind, from a ring within its overlap."""

    def changed(chosen: Settings) -> None:
        content = ring_file(chosen).read_text()
        ring_file(chosen).write_text(content.replace('"mac": "', '"mac": "0'))
        try:
            keyring.load(chosen)
        finally:
            ring_file(chosen).write_text(content)

    attempts: tuple[Callable[[Settings], object], ...] = (
        lambda chosen: keyring.load(chosen).key("analytics", 9),
        lambda chosen: keyring.rotate(chosen, T0),
        lambda chosen: keyring.destroy(chosen, 1, T0),
        changed,
    )
    for attempt in attempts:
        with pytest.raises(KeyMaterialError) as caught:
            attempt(made)
        yield caught.value


def test_a_ring_shows_nothing(made: Settings) -> None:
    keyring.rotate(made, T0)
    ring = keyring.load(made, T0)
    ring.key("analytics")
    opened = keyring._open(made)
    shown = [repr(ring), str(ring), f"{[ring]}", repr(ring.epochs), repr(opened), str(opened)]
    assert shown[:3] == ["Keyring(...)", "Keyring(...)", "[Keyring(...)]"]
    for error in errors_of(made):
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        shown += [str(error), repr(error)]
    for text in shown:
        assert not [secret for secret in secrets_of(made) if secret in text]
    for serialize in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not serialized"):
            serialize(ring)
