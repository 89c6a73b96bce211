-- Genres that are wholly inside another, where the rest of the other has few listeners. A combination
-- of the rest that alone has enough settles it; else those of all of them are counted.
CREATE TEMP TABLE inner_genres AS
WITH combinations AS (
    SELECT row_number() OVER () AS id, genres, listeners FROM totals WHERE mart = 'combinations'
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
),
rests AS (
    SELECT narrow, wide, genres, max(listeners) OVER (PARTITION BY narrow, wide) AS most
    FROM nested
    JOIN members AS rest ON rest.genre = wide
    JOIN combinations ON combinations.id = rest.id AND NOT list_contains(genres, narrow)
),
few AS (SELECT narrow, wide, genres FROM rests WHERE most < getvariable('min_listeners')),
-- An artist's name is found faster in many rows than a list.
playing AS (
    SELECT listener, genres
    FROM listener_day_artist
    SEMI JOIN (
        SELECT cell AS artist FROM totals
        WHERE mart = 'artists of genres' AND genre IN (SELECT wide FROM few)
    ) USING (artist)
    SEMI JOIN few USING (genres)
    ANTI JOIN restricted USING (listener)
)
SELECT narrow, wide, count(DISTINCT listener) AS rest_listeners
FROM few JOIN playing USING (genres)
GROUP BY narrow, wide;
