-- A genre less one that is wholly inside it: where few listeners remain, the inner one is held.
INSERT OR IGNORE INTO held
SELECT DISTINCT 'genres', narrow
FROM inner_genres
WHERE rest_listeners < getvariable('min_listeners')
    AND wide NOT IN (SELECT cell FROM held WHERE mart = 'genres');
