"""The inventory says what plans do: held against plans by running them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import topics
from streams.privacy import stores, tags
from streams.privacy.expressions import COLUMN_TYPES
from streams.privacy.inventory import Fate, Inventory, output_topic
from streams.privacy.keys import PseudonymKey
from streams.privacy.permission import READS
from streams.privacy.plan import Plan, compile_plan
from streams.privacy.policy import Policy
from streams.privacy.treatments import (
    VARIANTS,
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
from streams.privacy.wording import described
from streams.topics import DAY_MS, Zone
from tests.privacy.parties import (
    COMMITTED,
    FIDES_CATEGORIES,
    FIDES_USES,
    RADIO,
    SCHEMAS,
    SETTINGS,
    taken,
    treating,
    with_radio,
)

PLAY = SCHEMAS["play"]
LEAVES = tags.leaves(PLAY)
ONE_OF_EACH: tuple[Treatment, ...] = (
    Drop(),
    Pseudonymize("hex"),
    Generalize("device_class", "other"),
    BucketEdges((1, 2)),
    BucketWidth(5),
    TruncateTime("hour"),
    TruncateAddress(24, 48),
    TruncatePoint(1),
    Keep(),
)

# Two values of each type that differ under every treatment there is, and play on both sides of
# every derivation's rule.
VALUES: dict[str, tuple[Any, Any]] = {
    "string": ("Sony Headphones", "Acme earbuds"),
    "boolean": (True, False),
    "int": (400_000, 1_000),
    "long": (1_790_000_000_000, 1_600_000_000_000),
    "double": (51.5, -33.9),
    "array<string>": (["folk"], ["rock", "pop"]),
}
SPECIAL = {"end_reason": ("fwdbtn", "trackdone")}


def plan(rules: Policy, audience: str) -> Plan:
    listen = SCHEMAS[output_topic(audience, rules).schema]
    key = PseudonymKey(audience, 1, bytes(range(32)))
    return compile_plan(PLAY, PLAY, listen, rules, key, SETTINGS.listen_rule)


def values(path: str) -> tuple[Any, Any]:
    return SPECIAL.get(path, VALUES[LEAVES[path].type])


def frames() -> Iterator[tuple[str, pl.DataFrame]]:
    """For each field, all plays made of the two values of every other field that derivations read,
    doubled by this field's two values."""
    varied = ("ms_played", "track.duration_ms", "end_reason", "skipped")
    for path in LEAVES:
        rows = [{name: values(name)[0] for name in LEAVES}]
        for name in varied:
            rows = [{**row, name: value} for row in rows for value in (*values(name), None)]
        rows = [{**row, path: value} for row in rows for value in values(path)]
        schema = {name: COLUMN_TYPES[leaf.type] for name, leaf in LEAVES.items()}
        yield path, pl.DataFrame(rows, schema=schema, orient="row")


FRAMES = dict(frames())


def changed(compiled: Plan, path: str) -> set[str]:
    """Columns of the listens that differ somewhere with nothing but this field of the play."""
    listens = compiled.treat(FRAMES[path])
    ones, others = listens.gather_every(2, 0), listens.gather_every(2, 1)
    return {name for name in listens.columns if not ones[name].equals(others[name])}


def assert_true(rules: Policy, inventory: Inventory) -> None:
    for use in inventory.uses:
        compiled = plan(rules, use.audience)
        for field in inventory.fields:
            fate = field.fates[use.audience]
            assert changed(compiled, field.path) == {*fate.into, *fate.feeds}, field.path
            assert isinstance(fate.treatment, Drop) == (not fate.into)


def test_a_listen_depends_on_what_the_inventory_says_and_on_nothing_else() -> None:
    rules = with_radio()
    assert_true(rules, taken(rules))


DIFFERENT: dict[str, list[Treatment]] = {
    "EVENT_TIME": [TruncateTime("second"), TruncateTime("day"), Keep()],
    "PLAYBACK_AMOUNT": [Keep(), Drop(), BucketWidth(7_000), TruncateTime("minute")],
    "PLAYBACK_END": [Keep(), Drop()],
    "DEVICE_MODEL": [Keep(), Drop(), Pseudonymize("hex"), Generalize("device_class", "rest")],
    "COUNTRY": [Keep(), Drop(), Pseudonymize("hex")],
    "ARTIST": [Keep(), Pseudonymize("hex"), Generalize("device_class", "other")],
    "GENRE": [Keep(), Drop()],
    "CONTEXT_TYPE": [Keep(), Drop()],
    "FILE": [Keep(), Pseudonymize("hex")],
    "IP_ADDRESS": [Keep(), TruncateAddress(24, 48)],
    "GEO_POINT": [Keep(), TruncatePoint(2)],
}


@settings(max_examples=10, deadline=None)
@given(st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in DIFFERENT.items()}))
def test_so_it_is_under_any_policy(changes: dict[str, Treatment]) -> None:
    rules = treating(COMMITTED, "analytics", changes)
    assert_true(rules, taken(rules))


def test_what_consent_and_private_sessions_read_is_said_to_be_used() -> None:
    fields = {field.path: field for field in taken().fields}
    for path in ("user_id", *READS):
        assert "consent" in fields[path].fates["product"].words
    assert fields["location.country"].fates["product"].words.endswith("then dropped")
    assert "private session" in fields["private_session"].fates["product"].words
    assert fields["track.title"].fates["product"].words == "dropped"


def test_every_field_of_a_play_is_there_with_doc_tags_and_categories() -> None:
    inventory = taken()
    assert [field.path for field in inventory.fields] == list(LEAVES)
    for field in inventory.fields:
        assert field.doc, field.path
        assert set(field.tags) == LEAVES[field.path].tags
        assert field.categories, field.path
        assert field.fates.keys() == COMMITTED.audiences.keys()


def test_categories_and_uses_are_those_of_fides() -> None:
    inventory = taken(with_radio())
    held = [*inventory.raw, *inventory.requests, *(s for use in inventory.uses for s in use.stores)]
    found = [field.categories for field in inventory.fields]
    found += [store.categories for store in held]
    found += [column.categories for use in inventory.uses for column in use.columns]
    assert {name for names in found for name in names} <= FIDES_CATEGORIES
    assert {use.data_use for use in inventory.uses} <= FIDES_USES


def test_a_third_party_has_a_topic_of_its_own_and_gets_what_its_policy_keeps() -> None:
    inventory = taken(with_radio(FR=True))
    radio = next(use for use in inventory.uses if use.audience == RADIO)
    assert radio.third_party
    assert [store.name for store in radio.stores] == ["shared.radio"]
    carried = {column.name for column in radio.columns if not column.derived}
    assert carried == {"listener", "started_at", "artist", "artist_mbid", "genres"}
    assert "user.location.imprecise" not in radio.categories
    assert "user.unique_id" not in radio.categories
    assert (radio.undecided, dict(radio.jurisdictions)) == (False, {"FR": True})
    assert not radio.by_consent
    assert all(use.by_consent for use in inventory.uses if not use.third_party)


def test_every_topic_is_accounted_for() -> None:
    inventory = taken()
    held = [*inventory.raw, *inventory.requests, *(s for use in inventory.uses for s in use.stores)]
    names = [store.name for store in held]
    assert len(names) == len(set(names))
    assert {topic.name for topic in topics.ALL} == set(names) - {"warehouse", "release"}


def test_a_rejected_record_holds_what_a_play_holds_and_the_catalogue_nothing_personal() -> None:
    raw = {store.name: store for store in taken().raw}
    assert raw["plays.rejected"].categories == raw["plays"].categories
    assert "user.content.private" in raw["plays"].categories
    assert raw["catalogue"].categories == ()
    assert all(store.zone is Zone.RAW for store in raw.values())


def test_categories_are_inherited_as_tags_are() -> None:
    inner = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    schema = json.loads(json.dumps(PLAY))
    schema["fields"] = [
        {"name": "x", "type": inner, stores.CATEGORIES: ["user.device"]},
        {"name": "y", "type": {"type": "array", "items": "R"}, stores.CATEGORIES: ["user.social"]},
        {"name": "z", "type": "string", "confluent:tags": ["IP_ADDRESS"]},
    ]
    assert stores.categories_of(schema) == {
        "x.a": ("user.device",),
        "y[].a": ("user.social",),
        "z": (),
    }


def test_retention_follows_the_topics() -> None:
    for topic in topics.ALL:
        words = stores.kept(topic)
        if topic.retention_ms is None:
            assert topic.key in words
        else:
            assert words.startswith(f"{topic.retention_ms // DAY_MS} days, ")
            longest = int(words.split(", ")[1].split()[0])
            assert longest * DAY_MS > topic.retention_ms


@pytest.mark.parametrize("logical", [None, "timestamp-millis"])
def test_every_treatment_has_words_of_its_own(logical: str | None) -> None:
    assert {type(each) for each in ONE_OF_EACH} == set(VARIANTS)
    said = [described(each, logical, ("a", "b"), (), ()) for each in ONE_OF_EACH]
    assert len(set(said)) == len(said)
    used = [described(each, logical, ("a", "b"), ("skipped",), ()) for each in ONE_OF_EACH]
    assert all("to work out skipped" in words for words in used)


def test_a_fate_shows_whether_the_gate_reads_the_field() -> None:
    assert not Fate(Drop(), (), (), (), (), "").used
    assert Fate(Drop(), (), ("skipped",), (), (), "").used
