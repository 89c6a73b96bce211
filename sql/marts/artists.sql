-- One row an artist. Artists held back together have at least the minimum of listeners.
CREATE TABLE published.artists AS
WITH cells AS (
    SELECT
        artist,
        count(DISTINCT listener) AS listeners,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens,
        round(sum(ms_played) / 60000.0, 1) AS minutes,
        round(sum(skips) / sum(plays), 4) AS skip_rate
    FROM listener_day_artist GROUP BY artist
),
small AS (SELECT artist FROM cells WHERE listeners < getvariable('min_listeners')),
held AS (SELECT count(DISTINCT listener) AS listeners FROM listener_day_artist SEMI JOIN small USING (artist)),
next AS (
    SELECT artist FROM cells ANTI JOIN small USING (artist)
    WHERE (SELECT listeners BETWEEN 1 AND getvariable('min_listeners') - 1 FROM held)
    ORDER BY listeners, artist LIMIT 1
)
SELECT * FROM cells ANTI JOIN small USING (artist) ANTI JOIN next USING (artist)
ORDER BY listens DESC, artist;
COMMENT ON TABLE published.artists IS 'Listening by artist over the whole span. An artist with fewer listeners than the minimum is left out.';
COMMENT ON COLUMN published.artists.artist IS 'Name as credited.';
COMMENT ON COLUMN published.artists.listeners IS 'Distinct listeners with at least one play.';
COMMENT ON COLUMN published.artists.plays IS 'Plays.';
COMMENT ON COLUMN published.artists.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.artists.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.artists.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
