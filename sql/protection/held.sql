-- The cells that are not published: those with too few listeners. What follows from holding them is in
-- hold_more.
CREATE TEMP TABLE held (mart VARCHAR, cell VARCHAR, PRIMARY KEY (mart, cell));

INSERT INTO held
SELECT DISTINCT mart, cell FROM cells WHERE listeners < getvariable('min_listeners');

-- Nobody back in a week: there is no row to publish, so all of the cohort is held there.
INSERT OR IGNORE INTO held
SELECT 'retention', cell FROM cohort_weeks WHERE back = 0;

-- Who is in the cells that are held, once each has been looked up, and what that listener adds to it.
-- Of retention, only who is in a cohort: each listener is in one, so listeners of its other cells add up.
CREATE TEMP TABLE shares (
    mart VARCHAR,
    part VARCHAR,
    cell VARCHAR,
    listener VARCHAR,
    plays BIGINT DEFAULT 1,
    listens BIGINT DEFAULT 0,
    skips BIGINT DEFAULT 0,
    ms_played BIGINT DEFAULT 0
);
CREATE TEMP TABLE looked_up (mart VARCHAR, cell VARCHAR, PRIMARY KEY (mart, cell));
-- Which listeners an artist that is held has within a genre.
CREATE TEMP TABLE held_artists_of_genres (genre VARCHAR, cell VARCHAR, listener VARCHAR);
