"""Facts of many listeners over many days, drawn in SQL straight into a warehouse.

Who they are: most listeners play on a few days of a season, some on nearly all (18 days in 90 on
average), and 6 plays on such a day, up to 100. Each has about 30 artists out of 100,000, popular
ones more often and its favourites most often (Zipf both times); an artist has up to four out of 200
genres. Most are at home in one of 60 countries and use one kind of device, in the evening. Three in
ten came after the first day. One in a thousand is restricted. What is known of a play may lack its
length, completion, country, device or genres, as it does in real rows.

The same seed draws the same facts with the same version of DuckDB.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import polars as pl

from streams.warehouse.facts import FACTS, Fact, Partials

_PREPARE = """
    CREATE OR REPLACE TEMP MACRO draw(what, a, b) AS
        hash(what, a, b, {seed}::INTEGER) / 18446744073709551616.0;
    CREATE OR REPLACE TEMP MACRO zipf(count, u) AS (pow(count, u) - 1)::INTEGER;

    CREATE OR REPLACE TEMP TABLE artists AS
    SELECT
        n::INTEGER AS n,
        'Artist ' || n AS artist,
        CASE WHEN n % 50 = 7 THEN []::VARCHAR[] ELSE list_distinct([
            'genre ' || zipf(200, draw('genre', n, place))
            for place in range(1 + (3 * draw('genres', n, 0) ** 2)::INTEGER)
        ]) END AS genres
    FROM range(100_000) artists(n);

    CREATE OR REPLACE TEMP TABLE people AS
    SELECT
        n::INTEGER AS n,
        md5('{seed} listener ' || n) AS listener,
        0.02 + 0.9 * draw('activity', n, 0) ** 3.5 AS activity,
        2.5 + 9 * draw('pace', n, 0) ** 2 AS pace,
        if(draw('joined', n, 0) < 0.7, 0, {days} * draw('joined', n, 1))::INTEGER AS joined,
        if(draw('home', n, 0) < 0.01, NULL, 'C' || zipf(60, draw('home', n, 1))) AS home,
        (5 * draw('device', n, 0) ** 2)::INTEGER AS device,
        10 + (13 * draw('hour', n, 0))::INTEGER AS evening,
        8 + (45 * draw('artists', n, 0))::INTEGER AS own
    FROM range({listeners}) people(n);
"""
_PLAYS = """
    CREATE OR REPLACE TEMP TABLE plays AS
    WITH today AS (
        SELECT *, unnest(range(least(100, 1 + (-pace * ln(1 - draw('plays', n, {day})))::INTEGER)))
            AS play
        FROM people
        WHERE joined <= {day} AND draw('active', n, {day}) < activity * {share}
    ),
    drawn AS (
        SELECT *,
            {day} * 1000 + play AS id,
            zipf(own, draw('which', n, id)) AS favourite,
            draw('known', n, id) AS known,
            draw('heard', n, id) AS heard
        FROM today
    )
    SELECT
        listener,
        DATE '{date}' AS day,
        (evening + (6 * (draw('hour', n, id) - 0.5) * draw('far', n, id))::INTEGER) % 24 AS hour,
        zipf(100_000, draw('artist', n, favourite)) AS number,
        if(known < 0.02, 'C' || zipf(60, draw('away', n, id)), home) AS country,
        CASE WHEN known > 0.99 THEN NULL ELSE
            ['phone', 'headphones', 'computer', 'speaker', 'earbuds', 'other'][
                1 + if(known < 0.8, device, (6 * draw('with', n, id))::INTEGER % 6)]
        END AS device_class,
        1 AS plays,
        (heard > 0.15)::INTEGER AS listens,
        (heard < 0.2)::INTEGER AS skips,
        if(known BETWEEN 0.5 AND 0.53, 0, 5_000 + 240_000 * heard)::BIGINT AS ms_played,
        (known NOT BETWEEN 0.5 AND 0.53)::INTEGER AS timed_plays,
        if(known BETWEEN 0.5 AND 0.6, 0, 100 * heard)::BIGINT AS completion_sum,
        (known NOT BETWEEN 0.5 AND 0.6)::INTEGER AS completion_plays
    FROM drawn;
"""


@dataclass(frozen=True, slots=True)
class Audience:
    """So many listeners, and the days on which they play; ``cursor`` writes to the warehouse."""

    cursor: duckdb.DuckDBPyConnection
    listeners: int
    days: int
    first: date
    seed: int = 1

    def prepare(self) -> None:
        """Draw who there is, into temporary tables of the connection."""
        self.cursor.execute(
            _PREPARE.format(seed=self.seed, days=self.days, listeners=self.listeners)
        )

    def missing(self) -> range:
        """Days that no fact is of, from the first one without on."""
        ((newest,),) = self.cursor.execute("SELECT max(day) FROM listener_day").fetchall()
        return range(0 if newest is None else (newest - self.first).days + 1, self.days)

    def store(self, day: int) -> None:
        """Add the facts of a day."""
        self._play(day, 1.0)
        self.cursor.begin()
        for fact in FACTS:
            self.cursor.execute(
                f"INSERT INTO {fact.table} BY NAME SELECT *, 0 AS lot FROM ({_facts(fact)})"
            )
        self.cursor.commit()

    def partials(self, day: int, share: float) -> Partials:
        """Facts of a day, of such a share of who plays on it, to append."""
        self._play(day, share)
        return {
            fact.table: pl.DataFrame(self.cursor.sql(_facts(fact)).to_arrow_table())
            for fact in FACTS
        }

    def restrict(self) -> None:
        """Restrict one listener in a thousand."""
        self.cursor.execute("INSERT INTO restricted SELECT listener FROM people WHERE n % 1000 = 5")

    def _play(self, day: int, share: float) -> None:
        today = self.first + timedelta(days=day)
        self.cursor.execute(_PLAYS.format(day=day, date=today, share=share))


def _facts(fact: Fact) -> str:
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in fact.sums)
    return (
        f"SELECT {', '.join(fact.keys)}, {sums}"
        " FROM plays JOIN artists ON artists.n = plays.number GROUP BY ALL"
    )
