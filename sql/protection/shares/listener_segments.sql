CREATE OR REPLACE TEMP TABLE wanted_segments AS
WITH wanted_cells AS (SELECT cell FROM wanted WHERE mart = 'listener_segments'),
activity AS (
    SELECT
        listener, sum(plays) AS plays, sum(listens) AS listens, sum(skips) AS skips,
        sum(ms_played) AS ms_played,
        CASE
            WHEN sum(listens) < 5 * count(DISTINCT day) THEN 'light'
            WHEN sum(listens) < 20 * count(DISTINCT day) THEN 'regular'
            ELSE 'heavy'
        END AS intensity
    FROM listener_day
    ANTI JOIN restricted USING (listener)
    GROUP BY listener
),
possible AS (
    FROM activity SEMI JOIN (
        SELECT split_part(cell, ' ', 1) AS intensity FROM wanted_cells
    ) USING (intensity)
),
breadths AS (
    SELECT listener, count(DISTINCT artist) AS artists
    FROM listener_day_artist SEMI JOIN possible USING (listener)
    WHERE listens > 0
    GROUP BY listener
)
SELECT intensity || ' ' || if(2 * artists >= possible.listens, 'explorer', 'loyal') AS cell, possible.*
FROM possible LEFT JOIN breadths USING (listener);

INSERT INTO shares
SELECT 'listener_segments', 'all', cell, listener, plays, listens, skips, ms_played
FROM wanted_segments SEMI JOIN wanted USING (cell);

INSERT INTO shares (mart, part, cell, listener)
SELECT 'listener_segments', 'listeners', cell, listener
FROM wanted_segments SEMI JOIN wanted USING (cell);
