"""Receipts: when one is due, what it says, and what a changed one is worth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from streams.avro.encode import RecordEncoder
from streams.avro.schemas import schema_id
from streams.privacy import receipts
from streams.privacy.policy import ANALYTICS, PRODUCT
from streams.privacy.receipts import Answer, Issued
from streams.privacy.requests import ACTIONS, Request
from streams.topics import DAY_MS
from tests.privacy.petitions import ring, schemas

AT = 1_700_000_000_000
EXPECTED = {
    "erase": {
        (PRODUCT, "taste-state"),
        (PRODUCT, "taste-profiles"),
        (ANALYTICS, "warehouse"),
        (ANALYTICS, "release"),
    },
    "exclude": {(PRODUCT, "taste-state"), (PRODUCT, "taste-profiles")},
    "restrict": {(PRODUCT, "taste-profiles"), (ANALYTICS, "release")},
    "lift": {(PRODUCT, "taste-profiles"), (ANALYTICS, "release")},
    "export": {(PRODUCT, "taste-state"), (ANALYTICS, "warehouse")},
}


def answer(audience: str, store: str, **fields: Any) -> Answer:
    given = {"removed": 3, "remaining": 0, "check": "rows", "finished_at": AT + 5_000}
    return Answer("d", audience, store, **{**given, **fields})


def erased(user: str = "canary-user") -> dict[str, Any]:
    return receipts.body(
        Request("r-1", user, "erase", AT),
        [Issued(PRODUCT, "erase", AT + 10), Issued(ANALYTICS, "erase", AT + 20)],
        [answer(audience, store) for audience, store in sorted(EXPECTED["erase"])],
        0,
        ["labels"],
    )


def test_the_stores_that_must_answer_are_those_that_have_a_part() -> None:
    found = {
        action: {(audience, store) for audience, stores in by.items() for store in stores}
        for action, by in receipts.STORES.items()
    }
    assert found == EXPECTED
    assert set(found) | {"rekey"} == set(ACTIONS)


@given(st.data())
def test_it_is_due_when_every_store_answered_every_command(data: st.DataObject) -> None:
    action = data.draw(st.sampled_from(sorted(EXPECTED)))
    issued = {
        f"{audience}{epoch}": Issued(audience, action, AT)
        for audience in {audience for audience, _ in EXPECTED[action]}
        for epoch in range(data.draw(st.integers(1, 2)))
    }
    wanted = {
        (digest, store)
        for digest, each in issued.items()
        for audience, store in EXPECTED[action]
        if audience == each.audience
    }
    given_ = data.draw(st.sets(st.sampled_from(sorted(wanted))))
    assert receipts.outstanding(issued, given_ | {("other", "warehouse")}) == wanted - given_


def test_the_second_answer_to_a_command_hides_nothing_of_the_first() -> None:
    first = answer(PRODUCT, "taste-state", removed=7, remaining=1, finished_at=1)
    again = answer(PRODUCT, "taste-state", removed=0, remaining=0, finished_at=2)
    expected = answer(PRODUCT, "taste-state", removed=7, remaining=0, finished_at=2)
    assert first.combined(again) == expected
    assert again.combined(first) == expected


def test_it_lists_every_store_and_what_time_removes_and_names_nobody() -> None:
    body = erased()
    assert {(each["audience"], each["store"]) for each in body["stores"]} == EXPECTED["erase"]
    assert body["finished_at"] == AT + 5_000
    elsewhere = {each["store"]: each for each in body["elsewhere"]}
    for topic in ("plays", "plays.rejected"):
        assert AT + 7 * DAY_MS <= elsewhere[topic]["until"] <= AT + 14 * DAY_MS
    for topic in ("listens", "listens.analytics"):
        assert elsewhere[topic]["until"] >= AT + 30 * DAY_MS
    assert elsewhere["consent"]["remaining"] == 0
    assert elsewhere["shared.labels"] == {
        "store": "shared.labels",
        "how": "deletion asked for",
        "at": AT + 10,
    }
    assert elsewhere["privacy-standing"]["how"] == "kept"
    assert "canary" not in json.dumps(body)


def test_only_an_erasure_speaks_of_what_goes_by_itself() -> None:
    body = receipts.body(
        Request("r", "u", "restrict", AT), [Issued(PRODUCT, "restrict", AT)],
        [answer(PRODUCT, "taste-profiles")], 0, ["labels"],
    )  # fmt: skip
    assert body["elsewhere"] == []


def test_a_signature_is_over_canonical_json_and_by_the_key_that_it_names() -> None:
    record = receipts.sign(erased(), ring(overlap=False))
    assert receipts.verify(record)
    text = record["body"]
    assert text == json.dumps(
        json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    key = ring(overlap=True).signer().public_key()
    assert key.public_bytes_raw() == record["public_key"]  # the same in every epoch
    Ed25519PublicKey.from_public_bytes(record["public_key"]).verify(
        record["signature"], text.encode()
    )
    schema = schemas()["privacy-receipt"]
    RecordEncoder(schema, schema_id(schema)).encode([record])


@given(st.data())
def test_a_changed_receipt_does_not_verify(data: st.DataObject) -> None:
    record = receipts.sign(erased(), ring(overlap=False))
    name = data.draw(st.sampled_from(["body", "signature", "public_key"]))
    raw = record[name].encode() if name == "body" else record[name]
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 127))]) + raw[at + 1 :]
    try:
        record[name] = changed.decode() if name == "body" else changed
    except UnicodeDecodeError:
        return
    assert not receipts.verify(record)


@pytest.mark.parametrize(
    "fields", [{"request_id": "other"}, {"signature": b""}, {"public_key": b"x"}, {"body": ""}]
)
def test_what_does_not_belong_together_does_not_verify(fields: dict[str, Any]) -> None:
    assert not receipts.verify({**receipts.sign(erased(), ring(overlap=False)), **fields})
    assert not receipts.verify({})
