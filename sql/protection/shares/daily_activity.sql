INSERT INTO shares
WITH days AS (SELECT cell, cell::DATE AS day FROM wanted WHERE mart = 'daily_activity')
SELECT 'daily_activity', part, cell, listener, plays, listens, skips, ms_played
FROM (
    SELECT
        cell, listener, sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips,
        sum(ms_played) AS ms_played, ['all', 'weekday ' || isodow(day)] AS parts
    FROM listener_day
    JOIN days USING (day)
    ANTI JOIN restricted USING (listener)
    GROUP BY cell, day, listener
), unnest(parts) AS parts(part);
