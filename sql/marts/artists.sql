CREATE TABLE published.artists AS
SELECT
    cell AS artist,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'artists'
ORDER BY listens DESC, artist;

COMMENT ON TABLE published.artists IS 'Listening by artist. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.artists.artist IS 'Name as credited.';
COMMENT ON COLUMN published.artists.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.artists.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.artists.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.artists.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.artists.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
