-- What marts are made of: the facts with numbers in the place of pseudonyms. A bound on what one
-- listener may contribute belongs here: no cell and no mart sees what these tables leave away. Listeners
-- who are restricted are left away.
CREATE TEMP TABLE numbers AS
SELECT listener, row_number() OVER ()::INTEGER AS number
FROM (SELECT DISTINCT listener FROM listener_day ANTI JOIN restricted USING (listener));

CREATE TEMP TABLE base_day AS
SELECT listener_day.* REPLACE (number AS listener) FROM listener_day JOIN numbers USING (listener);
CREATE TEMP TABLE base_artist AS
SELECT listener_day_artist.* REPLACE (number AS listener)
FROM listener_day_artist JOIN numbers USING (listener);
CREATE TEMP TABLE base_hour AS
SELECT listener_day_hour.* REPLACE (number AS listener)
FROM listener_day_hour JOIN numbers USING (listener);

CREATE TEMP TABLE segments AS
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

CREATE TEMP TABLE active_weeks AS
SELECT DISTINCT listener, date_trunc('week', day)::DATE AS week FROM base_day;

CREATE TEMP TABLE cohorts AS
SELECT listener, min(week) AS cohort FROM active_weeks GROUP BY listener;
