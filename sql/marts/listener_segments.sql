CREATE TABLE published.listener_segments AS
SELECT
    split_part(cell, ' ', 1) AS intensity,
    split_part(cell, ' ', 2) AS breadth,
    listeners,
    plays,
    listens,
    round(ms_played / 60000, 1) AS minutes,
    round(skips / plays, 4) AS skip_rate,
    round(days / listeners, 1) AS active_days
FROM totals
ANTI JOIN held USING (mart, cell)
WHERE mart = 'listener_segments'
ORDER BY intensity, breadth;

COMMENT ON TABLE published.listener_segments IS 'Listeners by how much and how widely they listen, over the whole span. Each is in one segment. Rows of fewer listeners than the minimum are left out, and with them whatever others would give those away by subtraction.';
COMMENT ON COLUMN published.listener_segments.intensity IS 'Listens per active day: light below 5, regular below 20, heavy from 20.';
COMMENT ON COLUMN published.listener_segments.breadth IS 'explorer: distinct artists are at least half as many as listens; loyal: fewer, or no listen.';
COMMENT ON COLUMN published.listener_segments.listeners IS 'Distinct listeners with at least one play; at least the minimum.';
COMMENT ON COLUMN published.listener_segments.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN published.listener_segments.listens IS 'Plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.listener_segments.minutes IS 'Minutes heard, over plays whose length is known.';
COMMENT ON COLUMN published.listener_segments.skip_rate IS 'Share of plays that were skipped, 0 to 1.';
COMMENT ON COLUMN published.listener_segments.active_days IS 'Mean number of days with a play.';
