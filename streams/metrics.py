"""Every metric, once: name, kind, unit and meaning. Labels hold topics, partitions and closed
lists, never a value from a record."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

MEDIA_TYPE = CONTENT_TYPE_LATEST
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

PLAYS_READ = Counter(
    "sottovoce_plays_read", "Plays the gate took from Kafka.", ["partition"], registry=REGISTRY
)
LISTENS_WRITTEN = Counter(
    "sottovoce_listens_written",
    "Listens the gate wrote.",
    ["topic", "partition"],
    registry=REGISTRY,
)
REJECTED = Counter(
    "sottovoce_plays_rejected", "Plays sent to plays.rejected.", ["reason"], registry=REGISTRY
)
FILTERED = Counter(
    "sottovoce_plays_filtered",
    "Plays left out on purpose, by rule (private_session, no_consent).",
    ["rule"],
    registry=REGISTRY,
)
TREATED = Counter(
    "sottovoce_fields_treated",
    "Values a treatment was applied to, by audience, tag and treatment.",
    ["audience", "tag", "treatment"],
    registry=REGISTRY,
)
UNKNOWN_FIELDS = Counter(
    "sottovoce_unknown_fields_dropped",
    "Values of fields the committed schema does not know; a schema change went past the policy.",
    registry=REGISTRY,
)
FALLBACK_BATCHES = Counter(
    "sottovoce_fallback_batches",
    "Batches decoded record by record because columnar decoding could not take them.",
    ["topic"],
    registry=REGISTRY,
)
FOLDED = Counter(
    "sottovoce_listens_folded", "Listens a role has included.", ["role"], registry=REGISTRY
)
REPEATED = Counter(
    "sottovoce_listens_repeated",
    "Listens skipped because their play's position was included already.",
    ["role"],
    registry=REGISTRY,
)
DUPLICATES = Counter(
    "sottovoce_duplicates",
    "Listens skipped because a client sent their event before.",
    ["role"],
    registry=REGISTRY,
)
UNREADABLE = Counter(
    "sottovoce_listens_unreadable",
    "Records of listens that do not decode; the gate is the only writer, so this is an alarm.",
    ["role"],
    registry=REGISTRY,
)
SUPPRESSED = Counter(
    "sottovoce_listens_suppressed",
    "Listens dropped because a privacy command about their listener covers them.",
    ["role"],
    registry=REGISTRY,
)
PRIVACY_COMMANDS = Counter(
    "sottovoce_privacy_commands",
    "Privacy commands carried out, by action; rekey is one listener that got a new pseudonym.",
    ["role", "action"],
    registry=REGISTRY,
)
PROFILES_WRITTEN = Counter(
    "sottovoce_profiles_written", "Taste profiles written.", registry=REGISTRY
)
LISTENERS = Gauge("sottovoce_listeners", "Listeners with state in this worker.", registry=REGISTRY)
COMMITTED_OFFSET = Gauge(
    "sottovoce_committed_offset",
    "Next offset to read after a restart.",
    ["topic", "partition"],
    registry=REGISTRY,
)
WRITTEN_OFFSET = Gauge(
    "sottovoce_written_offset",
    "Offset after the last record this worker wrote and the broker acknowledged.",
    ["topic", "partition"],
    registry=REGISTRY,
)
END_OFFSET = Gauge(
    "sottovoce_end_offset",
    "End of the partition as the broker last reported it.",
    ["topic", "partition"],
    registry=REGISTRY,
)
READ_BACK = Counter(
    "sottovoce_read_back_records",
    "Records read outside the consumer group: changelogs, look-backs, what compacted topics hold.",
    registry=REGISTRY,
)
BATCH_RECORDS = Histogram(
    "sottovoce_batch_records",
    "Records in a batch.",
    ["topic"],
    buckets=(1, 10, 100, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
    registry=REGISTRY,
)
HELD_BYTES = Gauge(
    "sottovoce_held_bytes",
    "Memory of records delivered and not finished, bytes; SOTTOVOCE_HELD_MB bounds it.",
    registry=REGISTRY,
)
PREFETCHED_BYTES = Gauge(
    "sottovoce_prefetched_bytes",
    "Records fetched ahead and not yet delivered, bytes as they came from the broker.",
    registry=REGISTRY,
)
FETCHING_PAUSED = Gauge(
    "sottovoce_fetching_paused",
    "1 while fetching pauses because the bound of what is held was reached.",
    registry=REGISTRY,
)
CHECKPOINT_SECONDS = Histogram(
    "sottovoce_checkpoint_seconds",
    "Time to write what a checkpoint holds and have it acknowledged, seconds.",
    ["role"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30),
    registry=REGISTRY,
)
RELEASE_SECONDS = Gauge(
    "sottovoce_release_seconds", "Duration of the last release, seconds.", registry=REGISTRY
)
WAREHOUSE_REWRITE_SECONDS = Gauge(
    "sottovoce_warehouse_rewrite_seconds",
    "Duration of the last rewrite of the warehouse's file after erasures or renames, seconds.",
    registry=REGISTRY,
)
RELEASED_AT = Gauge(
    "sottovoce_released_at", "When the last release was published, Unix seconds.", registry=REGISTRY
)
PRIVACY_REQUESTS = Counter(
    "sottovoce_privacy_requests",
    "Requests of listeners that were heard, by action (erase, export, exclude, ...).",
    ["action"],
    registry=REGISTRY,
)
PRIVACY_REQUEST_SECONDS = Histogram(
    "sottovoce_privacy_request_seconds",
    "Time from a request until its receipt was written, seconds.",
    ["action"],
    buckets=(1, 2, 5, 10, 30, 60, 120, 300, 900, 3_600, 86_400),
    registry=REGISTRY,
)


def count_intake(role: str, folded: int, repeated: int, duplicates: int, unreadable: int) -> None:
    """Account for the records of a batch of listens."""
    FOLDED.labels(role).inc(folded)
    REPEATED.labels(role).inc(repeated)
    DUPLICATES.labels(role).inc(duplicates)
    UNREADABLE.labels(role).inc(unreadable)


def read_back() -> float:
    """What `READ_BACK` has counted."""
    return next(sample.value for each in READ_BACK.collect() for sample in each.samples)


def exposition() -> bytes:
    """Everything in Prometheus' text format."""
    return generate_latest(REGISTRY)
