-- A week of one day: that day and the cohorts before it tell how many stayed away. Where they are few
-- and no published cell is left to hide them among, the day is held.
INSERT OR IGNORE INTO held
WITH gone AS (
    SELECT week, sum(away) AS gone
    FROM cohort_weeks
    JOIN held ON held.mart = 'retention' AND held.cell = cohort_weeks.cell
    WHERE told_by_day
    GROUP BY week
)
SELECT 'daily_activity', cell
FROM totals JOIN gone ON date_trunc('week', cell::DATE) = week
WHERE mart = 'daily_activity' AND gone BETWEEN 1 AND getvariable('min_listeners') - 1;
