"""What `doctor` makes of a survey: each fault it can see is named, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streams import topics
from streams.agents.role import Place
from streams.app import faults
from streams.cli.checks import cluster, groups, work
from streams.cli.checks.answer import Answer
from streams.cli.survey import INPUTS, Found, Group, Partition, Span, Survey
from streams.errors import BrokerError
from streams.settings import Settings, load
from streams.topics import PLAYS, TASTE_STATE, Topic

WHOLE = Partition(1, 1, 1)


def survey(**changes: Any) -> Survey:
    """One broker, every topic with two partitions, gate at the end of 10 records in each."""
    found = {
        topic.name: Found({0: WHOLE, 1: WHOLE}, {**topic.config(), "x": "y"})
        for topic in topics.ALL
    }
    spans = {(topic.name, number): Span(0, 10) for topic in topics.ALL for number in (0, 1)}
    groups_ = {
        role: Group("Stable", ("127.0.0.1",), {(topic.name, n): 10 for topic in of for n in (0, 1)})
        for role, of in INPUTS.items()
    }
    return replace(Survey(1, found, spans, groups_), **changes)


def at(base: Survey, role: str, **changes: Any) -> Survey:
    group = replace(base.groups[role], **changes)
    return replace(base, groups={**base.groups, role: group})


def behind(base: Survey, place: Place, offset: int, role: str = "gate") -> Survey:
    return at(base, role, committed={**base.groups[role].committed, place: offset})


def with_topic(base: Survey, topic: Topic, **changes: Any) -> Survey:
    found = replace(base.topics[topic.name], **changes)
    return replace(base, topics={**base.topics, topic.name: found})


def failing(answers: list[Answer]) -> list[str]:
    assert all(each.remedy for each in answers if each.fine is False)
    return [each.found for each in answers if each.fine is False]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(data=tmp_path)


def test_where_all_is_well_nothing_fails(settings: Settings) -> None:
    found = survey()
    told = [*cluster.brokers(settings, found), *cluster.kept(settings, found, topics.ALL)]
    for role in INPUTS:
        told += groups.work(found, found, role, 2.0)
    assert [each.fine for each in told] == [True] * 5


def test_too_few_brokers(settings: Settings) -> None:
    wanted = settings.model_copy(update={"replication": 3})
    assert "3 replicas" in failing(cluster.brokers(wanted, survey()))[0]
    three = with_topic(survey(brokers=2), PLAYS, partitions={0: Partition(1, 3, 2)})
    assert "2 brokers" in failing(cluster.brokers(settings, three))[0]


def test_topics_that_are_not_as_designed(settings: Settings) -> None:
    def told(found: Survey) -> list[str]:
        return failing(cluster.kept(settings, found, topics.ALL))

    base = survey()
    missing = replace(base, topics={k: v for k, v in base.topics.items() if k != PLAYS.name})
    assert told(missing) == ["missing: plays"]
    wrong = with_topic(base, TASTE_STATE, config={"cleanup.policy": "delete"})
    assert told(wrong) == ["taste-state: cleanup.policy is delete, not compact"]
    longer = with_topic(base, PLAYS, config={**PLAYS.config(), "retention.ms": "-1"})
    assert told(longer) == ["plays: retention.ms is -1, not 604800000"]
    odd = with_topic(base, TASTE_STATE, partitions={0: WHOLE})
    assert "taste-state 1" in told(odd)[0]
    dead = with_topic(base, PLAYS, partitions={0: WHOLE, 1: Partition(-1, 1, 0)})
    assert told(dead) == ["plays/1: no leader, nobody reads or writes there"]
    of_three = {0: Partition(1, 3, 2), 1: WHOLE}
    thin = with_topic(base, PLAYS, partitions=of_three, config=PLAYS.config(3))
    assert told(thin) == ["plays/0: fewer replicas in sync than there are"]
    three = {0: Partition(1, 3, 3), 1: WHOLE}
    unsafe = with_topic(base, PLAYS, partitions=three)
    assert told(unsafe) == ["plays: min.insync.replicas is 1 of 3 replicas"]
    assert not told(with_topic(base, PLAYS, partitions=three, config=PLAYS.config(3)))
    hidden = with_topic(base, PLAYS, config=None)
    assert [each.fine for each in cluster.kept(settings, hidden, topics.ALL)] == [True, None]


def test_lag_without_a_worker_and_a_worker_that_stands_still() -> None:
    late = behind(survey(), (PLAYS.name, 1), 3)
    gone = at(late, "gate", state="Empty", members=())
    assert failing(groups.work(gone, gone, "gate", 2.0)) == [
        "no worker runs, 7 records wait (plays 7)"
    ]
    assert "nothing was committed" in failing(groups.work(late, late, "gate", 10.0))[0]
    assert not groups.moving(late, late, "gate")
    moved = behind(survey(), (PLAYS.name, 1), 4)
    assert failing(groups.work(late, moved, "gate", 2.0)) == []
    joining = at(late, "gate", state="PreparingRebalance")
    assert failing(groups.work(joining, joining, "gate", 2.0)) == []


def test_what_retention_took_and_topics_made_anew() -> None:
    base = behind(survey(), (PLAYS.name, 0), 2)
    spans = {**base.spans, (PLAYS.name, 0): Span(8, 10)}
    told = failing(groups.work(base, replace(base, spans=spans), "gate", 2.0))
    assert "6 records were removed by retention before gate took them: plays/0 6" in told
    spans = {**base.spans, (PLAYS.name, 1): Span(0, 4)}
    told = failing(groups.made_anew(replace(base, spans=spans), "gate"))
    assert "gate is ahead of the end of plays/1" in told[-1]


async def test_why_workers_stopped(settings: Settings) -> None:
    assert [each.fine for each in await work.noted(settings)] == [True]
    faults.note(settings, "gate", BrokerError("The broker is gone.", "Start it."))
    faults.note(settings, "gate", BrokerError("The broker is gone.", "Start it."))
    faults.note(settings, "taste", ValueError("alice played something"))
    told = await work.noted(settings)
    assert [each.remedy for each in told] == ["Start it.", "Its log has more."]
    assert "2 times: The broker is gone." in told[0].found
    assert told[1].found.endswith(": ValueError")


def test_the_file_of_faults_is_bounded_and_never_stops_a_worker(
    settings: Settings, tmp_path: Path
) -> None:
    for _ in range(4):
        faults.note(settings, "gate", "x" * (faults.LARGEST // 2))
    kept = [file.stat().st_size for file in (settings.data / "faults").iterdir()]
    assert len(kept) == 2
    assert sum(kept) < 3 * faults.LARGEST
    with (settings.data / "faults" / "faults.jsonl").open("a") as file:
        file.write('{"at": 1, "ro')
    assert faults.recent(settings, 0)[-1].role == "gate"
    (tmp_path / "file").touch()
    faults.note(settings.model_copy(update={"data": tmp_path / "file"}), "gate", "no folder")
