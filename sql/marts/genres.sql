-- One row a genre. A play of several genres counts for each, so rows do not add up to a total; the
-- genres held back together have at least the minimum of listeners all the same.
CREATE TABLE published.genres AS
WITH plays_by_genre AS (
    SELECT * EXCLUDE genres, unnest(if(len(genres) > 0, genres, ['(unknown)'])) AS genre
    FROM listener_day_artist
),
cells AS (
    SELECT
        genre,
        count(DISTINCT listener) AS listeners,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens,
        round(sum(ms_played) / 60000.0, 1) AS minutes,
        round(sum(skips) / sum(plays), 4) AS skip_rate
    FROM plays_by_genre GROUP BY genre
),
small AS (SELECT genre FROM cells WHERE listeners < getvariable('min_listeners')),
held AS (SELECT count(DISTINCT listener) AS listeners FROM plays_by_genre SEMI JOIN small USING (genre)),
next AS (
    SELECT genre FROM cells ANTI JOIN small USING (genre)
    WHERE (SELECT listeners BETWEEN 1 AND getvariable('min_listeners') - 1 FROM held)
    ORDER BY listeners, genre LIMIT 1
)
SELECT * FROM cells ANTI JOIN small USING (genre) ANTI JOIN next USING (genre)
ORDER BY listens DESC, genre;
COMMENT ON TABLE published.genres IS 'Listening by genre over the whole span. A genre with fewer listeners than the minimum is left out.';
COMMENT ON COLUMN published.genres.genre IS 'Genre; (unknown) where neither the play nor the catalogue has one.';
COMMENT ON COLUMN published.genres.listeners IS 'Distinct listeners with at least one play.';
COMMENT ON COLUMN published.genres.plays IS 'Plays; one of several genres counts for each.';
COMMENT ON COLUMN published.genres.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.genres.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.genres.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
