-- Listeners by how much they listen and how widely. Segments held back together have at least the
-- minimum of listeners. Intensity: listens per active day; breadth: distinct artists per listen.
CREATE TABLE published.listener_segments AS
WITH activity AS (
    SELECT
        listener,
        count(DISTINCT day) AS active_days,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens,
        sum(skips)::BIGINT AS skips,
        sum(ms_played)::BIGINT AS ms_played
    FROM listener_day GROUP BY listener
),
breadth AS (
    SELECT listener, count(DISTINCT artist) AS artists FROM listener_day_artist
    WHERE listens > 0 GROUP BY listener
),
listeners AS (
    SELECT
        *,
        CASE
            WHEN listens < 5 * active_days THEN 'light'
            WHEN listens < 20 * active_days THEN 'regular'
            ELSE 'heavy'
        END AS intensity,
        CASE WHEN artists >= 0.5 * listens THEN 'explorer' ELSE 'loyal' END AS breadth
    FROM activity LEFT JOIN breadth USING (listener)
),
cells AS (
    SELECT
        intensity,
        breadth,
        count(*) AS listeners,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens,
        round(sum(ms_played) / 60000.0, 1) AS minutes,
        round(sum(skips) / sum(plays), 4) AS skip_rate,
        round(avg(active_days), 1) AS active_days
    FROM listeners GROUP BY intensity, breadth
),
small AS (SELECT intensity, breadth FROM cells WHERE listeners < getvariable('min_listeners')),
held AS (SELECT coalesce(sum(listeners), 0) AS listeners FROM cells SEMI JOIN small USING (intensity, breadth)),
next AS (
    SELECT intensity, breadth FROM cells ANTI JOIN small USING (intensity, breadth)
    WHERE (SELECT listeners BETWEEN 1 AND getvariable('min_listeners') - 1 FROM held)
    ORDER BY listeners, intensity, breadth LIMIT 1
)
SELECT * FROM cells
ANTI JOIN small USING (intensity, breadth) ANTI JOIN next USING (intensity, breadth)
ORDER BY intensity, breadth;
COMMENT ON TABLE published.listener_segments IS 'Listeners by intensity and breadth of listening over the whole span. A segment with fewer listeners than the minimum is left out.';
COMMENT ON COLUMN published.listener_segments.intensity IS 'Listens per active day: light below 5, regular below 20, heavy from 20.';
COMMENT ON COLUMN published.listener_segments.breadth IS 'explorer: a new artist on at least every second listen; loyal: fewer.';
COMMENT ON COLUMN published.listener_segments.listeners IS 'Listeners in the segment.';
COMMENT ON COLUMN published.listener_segments.plays IS 'Their plays.';
COMMENT ON COLUMN published.listener_segments.listens IS 'Their plays that count as listens under the configured rule.';
COMMENT ON COLUMN published.listener_segments.minutes IS 'Minutes they heard, over plays whose length is known.';
COMMENT ON COLUMN published.listener_segments.skip_rate IS 'Share of their plays that were skipped, 0 to 1.';
COMMENT ON COLUMN published.listener_segments.active_days IS 'Mean number of days with a play.';
