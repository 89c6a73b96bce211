INSERT INTO shares
SELECT 'hour_of_week', part, cell, listener, plays, listens, skips, ms_played
FROM (
    SELECT
        cell, listener, sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips,
        sum(ms_played) AS ms_played, ['all', 'weekday ' || cell[1]] AS parts
    FROM listener_day_hour
    JOIN wanted ON mart = 'hour_of_week' AND cell = isodow(day) || ' ' || hour
    ANTI JOIN restricted USING (listener)
    GROUP BY cell, listener
), unnest(parts) AS parts(part);
