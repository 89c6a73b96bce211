"""A partition of the taste role read back from a changelog in every condition it can be in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Any, cast

import polars as pl
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.codecs import Codecs
from streams.agents.intake import ListenReader
from streams.agents.taste import COLUMNS
from streams.agents.taste_partition import POSITIONS_KEY, Partition, Positions
from streams.agents.taste_recovery import Recovery
from streams.app.roles import codecs_of
from streams.errors import StateError
from streams.settings import load
from streams.taste.state import Bounds, Dump, TasteState
from streams.topics import LISTENS, TASTE_STATE
from streams.transport.claims import OpenClaim
from tests.agents.kafka import MemoryKafka
from tests.agents.partitions import Positioned, Record
from tests.taste.histories import LISTENERS, Listen, cut, frame, histories, listen

SETTINGS = load(duplicate_horizon=50)
ABSENT = dict.fromkeys(("artist_mbid", "country", "device_class", "context_type"))
Entry = tuple[bytes, bytes | None]


class Log(Positioned):
    """Records by topic with gaps between their offsets, and what `streams.transport.reader` calls.

    A gap is what compaction or an aborted transaction leaves, at the end a marker.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, list[Record]] = {}
        self.ends: dict[str, int] = {}

    def add(self, topic: str, key: bytes | None, value: bytes | None, gap: int = 0) -> None:
        """Append a record, and leave a gap after it."""
        offset = self.ends.get(topic, 0)
        self.records.setdefault(topic, []).append(Record(offset, 0, key, value))
        self.ends[topic] = offset + 1 + gap

    async def beginning_offsets(self, tps: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {tp: self.ends.get(tp.topic, 0) for tp in tps}

    async def getmany(self, tp: TopicPartition, **_: Any) -> Mapping[TopicPartition, list[Record]]:
        later = (each for each in self.records[tp.topic] if each.offset >= self._position[tp])
        found = list(islice(later, 3))
        self._position[tp] = found[-1].offset + 1 if len(found) == 3 else self.ends[tp.topic]
        return {tp: found}


async def restored(codecs: Codecs, log: Log) -> Partition:
    reader = cast("AIOKafkaConsumer", log)
    listens = ListenReader(codecs.registry, COLUMNS)
    claim = OpenClaim(MemoryKafka(1).send_records)
    return await Recovery(SETTINGS, codecs, listens, reader).restore(0, claim)


async def written(codecs: Codecs, log: Log, listens: list[Listen]) -> None:
    """Have ``listens`` in their topic."""
    encoder = await codecs.columns(LISTENS)
    numbered = [
        {**each, **ABSENT, "event": number, "source_partition": 0, "source_offset": number}
        for number, each in enumerate(listens)
    ]
    rows = pl.DataFrame(numbered, schema_overrides={"genres": pl.List(pl.String)})
    for value in encoder.encode(rows):
        log.add(LISTENS.name, b"key", value)


async def records(codecs: Codecs, dump: Dump) -> list[Entry]:
    """``dump`` as a checkpoint writes it."""
    rows = pl.DataFrame({"listens_offset": dump.offsets, "body": dump.bodies})
    values = (await codecs.columns(TASTE_STATE)).encode(rows)
    return [(name.encode(), value) for name, value in zip(dump.listeners, values, strict=True)]


async def positions(codecs: Codecs, next_offset: int) -> Entry:
    row = Positions(next_offset, {0: next_offset - 1}).row()
    return POSITIONS_KEY, (await codecs.columns(TASTE_STATE)).encode(row)[0]


def everything(state: TasteState) -> Dump:
    return state.dump([name for name in LISTENERS if name in state])


@given(histories, st.data())
@settings(deadline=None, max_examples=30)
def test_what_was_written_is_restored_byte_for_byte(
    listens: list[Listen], data: st.DataObject
) -> None:
    """Checkpoints, deletions, records of the release before, compaction, a flush cut short."""

    async def story() -> None:
        codecs, state = codecs_of(SETTINGS), TasteState(Bounds())
        log, changelog = Log(), list[Entry]()
        await written(codecs, log, listens)
        offset = 0
        for batch in cut(frame(listens), data.draw(st.lists(st.integers(1, 25), max_size=4))):
            state.fold(batch)
            dump = state.dump(state.checkpoint().listeners)
            entries = await records(codecs, dump)
            offset += len(batch)
            whole = offset < len(listens) or data.draw(st.booleans())
            changelog += entries if whole else entries[: data.draw(st.integers(0, len(entries)))]
            if whole:
                changelog.append(await positions(codecs, offset))
            if whole and data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(LISTENERS))
                state.forget(gone)
                changelog.append((gone.encode(), None))
        newest = {key: number for number, (key, _) in enumerate(changelog)}
        for number, (key, value) in enumerate(changelog):
            if newest[key] == number or data.draw(st.booleans()):
                log.add(TASTE_STATE.name, key, value, data.draw(st.integers(0, 2)))
        partition = await restored(codecs, log)
        there = partition.state.next_offset
        fresh = frame(listens)[partition.intake.next_offset :]
        assert partition.intake.next_offset >= there
        partition.state.fold(fresh)  # what the worker would be handed next
        assert everything(partition.state) == everything(state)
        await codecs.close()

    asyncio.run(story())


async def test_a_page_is_not_all_there_is() -> None:
    codecs, log = codecs_of(SETTINGS), Log()
    state = TasteState(Bounds())
    everyone = [f"{number:032x}" for number in range(600)]
    listens = [listen(listener=name) for name in everyone]
    state.fold(frame(listens))
    await written(codecs, log, listens)
    dump = state.dump(everyone)
    for key, value in [*await records(codecs, dump), await positions(codecs, len(everyone))]:
        log.add(TASTE_STATE.name, key, value)
    partition = await restored(codecs, log)
    assert partition.state.listeners == len(everyone)
    assert partition.state.dump(everyone) == dump
    assert partition.intake.next_offset == len(everyone)


@pytest.mark.parametrize("key", [None, b"someone"])
async def test_what_the_role_did_not_write_stops_it(key: bytes | None) -> None:
    log = Log()
    log.add(TASTE_STATE.name, key, b"no record of ours")
    with pytest.raises(StateError, match="Only"):
        await restored(codecs_of(SETTINGS), log)
