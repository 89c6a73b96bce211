-- A week of one day: that day and the cohorts before it tell how many stayed away. Where they are few
-- and no published cell is left to hide them among, the day is held.
INSERT OR IGNORE INTO held
WITH away AS (
    SELECT part, count(DISTINCT listener) AS listeners
    FROM cells SEMI JOIN held USING (mart, cell)
    WHERE mart = 'retention' AND part LIKE 'away ____-__-__'
    GROUP BY part
)
SELECT DISTINCT 'daily_activity', day::VARCHAR
FROM base_day JOIN away ON part = 'away ' || date_trunc('week', day)::DATE
WHERE listeners < getvariable('min_listeners');
