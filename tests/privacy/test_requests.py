"""Requests: what is refused, and what each asks of whom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.avro.encode import RecordEncoder
from streams.avro.schemas import schema_id
from streams.errors import Reason
from streams.privacy import requests
from streams.privacy.boundary import listener_names
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.privacy.requests import Address, Refusal, Request
from streams.privacy.standing import MINUTE_MS, Exclusion
from tests.privacy.petitions import THIRD_PARTY, policy, ring, schemas

NOW = 1_700_000_000_000
RECORD: dict[str, Any] = {
    "request_id": "r-1",
    "user_id": "canary-user",
    "action": "erase",
    "requested_at": NOW - 1,
    "exclude_artist": None,
    "exclude_from": None,
    "exclude_until": None,
}


def addresses(*, overlap: bool = False) -> tuple[Address, ...]:
    return requests.addresses(policy(), schemas(), ring(overlap=overlap))


def request(action: str, **fields: Any) -> Request:
    found = requests.parse({**RECORD, "action": action, **fields}, NOW)
    assert isinstance(found, Request)
    return found


@pytest.mark.parametrize(
    ("fields", "reason", "named"),
    [
        ({"request_id": ""}, Reason.INVALID_VALUE, "request_id"),
        ({"request_id": "canary" * 100}, Reason.INVALID_VALUE, "request_id"),
        ({"user_id": None}, Reason.INVALID_VALUE, "user_id"),
        ({"user_id": " "}, Reason.INVALID_VALUE, "user_id"),
        ({"user_id": "canary" * 1_000}, Reason.INVALID_VALUE, "user_id"),
        ({"user_id": "canary\ud800"}, Reason.INVALID_VALUE, "user_id"),
        ({"action": "canary"}, Reason.INVALID_VALUE, "action"),
        ({"requested_at": None}, Reason.INVALID_VALUE, "requested_at"),
        ({"requested_at": -1}, Reason.INVALID_VALUE, "requested_at"),
        ({"requested_at": NOW + 1}, Reason.IMPOSSIBLE_TIME, "requested_at"),
        ({"action": "exclude"}, Reason.MISSING_FIELD, "exclude_artist"),
        ({"action": "exclude", "exclude_artist": " "}, Reason.INVALID_VALUE, "exclude_artist"),
        ({"action": "exclude", "exclude_from": 10**18}, Reason.INVALID_VALUE, "exclude_from"),
        (
            {"action": "exclude", "exclude_from": 5, "exclude_until": 5},
            Reason.INVALID_VALUE,
            "exclude_from",
        ),
    ],
)
def test_a_malformed_one_is_refused_by_field_and_without_its_value(
    fields: dict[str, Any], reason: Reason, named: str
) -> None:
    refusal = requests.parse({**RECORD, **fields}, NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is reason
    assert named in refusal.detail
    assert "canary" not in refusal.detail


@given(
    st.fixed_dictionaries(
        {
            name: st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(["exclude"])
            for name in RECORD
        }
    )
)
def test_any_record_is_a_request_or_a_refusal(record: dict[str, Any]) -> None:
    found = requests.parse(record, NOW)
    if isinstance(found, Request):
        assert requests.parse(requests.to_record(found), NOW) == found
        schema = schemas()["privacy-request"]
        RecordEncoder(schema, schema_id(schema)).encode([requests.to_record(found)])


def test_the_time_to_leave_out_grows_to_whole_minutes() -> None:
    found = request("exclude", exclude_from=MINUTE_MS + 1, exclude_until=2 * MINUTE_MS + 1)
    assert found.exclusion == Exclusion(None, MINUTE_MS, 3 * MINUTE_MS)


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize(
    ("action", "audiences"),
    [
        ("erase", {PRODUCT, ANALYTICS}),
        ("export", {PRODUCT, ANALYTICS}),
        ("restrict", {PRODUCT, ANALYTICS}),
        ("lift", {PRODUCT, ANALYTICS}),
        ("exclude", {PRODUCT}),
        ("rekey", set()),
    ],
)
def test_each_store_is_addressed_by_its_pseudonym_in_every_epoch(
    action: str, audiences: set[str], overlap: bool
) -> None:
    keys = ring(overlap=overlap)
    asked = request(action, exclude_artist="A" if action == "exclude" else None)
    found = requests.commands(asked, addresses(overlap=overlap), keys)
    expected = {
        (
            audience,
            listener_names(policy(), schemas(), keys.key(audience, epoch)).hex("canary-user"),
        )
        for audience in audiences
        for epoch in keys.usable
    }
    assert {(each.audience, each.listener) for each in found} == expected
    assert len(found) == len(expected)
    assert {each.action for each in found} <= {action}
    assert {each.before for each in found} <= {asked.before if action == "erase" else None}
    assert asked.before % MINUTE_MS == 0
    schema = schemas()["privacy-command"]
    encoded = RecordEncoder(schema, schema_id(schema)).encode(each.to_record(NOW) for each in found)
    assert not any(b"canary" in each or b"r-1" in each for each in encoded)


def test_digests_join_neither_audiences_nor_epochs_nor_people() -> None:
    def digests(users: Iterable[str]) -> list[str]:
        return [
            command.request
            for user in users
            for command in requests.commands(
                request("erase", user_id=user), addresses(overlap=True), ring(overlap=True)
            )
        ]

    found = digests(["u", "v"])
    assert len(set(found)) == 8
    assert found == digests(["u", "v"])
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in found)


def test_a_withdrawn_consent_reaches_its_purpose_only() -> None:
    for purpose, audiences in (
        ("personalization", {PRODUCT}),
        ("analytics", {ANALYTICS}),
        ("sharing", set()),
    ):
        found = requests.revocations("u", purpose, 5 * MINUTE_MS, addresses())
        assert {each.audience for each in found} == audiences
        assert all(each.request == requests.NOT_ANSWERED for each in found)
        assert all((each.action, each.before) == ("erase", 5 * MINUTE_MS) for each in found)


def test_third_parties_are_told_by_their_own_pseudonyms() -> None:
    keys = ring(overlap=True)
    names = {
        listener_names(policy(), schemas(), keys.key(THIRD_PARTY, epoch)).hex("u")
        for epoch in keys.usable
    }
    everywhere = requests.deletions("u", addresses(overlap=True))
    assert set(everywhere) == {(THIRD_PARTY, name) for name in names}
    assert requests.deletions("u", addresses(overlap=True), "sharing") == everywhere
    assert requests.deletions("u", addresses(overlap=True), "analytics") == ()


def test_a_rekey_moves_own_audiences_during_an_overlap_only() -> None:
    assert requests.rekeys(request("rekey"), addresses(), ring(overlap=False)) == ()
    keys = ring(overlap=True)
    found = requests.rekeys(request("rekey"), addresses(overlap=True), keys)
    for each in found:
        old, new = (
            listener_names(policy(), schemas(), keys.key(each.audience, epoch)).hex("canary-user")
            for epoch in (1, 2)
        )
        assert (each.old, each.new, each.epoch) == (old, new, 2)
    assert {each.audience for each in found} == {PRODUCT, ANALYTICS}
    assert requests.rekeys(request("erase"), addresses(overlap=True), keys) == ()


def test_nothing_of_it_shows() -> None:
    assert "canary" not in repr(request("erase"))
