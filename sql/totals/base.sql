-- The facts of the listeners in `counted`, up to the lot `through_lot`, with numbers in the place of
-- pseudonyms. A bound on what one listener may contribute belongs here and in protection/shares: no
-- total and no mart sees what these tables leave away.
CREATE OR REPLACE TEMP TABLE base_day AS
SELECT
    number AS listener, day, country, device_class,
    plays, listens, skips, ms_played, timed_plays, completion_sum, completion_plays
FROM listener_day JOIN counted USING (listener)
WHERE lot <= getvariable('through_lot');

CREATE OR REPLACE TEMP TABLE base_hour AS
SELECT number AS listener, isodow(day) AS weekday, hour, plays, listens, skips, ms_played
FROM listener_day_hour JOIN counted USING (listener)
WHERE lot <= getvariable('through_lot');

CREATE OR REPLACE TEMP TABLE listener_days AS
SELECT
    listener, day, sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips,
    sum(ms_played) AS ms_played, sum(completion_sum) AS completion_sum,
    sum(completion_plays) AS completion_plays
FROM base_day GROUP BY listener, day;

CREATE OR REPLACE TEMP TABLE listener_artists AS
SELECT
    number AS listener, artist, genres, sum(plays) AS plays, sum(listens) AS listens,
    sum(skips) AS skips, sum(ms_played) AS ms_played
FROM listener_day_artist JOIN counted USING (listener)
WHERE lot <= getvariable('through_lot')
GROUP BY number, artist, genres;

CREATE OR REPLACE TEMP TABLE listener_genres AS
SELECT * EXCLUDE genres, unnest(if(len(genres) > 0, genres, ['(unknown)'])) AS genre
FROM listener_artists;

CREATE OR REPLACE TEMP TABLE listener_weeks AS
SELECT DISTINCT
    listener,
    date_trunc('week', day)::DATE AS week,
    date_trunc('week', min(day) OVER (PARTITION BY listener))::DATE AS cohort
FROM listener_days;

CREATE OR REPLACE TEMP TABLE segments AS
WITH activity AS (
    SELECT
        listener, count(*) AS days, sum(plays) AS plays, sum(listens) AS listens,
        sum(skips) AS skips, sum(ms_played) AS ms_played
    FROM listener_days GROUP BY listener
),
breadths AS (
    SELECT listener, count(DISTINCT artist) AS artists
    FROM listener_artists WHERE listens > 0 GROUP BY listener
)
SELECT
    activity.*,
    CASE
        WHEN listens < 5 * days THEN 'light'
        WHEN listens < 20 * days THEN 'regular'
        ELSE 'heavy'
    END AS intensity,
    if(2 * artists >= listens, 'explorer', 'loyal') AS breadth
FROM activity LEFT JOIN breadths USING (listener);
