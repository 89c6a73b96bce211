-- One row a day. The days that are held back together have at least the minimum of listeners, so
-- that no total published elsewhere, less these rows, shows a small group.
CREATE TABLE published.daily_activity AS
WITH cells AS (
    SELECT
        day,
        count(DISTINCT listener) AS listeners,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens,
        round(sum(ms_played) / 60000.0, 1) AS minutes,
        round(sum(skips) / sum(plays), 4) AS skip_rate,
        round(sum(completion_sum) / nullif(sum(completion_plays), 0) / 100, 4) AS completion
    FROM listener_day GROUP BY day
),
small AS (SELECT day FROM cells WHERE listeners < getvariable('min_listeners')),
held AS (SELECT count(DISTINCT listener) AS listeners FROM listener_day SEMI JOIN small USING (day)),
next AS (
    SELECT day FROM cells ANTI JOIN small USING (day)
    WHERE (SELECT listeners BETWEEN 1 AND getvariable('min_listeners') - 1 FROM held)
    ORDER BY listeners, day LIMIT 1
)
SELECT * FROM cells ANTI JOIN small USING (day) ANTI JOIN next USING (day) ORDER BY day;
COMMENT ON TABLE published.daily_activity IS 'Listening by day (UTC). A day with fewer listeners than the minimum is left out.';
COMMENT ON COLUMN published.daily_activity.day IS 'Day, UTC.';
COMMENT ON COLUMN published.daily_activity.listeners IS 'Distinct listeners with at least one play.';
COMMENT ON COLUMN published.daily_activity.plays IS 'Plays, private sessions and duplicates left out.';
COMMENT ON COLUMN published.daily_activity.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.daily_activity.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.daily_activity.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
COMMENT ON COLUMN published.daily_activity.completion IS 'Mean share of the track that was heard, 0 to 1; null where no play has one.';
