"""Which broker a command runs."""

from __future__ import annotations

from pathlib import Path

from streams.brokers.apache import ApacheBroker
from streams.brokers.embedded import EmbeddedBroker
from streams.brokers.process import Broker

KAFKA_CACHE = Path("var/kafka")


def local_broker(*, apache: bool) -> Broker:
    """The embedded broker, or Apache Kafka on this machine. Not started yet."""
    return ApacheBroker(KAFKA_CACHE) if apache else EmbeddedBroker()
