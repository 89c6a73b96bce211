CREATE TABLE published.countries AS
SELECT
    cell AS country,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'countries'
ORDER BY listens DESC, country;

COMMENT ON TABLE published.countries IS 'Listening by country. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.countries.country IS 'ISO 3166-1 alpha-2 code; (unknown) where the play has none.';
COMMENT ON COLUMN published.countries.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.countries.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.countries.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.countries.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.countries.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
