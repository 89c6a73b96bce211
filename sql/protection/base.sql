-- What marts are made of. A bound on what one listener may contribute belongs here: whatever these
-- views leave away, no cell and no mart sees.
CREATE TEMP VIEW base_day AS FROM listener_day;
CREATE TEMP VIEW base_artist AS FROM listener_day_artist;
CREATE TEMP VIEW base_hour AS FROM listener_day_hour;

CREATE TEMP VIEW segments AS
WITH activity AS (
    SELECT listener, count(DISTINCT day) AS active_days, sum(listens) AS listens
    FROM base_day GROUP BY listener
),
breadths AS (
    SELECT listener, count(DISTINCT artist) AS artists
    FROM base_artist WHERE listens > 0 GROUP BY listener
)
SELECT
    listener,
    active_days,
    CASE
        WHEN listens < 5 * active_days THEN 'light'
        WHEN listens < 20 * active_days THEN 'regular'
        ELSE 'heavy'
    END AS intensity,
    if(2 * artists >= listens, 'explorer', 'loyal') AS breadth
FROM activity LEFT JOIN breadths USING (listener);

CREATE TEMP VIEW active_weeks AS
SELECT DISTINCT listener, date_trunc('week', day)::DATE AS week FROM base_day;

CREATE TEMP VIEW cohorts AS
SELECT listener, min(week) AS cohort FROM active_weeks GROUP BY listener;
