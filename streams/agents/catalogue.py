"""Genres of artists, for plays that bring none: the compacted ``catalogue`` topic in memory."""

from __future__ import annotations

import time

import polars as pl
from aiokafka import AIOKafkaConsumer

from streams.agents.codecs import Codecs
from streams.agents.following import Following
from streams.topics import CATALOGUE, Topic

_REFRESH_EVERY_S = 5.0


def matching(artist: pl.Expr) -> pl.Expr:
    """The form in which artist names are compared: no case, no surrounding space."""
    return artist.str.strip_chars().str.to_lowercase()


class Catalogue:
    """Reads the topic whole at first, then what was added, at most every few seconds."""

    topics: tuple[Topic, ...] = (CATALOGUE,)

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs
        self._following = Following(CATALOGUE)
        self._refreshed_at = float("-inf")
        self._genres = pl.DataFrame(schema={"match": pl.String, "catalogued": pl.List(pl.String)})

    async def refresh(self, reader: AIOKafkaConsumer) -> None:
        """Take in what was added since."""
        if time.monotonic() - self._refreshed_at < _REFRESH_EVERY_S:
            return
        added = []
        async for batch in self._following.added(reader):
            values = [value for value in batch.values if value is not None]
            if values:  # else only tombstones
                added.append(await self._codecs.decode(values, ("artist", "genres")))
        if added:
            entries = pl.concat(added).select(
                match=matching(pl.col("artist")), catalogued=pl.col("genres")
            )
            self._genres = pl.concat([self._genres, entries]).unique(
                "match", keep="last", maintain_order=True
            )
        self._refreshed_at = time.monotonic()

    def fill(self, listens: pl.DataFrame) -> pl.DataFrame:
        """``listens`` with the catalogue's genres where they have none; same rows, same order."""
        if not len(self._genres):
            return listens
        return (
            listens.with_columns(match=matching(pl.col("artist")))
            .join(self._genres, on="match", how="left", maintain_order="left")
            .with_columns(
                genres=pl.when(pl.col("genres").list.len() > 0)
                .then("genres")
                .otherwise(pl.coalesce("catalogued", "genres"))
            )
            .drop("match", "catalogued")
        )
