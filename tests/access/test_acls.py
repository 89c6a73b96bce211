"""The access lists as they are written: complete, the least, and the committed script is theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import topics
from streams.app import access
from streams.privacy import policy
from streams.settings import load
from streams.topics import Topic, Zone
from tests.access import granting
from tests.access.granting import Rule

RULES = policy.load(load().policy)
USERS = {user.name: user for user in access.users(RULES)}
EVERY = policy.topics(RULES)
PEOPLE = {"privacy-officer", "raw-operator"}
"""Whose work is in the raw zone."""


def test_the_committed_script_is_what_the_roles_ask_for() -> None:
    assert granting.SCRIPT.read_text() == access.script(RULES), "run `make acls`"


def test_the_script_grants_what_each_user_has_and_nothing_else(tmp_path: Path) -> None:
    wanted = set()
    for user in USERS.values():
        principal = f"User:{user.name}"
        for operation, each in (
            ("Read", user.reads), ("Write", user.writes), ("Delete", user.empties),
        ):  # fmt: skip
            wanted |= {Rule(principal, operation, "topic", x.name, "literal") for x in each}
    rules = granting.rules(granting.asked(tmp_path))
    for_topics = {x for x in rules if x.resource == "topic" and x.name != "*"}
    assert for_topics == wanted
    assert set(rules) - for_topics == {
        Rule("User:gate", "Read", "group", "sottovoce-gate", "literal"),
        Rule("User:taste", "Read", "group", "sottovoce-taste", "literal"),
        Rule("User:taste", "Write", "transactional_id", "sottovoce-taste-", "prefixed"),
        Rule("User:report", "Read", "group", "sottovoce-report", "literal"),
        Rule("User:product-team", "Read", "group", "product-team-", "prefixed"),
        Rule("User:operator", "Create", "topic", "*", "literal"),
        Rule("User:operator", "Describe", "topic", "*", "literal"),
        Rule("User:operator", "DescribeConfigs", "topic", "*", "literal"),
        Rule("User:operator", "Describe", "group", "sottovoce-", "prefixed"),
    }


def test_a_user_may_have_another_name_and_the_tool_another_place(tmp_path: Path) -> None:
    calls = granting.asked(
        tmp_path,
        GATE="User:CN=gate,O=Sotto Voce",
        COMMAND_CONFIG="/etc/admin properties",
        KAFKA_ACLS=str(tmp_path / "kafka-acls.sh"),
    )
    assert calls[0].allow_principal == "User:CN=gate,O=Sotto Voce"
    assert {call.command_config for call in calls} == {"/etc/admin properties"}
    assert "User:gate" not in {call.allow_principal for call in calls}


def test_the_script_wants_to_know_the_brokers(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="exit status"):
        granting.asked(tmp_path, BROKERS="")


def readers(topic: Topic) -> set[str]:
    return {name for name, user in USERS.items() if topic in user.reads}


def writers(topic: Topic) -> set[str]:
    return {name for name, user in USERS.items() if topic in user.writes}


@pytest.mark.parametrize("topic", EVERY, ids=lambda topic: topic.name)
def test_only_its_zone_reads_and_writes_a_topic(topic: Topic) -> None:
    allowed = {
        Zone.RAW: {"gate", *PEOPLE},
        Zone.PSEUDONYMOUS: {"gate", "taste", "report", "privacy-officer"},
        Zone.PUBLISHED: {"product-team"},
        Zone.SHARED: {f"partner-{topic.name.removeprefix('shared.')}"},
    }
    assert readers(topic) <= allowed[topic.zone]
    assert writers(topic), "nobody writes it"
    if topic.zone is not Zone.RAW:
        assert writers(topic) <= {"gate", "taste", "report"}


def test_every_topic_that_is_not_written_for_others_has_a_reader() -> None:
    outside = {topics.PRIVACY_RECEIPTS}
    assert [topic.name for topic in {*EVERY} - outside if not readers(topic)] == []


def test_each_listens_has_one_reader() -> None:
    assert readers(topics.LISTENS) == {"taste"}
    assert readers(topics.ANALYTICS_LISTENS) == {"report"}


def test_product_teams_read_profiles_and_clients_write_plays() -> None:
    assert USERS["product-team"].reads == (topics.PROFILES,)
    assert USERS["product-team"].writes == ()
    assert USERS["client"].writes == (topics.PLAYS,)
    assert USERS["client"].reads == ()


def test_only_taste_has_transactions_and_few_may_empty_a_topic() -> None:
    assert [name for name, user in USERS.items() if user.claims] == ["taste"]
    assert {name: user.empties for name, user in USERS.items() if user.empties} == {
        "privacy-officer": (topics.PRIVACY_REKEYS,),
        "operator": (topics.TASTE_STATE,),
    }


def test_a_third_party_reads_its_own_topic_only() -> None:
    partner = access._partner("acme")
    assert partner.reads == (topics.shared("acme"),)
    assert partner == access.User(
        partner.name, partner.purpose, partner.reads, groups="partner-acme-"
    )
