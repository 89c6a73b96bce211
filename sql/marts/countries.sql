-- One row a country. Countries held back together have at least the minimum of listeners, so that the
-- sum over days less the sum over countries shows no small one.
CREATE TABLE published.countries AS
WITH listening AS (SELECT * REPLACE (coalesce(country, '(unknown)') AS country) FROM listener_day),
cells AS (
    SELECT
        country,
        count(DISTINCT listener) AS listeners,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens,
        round(sum(ms_played) / 60000.0, 1) AS minutes,
        round(sum(skips) / sum(plays), 4) AS skip_rate
    FROM listening GROUP BY country
),
small AS (SELECT country FROM cells WHERE listeners < getvariable('min_listeners')),
held AS (SELECT count(DISTINCT listener) AS listeners FROM listening SEMI JOIN small USING (country)),
next AS (
    SELECT country FROM cells ANTI JOIN small USING (country)
    WHERE (SELECT listeners BETWEEN 1 AND getvariable('min_listeners') - 1 FROM held)
    ORDER BY listeners, country LIMIT 1
)
SELECT * FROM cells ANTI JOIN small USING (country) ANTI JOIN next USING (country)
ORDER BY listens DESC, country;
COMMENT ON TABLE published.countries IS 'Listening by country over the whole span. A country with fewer listeners than the minimum is left out.';
COMMENT ON COLUMN published.countries.country IS 'ISO 3166-1 alpha-2 code; (unknown) where the play has none.';
COMMENT ON COLUMN published.countries.listeners IS 'Distinct listeners with at least one play there.';
COMMENT ON COLUMN published.countries.plays IS 'Plays.';
COMMENT ON COLUMN published.countries.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.countries.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.countries.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
