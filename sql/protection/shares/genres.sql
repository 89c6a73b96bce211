INSERT INTO shares (mart, part, cell, listener)
WITH genres AS (SELECT cell AS genre FROM wanted WHERE mart = 'genres'),
-- An artist's name is found faster in many rows than a genre.
playing AS (
    SELECT listener, unnest(if(len(genres) > 0, genres, ['(unknown)'])) AS genre
    FROM listener_day_artist
    SEMI JOIN (
        SELECT cell AS artist FROM totals SEMI JOIN genres USING (genre)
        WHERE mart = 'artists of genres'
    ) USING (artist)
    ANTI JOIN restricted USING (listener)
)
SELECT DISTINCT 'genres', 'genres', genre, listener FROM playing SEMI JOIN genres USING (genre);
