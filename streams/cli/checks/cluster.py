"""Brokers and topics, as a survey found them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from streams import topics
from streams.cli.checks.answer import Answer
from streams.cli.survey import Found, Partition, Survey
from streams.settings import Settings
from streams.topics import ENOUGH_REPLICAS, Topic

_CLEANUP = ("cleanup.policy", "retention.ms")
"""What `sottovoce topics create` sets that the notice's promises rest on."""


def brokers(settings: Settings, found: Survey) -> list[Answer]:
    """Whether as many answer as topics have, or shall have, replicas."""
    most = max((each.replicas for each in _partitions(found)), default=0)
    wanted = max(most, settings.replication)
    said = f"{settings.brokers}: {found.brokers} {'broker' if found.brokers == 1 else 'brokers'}"
    if found.brokers < wanted:
        return [
            Answer(
                False,
                f"{said}, but topics have {wanted} replicas",
                "Start the brokers that are missing; one more fault may stop everything.",
            )
        ]
    return [Answer(True, said)]


def kept(settings: Settings, found: Survey, wanted: Sequence[Topic]) -> list[Answer]:
    """Whether the topics are there, as designed, and whole."""
    known = found.topics.keys() | found.hidden
    missing = [topic.name for topic in wanted if topic.name not in known]
    answers = []
    if missing:
        answers.append(
            Answer(False, f"missing: {', '.join(missing)}", "`sottovoce topics create`.")
        )
    there = [(topic, found.topics[topic.name]) for topic in wanted if topic.name in found.topics]
    answers += _alike(found)
    answers += _replicas(settings, there)
    for topic, has in there:
        answers += _cleanup(topic, has)
        answers += _safe(topic, has)
    if not answers:
        answers = [Answer(True, f"all {len(there)} there, as designed, every replica in sync")]
    if found.hidden:
        answers.append(
            Answer(
                None,
                f"hidden from this user: {', '.join(sorted(found.hidden))}",
                "Allow Describe on them.",
            )
        )
    if any(has.config is None for _, has in there):
        answers.append(
            Answer(None, "settings of topics may not be read", "Allow DescribeConfigs on them.")
        )
    return answers


def _partitions(found: Survey) -> Iterator[Partition]:
    for topic in found.topics.values():
        yield from topic.partitions.values()


def _alike(found: Survey) -> list[Answer]:
    counts = {
        topic.name: len(found.topics[topic.name].partitions)
        for topic in topics.PARTITIONED_ALIKE
        if topic.name in found.topics
    }
    if len(set(counts.values())) <= 1:
        return []
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [
        Answer(
            False,
            f"these must have equally many partitions: {told}",
            "Stop the workers, recreate the odd one; of taste-state, by `sottovoce rebuild taste`.",
        )
    ]


def _replicas(settings: Settings, there: Sequence[tuple[Topic, Found]]) -> list[Answer]:
    answers = []

    def those(chosen: Callable[[Partition], bool]) -> str:
        found = []
        for topic, has in there:
            numbers = [str(each) for each, part in sorted(has.partitions.items()) if chosen(part)]
            if numbers:
                found.append(f"{topic.name}/{','.join(numbers)}")
        return ", ".join(found)

    if leaderless := those(lambda each: each.leader < 0):
        answers.append(
            Answer(
                False,
                f"{leaderless}: no leader, nobody reads or writes there",
                "Start a broker that holds a replica in sync of it.",
            )
        )
    if behind := those(lambda each: each.leader > -1 and each.in_sync < each.replicas):
        answers.append(
            Answer(
                False,
                f"{behind}: fewer replicas in sync than there are",
                "A broker is down or behind: start it, or look at its disk and network.",
            )
        )
    if few := those(lambda each: each.replicas < settings.replication):
        answers.append(
            Answer(
                False,
                f"{few}: fewer than {settings.replication} replicas",
                "`kafka-reassign-partitions.sh` adds some; or correct SOTTOVOCE_REPLICATION.",
            )
        )
    return answers


def _cleanup(topic: Topic, has: Found) -> list[Answer]:
    if has.config is None:
        return []
    designed = topic.config()
    return [
        Answer(
            False,
            f"{topic.name}: {name} is {has.config.get(name)}, not {designed[name]}",
            f"`kafka-configs.sh --alter --topic {topic.name} --add-config"
            f" {name}={designed[name]}`{_consequence(topic, name)}",
        )
        for name in _CLEANUP
        if name in designed and has.config.get(name) != designed[name]
    ]


def _safe(topic: Topic, has: Found) -> list[Answer]:
    """Whether a record that is acknowledged is on more than one disk, where there are enough."""
    replicas = max((each.replicas for each in has.partitions.values()), default=0)
    if has.config is None or replicas < ENOUGH_REPLICAS:
        return []
    in_sync = has.config.get("min.insync.replicas", "1")
    if int(in_sync) > 1:
        return []
    return [
        Answer(
            False,
            f"{topic.name}: min.insync.replicas is {in_sync} of {replicas} replicas",
            f"`kafka-configs.sh --alter --topic {topic.name} --add-config"
            f" min.insync.replicas={replicas - 1}`; else a disk that is lost can take"
            " acknowledged records with it.",
        )
    ]


def _consequence(topic: Topic, name: str) -> str:
    if name == "retention.ms":
        return "; the notice promises that time."
    if topic.compacted:
        return "; with time it loses what nothing else holds."
    return "; it keeps for ever what the notice says goes."
