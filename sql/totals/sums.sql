-- What the listeners of base.sql add up to. Every figure is a sum over listeners, so totals of two
-- groups of listeners without a common one add up to those of both.
--
--   artists of genres     listeners of an artist within a genre: of whom a genre consists, by public
--                         knowledge
--   combinations          listeners of each list of genres that plays came with
--   retention             listeners of a cohort back in a week; the cohort itself in its first
--   known, unknown        listeners and plays whose length, completion, country, genre is (not) known
--   everybody             all listeners and plays
SELECT
    'daily_activity' AS mart, day::VARCHAR AS cell, count(*) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played,
    count(*) FILTER (completion_plays > 0) AS completion_listeners,
    sum(completion_sum) AS completion_sum, sum(completion_plays) AS completion_plays
FROM listener_days GROUP BY day

UNION ALL BY NAME
SELECT
    'hour_of_week' AS mart, weekday || ' ' || hour AS cell, count(DISTINCT listener) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played
FROM base_hour GROUP BY weekday, hour

UNION ALL BY NAME
SELECT
    'countries' AS mart, coalesce(country, '(unknown)') AS cell,
    count(DISTINCT listener) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played
FROM base_day GROUP BY cell

UNION ALL BY NAME
SELECT
    'devices' AS mart, coalesce(device_class, '(unknown)') AS cell,
    count(DISTINCT listener) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played
FROM base_day GROUP BY cell

UNION ALL BY NAME
SELECT
    'artists' AS mart, artist AS cell, count(DISTINCT listener) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played
FROM listener_artists GROUP BY artist

UNION ALL BY NAME
SELECT
    'genres' AS mart, genre AS cell, count(DISTINCT listener) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played
FROM listener_genres GROUP BY genre

UNION ALL BY NAME
SELECT
    'artists of genres' AS mart, artist AS cell, genre, count(DISTINCT listener) AS listeners
FROM listener_genres GROUP BY artist, genre

UNION ALL BY NAME
SELECT 'combinations' AS mart, '' AS cell, genres, count(DISTINCT listener) AS listeners
FROM listener_artists GROUP BY genres

UNION ALL BY NAME
SELECT
    'listener_segments' AS mart, intensity || ' ' || breadth AS cell, count(*) AS listeners,
    sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips, sum(ms_played) AS ms_played,
    sum(days) AS days
FROM segments GROUP BY intensity, breadth

UNION ALL BY NAME
SELECT
    'retention' AS mart, if(week = cohort, cohort::VARCHAR, cohort || ' ' || week) AS cell,
    count(*) AS listeners
FROM listener_weeks GROUP BY cohort, week

UNION ALL BY NAME
SELECT 'everybody' AS mart, '' AS cell, count(*) AS listeners, sum(plays) AS plays, sum(listens) AS listens
FROM segments HAVING count(*) > 0

UNION ALL BY NAME
SELECT
    if(known, 'known', 'unknown') AS mart, what AS cell, count(DISTINCT listener) AS listeners,
    sum(plays) AS plays
FROM (
    SELECT listener, unnest([
        {'what': 'length', 'known': true, 'plays': timed},
        {'what': 'length', 'known': false, 'plays': all_plays - timed},
        {'what': 'completion', 'known': true, 'plays': completed},
        {'what': 'completion', 'known': false, 'plays': all_plays - completed},
        {'what': 'country', 'known': true, 'plays': located},
        {'what': 'country', 'known': false, 'plays': all_plays - located}
    ], recursive := true)
    FROM (
        SELECT
            listener, sum(plays) AS all_plays, sum(timed_plays) AS timed,
            sum(completion_plays) AS completed, sum(if(country IS NULL, 0, plays)) AS located
        FROM base_day GROUP BY listener
    )
    UNION ALL BY NAME
    SELECT listener, 'genre' AS what, len(genres) > 0 AS known, plays FROM listener_artists
)
WHERE plays > 0
GROUP BY known, what
