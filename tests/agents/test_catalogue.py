"""The catalogue as the gate reads it from a real topic."""

from __future__ import annotations

import polars as pl

from streams.agents.catalogue import Catalogue
from streams.app.roles import open_codecs
from streams.brokers.embedded import EmbeddedBroker
from streams.cli.produce import send_catalogue
from streams.settings import load
from streams.topics import CATALOGUE
from streams.transport.admin import create_topics
from streams.transport.producer import open_producer, send_records
from streams.transport.reader import partition_reader


async def test_genres_fill_gaps_only_and_a_tombstone_stops_nothing(
    fresh_broker: EmbeddedBroker,
) -> None:
    settings = load(brokers=fresh_broker.address, idempotence=False)
    await create_topics(settings.kafka, [CATALOGUE], 2, 1)
    await send_catalogue(settings, [("The Band ", ("old",)), ("the band", ("rock", "folk"))])
    async with open_producer(settings.kafka, idempotent=False) as producer:
        await send_records(producer, CATALOGUE.name, 1, [b"Gone"], [None])
    async with open_codecs(settings) as codecs, partition_reader(settings.kafka) as reader:
        catalogue = Catalogue(codecs)
        await catalogue.refresh(reader)
    listens = pl.DataFrame(
        {"artist": ["THE BAND", "The Band", "Other"], "genres": [[], ["own"], []]},
        schema={"artist": pl.String, "genres": pl.List(pl.String)},
    )
    filled = catalogue.fill(listens)
    assert filled["artist"].to_list() == listens["artist"].to_list()
    assert filled["genres"].to_list() == [["rock", "folk"], ["own"], []]
