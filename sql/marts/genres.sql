CREATE TABLE published.genres AS
SELECT
    cell AS genre,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'genres'
ORDER BY listens DESC, genre;

COMMENT ON TABLE published.genres IS 'Listening by genre. A play of n genres counts once for each, so rows add up to more than all plays. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.genres.genre IS 'Name of the genre; (unknown) where neither the play nor the catalogue has one.';
COMMENT ON COLUMN published.genres.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.genres.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.genres.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.genres.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.genres.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
