-- How many listeners are in each cell of each mart, by part. A part is a set of cells whose sum an
-- outsider may know; the sum less the published cells is that of the cells held back.
--
--   all           every play is in one cell of it; any complete mart tells the sum
--   weekday n     the same for one day of the week: days and hours both add up to it
--   genres        plays by genre; a play can be in several cells
--   listeners     every listener is in one cell of it, counted as one play
--   back, away    who of a cohort listened in a later week, and who did not; a week of which there is
--                 one day only is a part, for the day tells the sum over its cohorts
CREATE TEMP TABLE cohort_weeks AS
WITH days AS (SELECT cell::DATE AS day FROM totals WHERE mart = 'daily_activity'),
weeks AS (
    SELECT date_trunc('week', day)::DATE AS week, count(*) = 1 AS told_by_day FROM days GROUP BY week
),
cohorts AS (
    SELECT cell::DATE AS cohort, listeners AS cohort_listeners
    FROM totals WHERE mart = 'retention' AND NOT contains(cell, ' ')
)
SELECT
    cohort,
    week,
    told_by_day,
    if(week = cohort, cohort::VARCHAR, cohort || ' ' || week) AS cell,
    cohort_listeners,
    coalesce(listeners, 0) AS back,
    cohort_listeners - back AS away
FROM cohorts
JOIN weeks ON week >= cohort
LEFT JOIN totals ON mart = 'retention'
    AND totals.cell = if(week = cohort, cohort::VARCHAR, cohort || ' ' || week);

CREATE TEMP TABLE cells AS
SELECT mart, 'all' AS part, cell, listeners FROM totals
WHERE mart IN (
    'daily_activity', 'hour_of_week', 'countries', 'devices', 'artists', 'listener_segments'
)
UNION ALL
SELECT mart, 'weekday ' || isodow(cell::DATE), cell, listeners
FROM totals WHERE mart = 'daily_activity'
UNION ALL
SELECT mart, 'weekday ' || cell[1], cell, listeners FROM totals WHERE mart = 'hour_of_week'
UNION ALL
SELECT mart, 'genres', cell, listeners FROM totals WHERE mart = 'genres'
UNION ALL
SELECT mart, 'listeners', cell, listeners FROM totals WHERE mart = 'listener_segments'
UNION ALL
SELECT 'retention', 'listeners', cell, back FROM cohort_weeks WHERE week = cohort
-- A cohort in its first week is the cohort itself; in a later week it is those back and those away.
UNION ALL
SELECT 'retention', 'back ' || if(told_by_day, week::VARCHAR, cohort || ' ' || week), cell, back
FROM cohort_weeks WHERE back > 0
UNION ALL
SELECT 'retention', 'away ' || if(told_by_day, week::VARCHAR, cohort || ' ' || week), cell, away
FROM cohort_weeks WHERE away > 0;
