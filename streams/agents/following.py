"""Reads a topic on from where it stopped reading it, outside any consumer group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer

from streams.topics import Topic
from streams.transport.batch import RecordBatch
from streams.transport.reader import end_offsets, read_span


class Following:
    """Remembers how far it has read each partition; hands out what was added since."""

    def __init__(self, topic: Topic, start: Mapping[int, int] | None = None) -> None:
        """Begin with the offsets ``start`` by partition, and elsewhere with the first record."""
        self._topic = topic.name
        self._next = dict(start or {})

    async def news(self, reader: AIOKafkaConsumer, partition: int) -> AsyncIterator[RecordBatch]:
        """What was added to a partition; a batch counts as read once the next is asked for."""
        start = self._next.get(partition, 0)
        async for batch in read_span(reader, self._topic, partition, start):
            yield batch
            self._next[partition] = batch.next_offset

    async def added(self, reader: AIOKafkaConsumer) -> AsyncIterator[RecordBatch]:
        """What was added to any partition until now; one question to Kafka when nothing was."""
        for partition, end in (await end_offsets(reader, self._topic)).items():
            if self._next.get(partition, 0) < end:
                async for batch in self.news(reader, partition):
                    yield batch
