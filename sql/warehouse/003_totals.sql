-- What the last release counted, so that the next one counts only listeners of whom there is more or
-- less than then.

ALTER TABLE listener_day ADD COLUMN lot INTEGER DEFAULT 0;
ALTER TABLE listener_day ALTER lot DROP DEFAULT;
ALTER TABLE listener_day ALTER lot SET NOT NULL;
ALTER TABLE listener_day_artist ADD COLUMN lot INTEGER DEFAULT 0;
ALTER TABLE listener_day_artist ALTER lot DROP DEFAULT;
ALTER TABLE listener_day_artist ALTER lot SET NOT NULL;
ALTER TABLE listener_day_hour ADD COLUMN lot INTEGER DEFAULT 0;
ALTER TABLE listener_day_hour ALTER lot DROP DEFAULT;
ALTER TABLE listener_day_hour ALTER lot SET NOT NULL;
COMMENT ON COLUMN listener_day.lot IS 'Rows between the beginnings of two releases have the same number.';
COMMENT ON COLUMN listener_day_artist.lot IS 'Rows between the beginnings of two releases have the same number.';
COMMENT ON COLUMN listener_day_hour.lot IS 'Rows between the beginnings of two releases have the same number.';

CREATE TABLE kept_totals (
    mart VARCHAR NOT NULL,
    cell VARCHAR NOT NULL,
    genre VARCHAR NOT NULL,
    genres VARCHAR[] NOT NULL,
    listeners BIGINT NOT NULL,
    plays BIGINT NOT NULL,
    listens BIGINT NOT NULL,
    skips BIGINT NOT NULL,
    ms_played BIGINT NOT NULL,
    days BIGINT NOT NULL,
    completion_listeners BIGINT NOT NULL,
    completion_sum BIGINT NOT NULL,
    completion_plays BIGINT NOT NULL
);
COMMENT ON TABLE kept_totals IS 'What the facts up to a lot add up to, over all listeners who are not restricted, before anything is held back.';
COMMENT ON COLUMN kept_totals.mart IS 'Mart, or what else is counted: see sql/totals.';
COMMENT ON COLUMN kept_totals.cell IS 'Row of the mart.';
COMMENT ON COLUMN kept_totals.genre IS 'Genre within which an artist is counted; empty elsewhere.';
COMMENT ON COLUMN kept_totals.genres IS 'Combination of genres that is counted; empty elsewhere.';
COMMENT ON COLUMN kept_totals.listeners IS 'Distinct listeners.';
COMMENT ON COLUMN kept_totals.plays IS 'Their plays, as in the facts.';
COMMENT ON COLUMN kept_totals.listens IS 'Plays that count as a listen.';
COMMENT ON COLUMN kept_totals.skips IS 'Plays the listener skipped.';
COMMENT ON COLUMN kept_totals.ms_played IS 'Time heard, milliseconds.';
COMMENT ON COLUMN kept_totals.days IS 'Days with a play, summed over listeners; 0 where nobody asks.';
COMMENT ON COLUMN kept_totals.completion_listeners IS 'Listeners with a play whose completion is known; 0 where nobody asks.';
COMMENT ON COLUMN kept_totals.completion_sum IS 'Sum of the percent of the track that was heard.';
COMMENT ON COLUMN kept_totals.completion_plays IS 'Plays that are part of completion_sum.';

CREATE TABLE kept_through (lot INTEGER NOT NULL, counted_by VARCHAR NOT NULL);
COMMENT ON TABLE kept_through IS 'What kept_totals is of; no row where there is nothing to go on from.';
COMMENT ON COLUMN kept_through.lot IS 'Facts up to this lot are in the totals, later ones are not.';
COMMENT ON COLUMN kept_through.counted_by IS 'Digest of the SQL that counted; other SQL counts anew.';
