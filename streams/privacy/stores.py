"""Where data is held, of which categories it is, and for how long."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streams import topics
from streams.avro.schemas import Schema, Schemas
from streams.privacy import tags
from streams.settings import Settings
from streams.topics import DAY_MS, Topic, Zone

CATEGORIES = "fides:data_categories"
PSEUDONYM = "user.unique_id.pseudonymous"
PREFERENCES = "user.privacy_preferences"
LISTENING = "user.behavior.media_consumption"

INTAKE = (topics.PLAYS.name, topics.REJECTED.name)
"""What holds plays as they came; the rest of the raw zone is about what listeners ask for."""
_WHOLE_RECORD = "RAW_RECORD"
"""Tag of what holds a whole raw record, and so all that it is made of."""
_SEGMENT_MS = 7 * DAY_MS
"""Kafka's own ``segment.ms``: a record goes when the newest of its segment may go."""

Categories = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Store:
    """Somewhere data is held: a topic, or files of the report role."""

    name: str
    zone: Zone
    holds: str
    kept: str
    lasts: bool
    """Whether nothing but a request, a revocation or a successor ends it: no span of time does."""
    categories: Categories
    """Fides categories of the data about persons in it; empty where there is none."""


def union(many: Iterable[Iterable[str]]) -> Categories:
    """Every name once, in order."""
    return tuple(sorted({name for names in many for name in names}))


def kept(topic: Topic) -> str:
    """How long a record of ``topic`` is there, in words, from the settings it is created with."""
    settings = topic.config()
    if topic.retention_ms is None:
        days = _days(int(settings["segment.ms"]) + int(settings["max.compaction.lag.ms"]))
        return f"the newest per {topic.key}, until it is deleted (gone within {days})"
    longest = topic.retention_ms + int(settings.get("segment.ms", _SEGMENT_MS))
    return f"{_days(topic.retention_ms)}, {math.ceil(longest / DAY_MS)} at most"


def of_topic(topic: Topic, categories: Categories) -> Store:
    """A topic that holds these."""
    return Store(topic.name, topic.zone, topic.purpose, kept(topic), topic.compacted, categories)


def raw(schemas: Schemas) -> tuple[Store, ...]:
    """The topics of the raw zone, with what their schemas say is in them."""
    return tuple(
        of_topic(topic, _all_categories(schemas[topic.schema], schemas[topics.PLAYS.schema]))
        for topic in topics.ALL
        if topic.zone is Zone.RAW
    )


def product(categories: Categories) -> tuple[Store, ...]:
    """What is made for the audience product."""
    made = (topics.LISTENS, topics.TASTE_STATE, topics.PROFILES)
    return tuple(of_topic(topic, categories) for topic in made)


def analytics(categories: Categories, settings: Settings) -> tuple[Store, ...]:
    """What is made for the audience analytics."""
    warehouse = Store(
        "warehouse",
        Zone.PSEUDONYMOUS,
        "plays added up per listener and day",
        "until the listener takes back consent or asks for erasure",
        True,
        categories,
    )
    release = Store(
        "release",
        Zone.PUBLISHED,
        f"figures about groups of at least {settings.min_listeners} listeners",
        f"until the next release, {settings.release_s:g} seconds later",
        True,
        (),
    )
    return (of_topic(topics.ANALYTICS_LISTENS, categories), warehouse, release)


def requests(categories: Categories) -> tuple[Store, ...]:
    """The topics by which stores learn of requests and answer them; an answer to an export holds
    what the store holds, ``categories``."""
    return (
        of_topic(topics.PRIVACY_COMMANDS, union([(PSEUDONYM, PREFERENCES, LISTENING)])),
        of_topic(topics.PRIVACY_REKEYS, (PSEUDONYM,)),
        of_topic(topics.PRIVACY_ANSWERS, union([categories, (PREFERENCES,)])),
    )


def categories_of(schema: Schema) -> dict[str, Categories]:
    """Fides data categories of each leaf, inherited the way tags are."""
    found = tags.leaves(_categories_as_tags(schema))
    return {path: tuple(sorted(leaf.tags)) for path, leaf in found.items()}


def _all_categories(schema: Schema, play: Schema) -> Categories:
    whole = any(_WHOLE_RECORD in leaf.tags for leaf in tags.leaves(schema).values())
    return union(
        (*categories_of(schema).values(), *(categories_of(play).values() if whole else ()))
    )


def _categories_as_tags(node: object) -> object:
    """A schema in which the categories stand where the tags stood."""
    if isinstance(node, list):
        return [_categories_as_tags(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    left = {key: _categories_as_tags(value) for key, value in node.items() if key not in _TAGS}
    return left | ({tags.TAGS: node[CATEGORIES]} if CATEGORIES in node else {})


_TAGS = (tags.TAGS, tags.METADATA)


def _days(span_ms: int) -> str:
    days = math.ceil(span_ms / DAY_MS)
    return f"{days} day" if days == 1 else f"{days} days"
