CREATE OR REPLACE TEMP TABLE wanted_artists AS
SELECT
    artist AS cell, genres, listener, sum(plays) AS plays, sum(listens) AS listens,
    sum(skips) AS skips, sum(ms_played) AS ms_played
FROM listener_day_artist
SEMI JOIN (SELECT cell AS artist FROM wanted WHERE mart = 'artists') USING (artist)
ANTI JOIN restricted USING (listener)
GROUP BY artist, genres, listener;

INSERT INTO shares
SELECT 'artists', 'all', cell, listener, sum(plays), sum(listens), sum(skips), sum(ms_played)
FROM wanted_artists GROUP BY cell, listener;

INSERT INTO held_artists_of_genres
SELECT DISTINCT unnest(if(len(genres) > 0, genres, ['(unknown)'])), cell, listener
FROM wanted_artists;
