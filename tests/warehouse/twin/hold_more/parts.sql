-- A part less its published cells: where few listeners remain, one more cell is held, the smallest that
-- suffices. An artist's plays of a genre are in the part of that genre; genres that are held cannot be
-- told from one another, so they are one part.
INSERT OR IGNORE INTO held
WITH genre_parts AS (
    SELECT genre, if(held.cell IS NULL, 'genre ' || genre, 'held genres') AS part
    FROM (SELECT DISTINCT genre FROM artists_of_genres)
    LEFT JOIN held ON held.mart = 'genres' AND held.cell = genre
),
remaining AS (
    SELECT mart, part, listener FROM cells SEMI JOIN held USING (mart, cell)
    UNION ALL
    SELECT 'artists', part, listener
    FROM (
        FROM artists_of_genres
        SEMI JOIN held ON held.mart = 'artists' AND held.cell = artists_of_genres.cell
    )
    JOIN genre_parts USING (genre)
),
small AS (
    SELECT mart, part FROM remaining
    GROUP BY mart, part
    HAVING count(DISTINCT listener) < getvariable('min_listeners')
),
candidates AS (
    SELECT mart, part, cell, listener FROM cells SEMI JOIN small USING (mart, part)
    UNION ALL
    SELECT small.mart, part, cell, listener
    FROM artists_of_genres JOIN genre_parts USING (genre) JOIN small USING (part)
),
published AS (
    SELECT mart, part, cell, count(DISTINCT listener) AS listeners
    FROM candidates ANTI JOIN held USING (mart, cell)
    GROUP BY mart, part, cell
)
SELECT DISTINCT mart, cell
FROM published
QUALIFY row_number() OVER (
    PARTITION BY mart, part
    ORDER BY listeners < getvariable('min_listeners'), listeners, cell
) = 1;
