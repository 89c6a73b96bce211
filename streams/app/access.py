"""Who may do what in Kafka: the access lists of all users, as `kafka-acls.sh` sets them.

What a worker reads and writes its role declares; the rest stands here. Kafka denies whatever is not
granted, if ``allow.everyone.if.no.acl.found`` is false. Read and Write imply Describe, and Write on
any topic is enough for an idempotent producer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from streams import topics
from streams.agents.gate import Gate
from streams.agents.report import Report
from streams.agents.taste import Taste
from streams.privacy.policy import Policy
from streams.topics import Topic

_REQUEST_ANSWERS = (topics.PRIVACY_ANSWERS, topics.PRIVACY_RECEIPTS)
_HOLDINGS = (topics.PLAYS, topics.REJECTED, topics.PRIVACY_STANDING, topics.DELIVERIES)


@dataclass(frozen=True, slots=True)
class User:
    """A user of Kafka and what it may do.

    Attributes:
        groups: its consumer group, or what their names begin with if it ends in a hyphen.
        claims: the same for transactional ids.
        empties: topics whose records it may delete, and the topics themselves.
        operates: whether it may create every topic, and see which there are, how they are set and
            how far they are read, without reading any.
    """

    name: str
    purpose: str
    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    groups: str | None = None
    claims: str | None = None
    empties: tuple[Topic, ...] = ()
    operates: bool = False


def users(policy: Policy) -> tuple[User, ...]:
    """Every user there is under ``policy``: workers, people with commands, clients, readers."""
    gate = Gate.writes_under(policy)
    third = (name for name, audience in policy.audiences.items() if audience.third_party)
    return (
        User("gate", "the worker with the key", Gate.reads, gate, "sottovoce-gate"),
        User(
            "taste", "the taste worker", Taste.reads, Taste.writes,
            "sottovoce-taste", claims="sottovoce-taste-",
        ),
        User("report", "the report worker", Report.reads, Report.writes, "sottovoce-report"),
        User("client", "players, headphones and apps", writes=(topics.PLAYS,)),
        User(
            "privacy-officer", "sottovoce consent, privacy and keys",
            (topics.CONSENT, topics.PRIVACY_REQUESTS, *_REQUEST_ANSWERS, *_HOLDINGS),
            (topics.CONSENT, topics.PRIVACY_REQUESTS),
            empties=(topics.PRIVACY_REKEYS,),
        ),
        User(
            "raw-operator", "sottovoce rejected and catalogue",
            (topics.PLAYS, topics.REJECTED), (topics.PLAYS, topics.CATALOGUE),
        ),
        User(
            "operator", "sottovoce topics, doctor and rebuild, monitoring",
            empties=(topics.TASTE_STATE,), operates=True,
        ),
        User("product-team", "who uses profiles", (topics.PROFILES,), groups="product-team-"),
        *map(_partner, third),
    )  # fmt: skip


def _partner(audience: str) -> User:
    name = f"partner-{audience}"
    return User(name, "a third party", (topics.shared(audience),), groups=f"{name}-")


def script(policy: Policy) -> str:
    """A shell script that grants all of it. Ends in a line feed."""
    lines = [_HEAD]
    for user in users(policy):
        variable = re.sub(r"\W", "_", user.name.upper())
        lines += ["", f"# {user.name}: {user.purpose}"]
        lines += [f'grant "${{{variable}:-User:{user.name}}}" {rule}' for rule in _rules(user)]
    return "\n".join(lines) + "\n"


def _rules(user: User) -> Iterator[str]:
    granted = (("Read", user.reads), ("Write", user.writes), ("Delete", user.empties))
    for operation, wanted in granted:
        names = dict.fromkeys(topic.name for topic in wanted)
        if names:
            yield f"--operation {operation} {' '.join(f'--topic {name}' for name in names)}"
    if user.groups is not None:
        yield f"--operation Read --group {_pattern(user.groups)}"
    if user.claims is not None:
        yield f"--operation Write --transactional-id {_pattern(user.claims)}"
    if user.operates:
        yield "--operation Create --operation Describe --operation DescribeConfigs --topic '*'"
        yield f"--operation Describe --group {_pattern('sottovoce-')}"


def _pattern(name: str) -> str:
    return f"{name} --resource-pattern-type prefixed" if name.endswith("-") else name


_HEAD = """\
#!/usr/bin/env bash
# Access lists of Sotto Voce's users, written by `sottovoce topics acls`, which `make acls` runs.
#
#   BROKERS=kafka:9092 COMMAND_CONFIG=admin.properties bash deploy/kafka/acls.sh
#
# It only adds; `kafka-acls.sh --list` shows what is there. A user of another name is given as its
# principal: GATE='User:CN=gate' names the gate by its certificate. Brokers need an authorizer, and
# allow.everyone.if.no.acl.found=false. Analysts have no user: they open releases, which are files.
set -euo pipefail

grant() {
  "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "${BROKERS:?host:port of Kafka}" \\
    ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} --add --allow-principal "$@"
}"""
