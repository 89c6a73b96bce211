-- A part less its published cells: where few listeners remain, one more cell is held, the smallest that
-- suffices. An artist's plays of a genre are in the part of that genre; genres that are held cannot be
-- told from one another, so they are one part.
INSERT OR IGNORE INTO held
WITH genre_parts AS (
    SELECT totals.cell AS genre, if(held.cell IS NULL, 'genre ' || totals.cell, 'held genres') AS part
    FROM totals LEFT JOIN held USING (mart, cell)
    WHERE mart = 'genres'
),
remaining AS (
    SELECT mart, part, count(DISTINCT listener) AS listeners
    FROM shares WHERE mart <> 'listener_segments' AND mart <> 'retention'
    GROUP BY mart, part
    UNION ALL
    SELECT 'artists', part, count(DISTINCT listener)
    FROM held_artists_of_genres JOIN genre_parts USING (genre)
    GROUP BY part
    UNION ALL
    SELECT mart, part, sum(listeners)
    FROM cells SEMI JOIN held USING (mart, cell)
    WHERE mart = 'listener_segments' OR mart = 'retention'
    GROUP BY mart, part
),
small AS (SELECT mart, part FROM remaining WHERE listeners < getvariable('min_listeners')),
-- Listeners of artists within held genres, which have listeners in common.
in_held_genres AS (
    SELECT artist, listener, unnest(if(len(genres) > 0, genres, ['(unknown)'])) AS genre
    FROM listener_day_artist
    SEMI JOIN (
        SELECT cell AS artist FROM totals
        JOIN genre_parts USING (genre) JOIN small USING (part)
        WHERE totals.mart = 'artists of genres' AND part = 'held genres'
    ) USING (artist)
    ANTI JOIN restricted USING (listener)
),
candidates AS (
    SELECT mart, part, cell, listeners FROM cells SEMI JOIN small USING (mart, part)
    UNION ALL
    SELECT 'artists', part, totals.cell, listeners
    FROM totals JOIN genre_parts USING (genre) JOIN small USING (part)
    WHERE totals.mart = 'artists of genres' AND small.mart = 'artists' AND part <> 'held genres'
    UNION ALL
    SELECT 'artists', part, artist, count(DISTINCT listener)
    FROM in_held_genres JOIN genre_parts USING (genre)
    WHERE part = 'held genres'
    GROUP BY part, artist
),
published AS (FROM candidates ANTI JOIN held USING (mart, cell))
SELECT DISTINCT mart, cell
FROM published
QUALIFY row_number() OVER (
    PARTITION BY mart, part
    ORDER BY listeners < getvariable('min_listeners'), listeners, cell
) = 1;
