"""The policy is taken whole or not at all, and the strictest of a leaf's tags decides."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import PolicyError
from streams.privacy import policy
from streams.privacy.policy import Policy
from streams.privacy.tags import Leaf
from streams.privacy.treatments import (
    BucketEdges,
    BucketWidth,
    Drop,
    Generalize,
    Keep,
    Pseudonymize,
    Treatment,
    TruncateAddress,
    TruncatePoint,
    TruncateTime,
)
from streams.topics import Zone

COMMITTED = Path(__file__).parents[2] / "schemas" / "policy.toml"
DOCUMENT = tomllib.loads(COMMITTED.read_text(encoding="utf-8"))

TREATMENTS: dict[str, Treatment] = {
    "KEEP": Keep(),
    "DAY": TruncateTime("day"),
    "SECOND": TruncateTime("second"),
    "WIDE": BucketWidth(60),
    "NARROW": BucketWidth(20),
    "CLASS": Generalize("device_class", "other"),
    "ID": Pseudonymize("hex"),
    "NONE": Drop(),
}
RANK = ("NONE", "ID", "CLASS", "WIDE", "NARROW", "DAY", "SECOND", "KEEP")


def holding(treatments: Mapping[str, Treatment]) -> Policy:
    audience = policy.Audience("analytics", "Analysts", "For tests.", treatments)
    return Policy({"analytics": audience}, {}, {"key": "drop", "headers": "drop"})


def leaf(*tags: str, kind: str = "long") -> Leaf:
    return Leaf("some.leaf", kind, frozenset(tags))


def test_the_committed_policy_holds() -> None:
    found = policy.load(COMMITTED)
    assert found.kafka == {"key": "drop", "headers": "drop"}
    assert list(found.lookups["device_class"]) == list(DOCUMENT["lookups"]["device_class"])
    treatments = found.audiences["analytics"].treatments
    assert treatments.keys() == DOCUMENT["audiences"]["analytics"]["treatments"].keys()
    assert treatments["USER_ID"] == Pseudonymize("hex")
    assert treatments["EVENT_TIME"] == TruncateTime("minute")
    assert treatments["DEVICE_MODEL"] == Generalize("device_class", "other")


@pytest.mark.parametrize(
    ("spec", "treatment"),
    [
        ({"do": "keep"}, Keep()),
        ({"do": "drop"}, Drop()),
        ({"do": "pseudonymize", "form": "int64"}, Pseudonymize("int64")),
        ({"do": "truncate", "to": "hour"}, TruncateTime("hour")),
        ({"do": "truncate", "prefix4": 24, "prefix6": 48}, TruncateAddress(24, 48)),
        ({"do": "truncate", "decimals": 1}, TruncatePoint(1)),
        ({"do": "bucket", "edges": [0, 2.5]}, BucketEdges((0, 2.5))),
        ({"do": "bucket", "width": 5}, BucketWidth(5)),
    ],
)
def test_every_treatment_can_be_written(spec: dict[str, object], treatment: Treatment) -> None:
    document = edited("audiences.analytics.treatments.NEW", spec)
    assert policy.parse(document).audiences["analytics"].treatments["NEW"] == treatment


REMOVED = object()


def edited(place: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    *path, last = place.split(".")
    table = document
    for part in path:
        table = table[part]
    if value is REMOVED:
        del table[last]
    else:
        table[last] = value
    return document


PARTNER = {**DOCUMENT["audiences"]["analytics"], "purpose": "sharing", "third_party": True}


def test_a_third_party_gets_a_topic_of_its_own() -> None:
    found = policy.parse(edited("audiences.partner", PARTNER))
    assert found.audiences["partner"].third_party
    assert [topic.name for topic in policy.topics(found) if topic.zone is Zone.SHARED] == [
        "shared.partner"
    ]


def test_a_country_may_differ_by_purpose() -> None:
    found = policy.parse(edited("consent.jurisdictions", {"US": {"analytics": True}}))
    assert found.consent.jurisdictions == {"US": {"analytics": True}}
    assert not any(found.consent.unknown.values())


TREATMENT = "audiences.analytics.treatments.COUNTRY"
MALFORMED = [
    ("kafka", REMOVED),
    ("kafka", "drop"),
    ("kafka.key", REMOVED),
    ("kafka.key", "keep"),
    ("kafka.headers", REMOVED),
    ("kafka.headers", {"do": "drop"}),
    ("kafka.timestamp", "drop"),
    ("audiences", REMOVED),
    ("audiences", {}),
    ("audiences.analytics.purpose", REMOVED),
    ("audiences.analytics.purpose", "curiosity"),
    ("audiences.analytics.purpose", ["analytics"]),
    ("audiences.analytics.description", ""),
    ("audiences.analytics.recipient", REMOVED),
    ("audiences.analytics", REMOVED),
    ("audiences.product", REMOVED),
    ("audiences.analytics", {**DOCUMENT["audiences"]["analytics"], "third_party": True}),
    ("audiences.other", {**DOCUMENT["audiences"]["analytics"]}),
    ("audiences.other", {**DOCUMENT["audiences"]["analytics"], "third_party": True}),
    ("audiences.No Topic", PARTNER),
    ("audiences.partner", {**PARTNER, "third_party": "yes"}),
    ("consent", REMOVED),
    ("consent.unknown", REMOVED),
    ("consent.unknown.sharing", REMOVED),
    ("consent.unknown.sharing", "no"),
    ("consent.unknown.curiosity", False),
    ("consent.jurisdictions", {"Germany": {"analytics": True}}),
    ("consent.jurisdictions", {"DE": {"curiosity": True}}),
    ("consent.jurisdictions", {"DE": True}),
    ("audiences.analytics.treatments", []),
    ("audiences.analytics.default", {"do": "drop"}),
    ("default", "keep"),
    ("lookups.device_class", {}),
    ("lookups.device_class", REMOVED),
    ("lookups.device_class.phone", "phone"),
    ("lookups.device_class.phone", []),
    ("lookups.device_class.phone", [""]),
    (TREATMENT, "keep"),
    (TREATMENT, {}),
    (TREATMENT, {"do": "encrypt"}),
    (TREATMENT, {"do": {"a": 1}}),
    (TREATMENT, {"do": "keep", "form": "hex"}),
    (TREATMENT, {"do": "drop", "unless": "asked"}),
    (TREATMENT, {"do": "pseudonymize"}),
    (TREATMENT, {"do": "pseudonymize", "form": "md5"}),
    (TREATMENT, {"do": "pseudonymize", "form": {}}),
    (TREATMENT, {"do": "truncate"}),
    (TREATMENT, {"do": "truncate", "to": "week"}),
    (TREATMENT, {"do": "truncate", "to": {}}),
    (TREATMENT, {"do": "truncate", "to": "hour", "decimals": 1}),
    (TREATMENT, {"do": "truncate", "prefix4": 24}),
    (TREATMENT, {"do": "truncate", "prefix4": 33, "prefix6": 48}),
    (TREATMENT, {"do": "truncate", "prefix4": 24, "prefix6": -1}),
    (TREATMENT, {"do": "truncate", "prefix4": True, "prefix6": 48}),
    (TREATMENT, {"do": "truncate", "decimals": 7}),
    (TREATMENT, {"do": "truncate", "decimals": 1.0}),
    (TREATMENT, {"do": "generalize", "lookup": "device_class"}),
    (TREATMENT, {"do": "generalize", "lookup": "colour", "otherwise": "other"}),
    (TREATMENT, {"do": "generalize", "lookup": "device_class", "otherwise": ""}),
    (TREATMENT, {"do": "generalize", "lookup": 1, "otherwise": "other"}),
    (TREATMENT, {"do": "bucket"}),
    (TREATMENT, {"do": "bucket", "edges": []}),
    (TREATMENT, {"do": "bucket", "edges": 1}),
    (TREATMENT, {"do": "bucket", "edges": [1, 1]}),
    (TREATMENT, {"do": "bucket", "edges": [2, 1]}),
    (TREATMENT, {"do": "bucket", "edges": ["a"]}),
    (TREATMENT, {"do": "bucket", "edges": [True]}),
    (TREATMENT, {"do": "bucket", "edges": [float("nan")]}),
    (TREATMENT, {"do": "bucket", "edges": [0, float("inf")]}),
    (TREATMENT, {"do": "bucket", "width": 0}),
    (TREATMENT, {"do": "bucket", "width": 1.5}),
    (TREATMENT, {"do": "bucket", "width": 2**31}),
    (TREATMENT, {"do": "bucket", "width": 5, "edges": [1]}),
]


@pytest.mark.parametrize(("place", "value"), MALFORMED)
def test_what_is_malformed_is_refused_by_name(place: str, value: object) -> None:
    with pytest.raises(PolicyError) as error:
        policy.parse(edited(place, value))
    assert place.rpartition(".")[2] in error.value.problem
    assert error.value.remedy


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "policy.toml"
    for content in (None, b"[kafka", b"\xff"):
        if content is not None:
            broken.write_bytes(content)
        with pytest.raises(PolicyError):
            policy.load(broken)


@given(st.sets(st.sampled_from(RANK), min_size=1))
def test_the_strictest_tag_decides(tags: set[str]) -> None:
    strictest = min(tags, key=RANK.index)
    decision = holding(TREATMENTS).treatment_for(leaf(*tags), "analytics")
    assert decision == policy.Decision(TREATMENTS[strictest], strictest)


PAIRS = [  # coarser, finer
    (TruncateTime("hour"), TruncateTime("minute")),
    (TruncateAddress(16, 32), TruncateAddress(24, 48)),
    (TruncateAddress(16, 48), TruncateAddress(24, 48)),
    (TruncatePoint(0), TruncatePoint(2)),
    (BucketWidth(60), BucketWidth(20)),
    (BucketEdges((0, 10)), BucketEdges((0, 5, 10))),
]


@pytest.mark.parametrize(("coarse", "fine"), PAIRS)
def test_of_one_kind_the_coarser_decides(coarse: Treatment, fine: Treatment) -> None:
    for first, second in (("A", "B"), ("B", "A")):
        both = holding({first: coarse, second: fine})
        assert both.treatment_for(leaf("A", "B"), "analytics").treatment == coarse
    assert holding({"A": coarse, "B": coarse}).treatment_for(leaf("A", "B"), "analytics").tag == "A"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TruncateTime("day"), TruncatePoint(0)),
        (TruncateAddress(16, 48), TruncateAddress(24, 32)),
        (BucketWidth(3), BucketWidth(2)),
        (BucketWidth(3), BucketEdges((3,))),
        (BucketEdges((1, 2)), BucketEdges((2, 3))),
        (Generalize("a", "other"), Generalize("b", "other")),
        (Generalize("a", "other"), Generalize("a", "none")),
        (Pseudonymize("hex"), Pseudonymize("int64")),
        (Pseudonymize("hex"), Pseudonymize("hex")),  # under which tag's key?
    ],
)
def test_what_does_not_compare_is_refused(one: Treatment, other: Treatment) -> None:
    both = {"A": one, "B": other}
    with pytest.raises(PolicyError, match=r"some\.leaf"):
        holding(both).treatment_for(leaf("A", "B"), "analytics")
    assert holding({**both, "C": Drop()}).treatment_for(leaf("A", "B", "C"), "analytics").tag == "C"


@pytest.mark.parametrize(
    ("asked", "audience"),
    [
        (leaf(), "analytics"),
        (leaf("UNHEARD_OF"), "analytics"),
        (leaf("NONE", "UNHEARD_OF"), "analytics"),  # even where another tag has it dropped
        (leaf("NONE", kind="recursive"), "analytics"),
        (leaf("KEEP"), "advertisers"),
    ],
)
def test_there_is_no_default(asked: Leaf, audience: str) -> None:
    with pytest.raises(PolicyError) as error:
        holding(TREATMENTS).treatment_for(asked, audience)
    assert error.value.remedy
