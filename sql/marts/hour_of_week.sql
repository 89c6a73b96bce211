CREATE TABLE published.hour_of_week AS
SELECT
    split_part(cell, ' ', 1)::INTEGER AS weekday,
    split_part(cell, ' ', 2)::INTEGER AS hour,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'hour_of_week'
ORDER BY weekday, hour;

COMMENT ON TABLE published.hour_of_week IS 'Listening by hour of the week, all weeks together. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.hour_of_week.weekday IS 'Day of the week, UTC, 1 Monday to 7 Sunday.';
COMMENT ON COLUMN published.hour_of_week.hour IS 'Hour in which playback began, UTC, 0 to 23.';
COMMENT ON COLUMN published.hour_of_week.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.hour_of_week.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.hour_of_week.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.hour_of_week.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.hour_of_week.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
