CREATE TABLE published.daily_activity AS
SELECT
    cell::DATE AS day,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate,
    CASE
        WHEN completion_listeners >= getvariable('min_listeners')
        THEN round(completion_sum / completion_plays / 100, 4)
    END AS completion
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'daily_activity'
ORDER BY day;

COMMENT ON TABLE published.daily_activity IS 'Listening by day. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.daily_activity.day IS 'UTC day on which playback began.';
COMMENT ON COLUMN published.daily_activity.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.daily_activity.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.daily_activity.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.daily_activity.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.daily_activity.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
COMMENT ON COLUMN published.daily_activity.completion IS 'Mean share of the track that was heard, 0 to 1; NULL where it is known of fewer listeners than the minimum.';
