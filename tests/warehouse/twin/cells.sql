-- Who is in which cell of which mart, once, and what that listener adds to it. A part is a set of cells
-- whose sum an outsider may know; the sum less the published cells is that of the cells held back.
--
--   all           every play is in one cell of it; any complete mart tells the sum
--   weekday n     the same for one day of the week: days and hours both add up to it
--   genres        plays by genre; a play can be in several cells
--   listeners     every listener is in one cell of it, counted as one play
--   back, away    who of a cohort listened in a later week, and who did not; a week of which there is
--                 one day only is a part, for the day tells the sum over its cohorts
CREATE TEMP TABLE cells (
    mart VARCHAR,
    part VARCHAR,
    cell VARCHAR,
    listener INTEGER,
    plays BIGINT DEFAULT 1,
    listens BIGINT DEFAULT 0,
    skips BIGINT DEFAULT 0,
    ms_played BIGINT DEFAULT 0
);

INSERT INTO cells
SELECT 'daily_activity', 'all', day::VARCHAR, listener,
    sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM base_day GROUP BY day, listener;

INSERT INTO cells
SELECT 'hour_of_week', 'all', isodow(day) || ' ' || hour, listener,
    sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM base_hour GROUP BY isodow(day), hour, listener;

INSERT INTO cells
SELECT mart, 'weekday ' || if(mart = 'hour_of_week', cell[1], isodow(cell::DATE)::VARCHAR), cell,
    listener, plays, listens, skips, ms_played
FROM cells WHERE mart IN ('daily_activity', 'hour_of_week');

INSERT INTO cells
SELECT 'countries', 'all', coalesce(country, '(unknown)') AS cell, listener,
    sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM base_day GROUP BY cell, listener;

INSERT INTO cells
SELECT 'devices', 'all', coalesce(device_class, '(unknown)') AS cell, listener,
    sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM base_day GROUP BY cell, listener;

INSERT INTO cells
SELECT 'artists', 'all', artist, listener,
    sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM base_artist GROUP BY artist, listener;

INSERT INTO cells
SELECT 'listener_segments', 'all', intensity || ' ' || breadth AS cell, listener,
    sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM base_day JOIN segments USING (listener) GROUP BY cell, listener;

-- Which listeners an artist has within a genre: of whom, by public knowledge, the genre consists.
CREATE TEMP TABLE artists_of_genres AS
SELECT DISTINCT unnest(if(len(genres) > 0, genres, ['(unknown)'])) AS genre, artist AS cell, listener
FROM base_artist;

INSERT INTO cells (mart, part, cell, listener)
SELECT DISTINCT 'genres', 'genres', genre, listener FROM artists_of_genres;

-- Genres that are wholly inside another, and how many listeners the rest of the other has.
CREATE TEMP TABLE inner_genres AS
WITH combinations AS (
    SELECT row_number() OVER () AS id, genres FROM (SELECT DISTINCT genres FROM base_artist)
),
members AS (SELECT id, unnest(genres) AS genre FROM combinations),
sizes AS (SELECT genre, count(*) AS size FROM members GROUP BY genre),
nested AS (
    SELECT narrow.genre AS narrow, wide.genre AS wide
    FROM members AS narrow
    JOIN members AS wide ON wide.id = narrow.id AND wide.genre <> narrow.genre
    JOIN sizes ON sizes.genre = narrow.genre
    GROUP BY narrow.genre, wide.genre, size
    HAVING count(*) = size
)
SELECT narrow, wide, count(DISTINCT listener) AS rest_listeners
FROM nested
JOIN members AS rest ON rest.genre = wide
JOIN combinations ON combinations.id = rest.id AND NOT list_contains(combinations.genres, narrow)
JOIN base_artist ON base_artist.genres = combinations.genres
GROUP BY narrow, wide;

INSERT INTO cells (mart, part, cell, listener)
SELECT 'listener_segments', 'listeners', intensity || ' ' || breadth, listener FROM segments
UNION ALL
SELECT 'retention', 'listeners', cohort::VARCHAR, listener FROM cohorts;

-- A cohort in its first week is the cohort itself; in a later week it is those back and those away.
INSERT INTO cells (mart, part, cell, listener)
WITH weeks AS (
    SELECT week, count(DISTINCT day) = 1 AS told_by_day
    FROM (SELECT day, date_trunc('week', day)::DATE AS week FROM base_day)
    GROUP BY week
)
SELECT
    'retention',
    if(active_weeks.week IS NULL, 'away ', 'back ')
        || if(told_by_day, weeks.week::VARCHAR, cohort || ' ' || weeks.week),
    if(weeks.week = cohort, cohort::VARCHAR, cohort || ' ' || weeks.week),
    cohorts.listener
FROM cohorts
JOIN weeks ON weeks.week >= cohort
LEFT JOIN active_weeks ON active_weeks.listener = cohorts.listener AND active_weeks.week = weeks.week;
