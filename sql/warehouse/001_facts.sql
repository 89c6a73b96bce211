-- Sums per listener and UTC day. Rows are only ever appended; several rows of one key add up, and
-- compaction rewrites them into one. Everything here is pseudonymous and none of it is published:
-- analysts get the marts.

CREATE TABLE listener_day (
    listener VARCHAR NOT NULL,
    day DATE NOT NULL,
    country VARCHAR,
    device_class VARCHAR,
    plays BIGINT NOT NULL,
    listens BIGINT NOT NULL,
    skips BIGINT NOT NULL,
    ms_played BIGINT NOT NULL,
    timed_plays BIGINT NOT NULL,
    completion_sum BIGINT NOT NULL,
    completion_plays BIGINT NOT NULL
);
COMMENT ON TABLE listener_day IS 'What a listener played on a day, by country and kind of device.';
COMMENT ON COLUMN listener_day.listener IS 'Pseudonym.';
COMMENT ON COLUMN listener_day.day IS 'UTC day on which playback began.';
COMMENT ON COLUMN listener_day.country IS 'ISO 3166-1 alpha-2 code; NULL where unknown.';
COMMENT ON COLUMN listener_day.device_class IS 'Kind of device; NULL where unknown.';
COMMENT ON COLUMN listener_day.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN listener_day.listens IS 'Plays that count as a listen.';
COMMENT ON COLUMN listener_day.skips IS 'Plays the listener skipped.';
COMMENT ON COLUMN listener_day.ms_played IS 'Time heard, milliseconds; plays of unknown length add nothing.';
COMMENT ON COLUMN listener_day.timed_plays IS 'Plays whose time heard is known.';
COMMENT ON COLUMN listener_day.completion_sum IS 'Sum of the percent of the track that was heard.';
COMMENT ON COLUMN listener_day.completion_plays IS 'Plays that are part of completion_sum.';

CREATE TABLE listener_day_artist (
    listener VARCHAR NOT NULL,
    day DATE NOT NULL,
    artist VARCHAR NOT NULL,
    genres VARCHAR[] NOT NULL,
    plays BIGINT NOT NULL,
    listens BIGINT NOT NULL,
    skips BIGINT NOT NULL,
    ms_played BIGINT NOT NULL
);
COMMENT ON TABLE listener_day_artist IS 'What a listener played of an artist on a day.';
COMMENT ON COLUMN listener_day_artist.listener IS 'Pseudonym.';
COMMENT ON COLUMN listener_day_artist.day IS 'UTC day on which playback began.';
COMMENT ON COLUMN listener_day_artist.artist IS 'Name of the artist as credited.';
COMMENT ON COLUMN listener_day_artist.genres IS 'Genres these plays came with, most fitting first, each once; empty where unknown.';
COMMENT ON COLUMN listener_day_artist.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN listener_day_artist.listens IS 'Plays that count as a listen.';
COMMENT ON COLUMN listener_day_artist.skips IS 'Plays the listener skipped.';
COMMENT ON COLUMN listener_day_artist.ms_played IS 'Time heard, milliseconds.';

CREATE TABLE listener_day_hour (
    listener VARCHAR NOT NULL,
    day DATE NOT NULL,
    hour TINYINT NOT NULL,
    plays BIGINT NOT NULL,
    listens BIGINT NOT NULL,
    skips BIGINT NOT NULL,
    ms_played BIGINT NOT NULL
);
COMMENT ON TABLE listener_day_hour IS 'What a listener played in an hour of a day.';
COMMENT ON COLUMN listener_day_hour.listener IS 'Pseudonym.';
COMMENT ON COLUMN listener_day_hour.day IS 'UTC day on which playback began.';
COMMENT ON COLUMN listener_day_hour.hour IS 'UTC hour in which playback began, 0 to 23.';
COMMENT ON COLUMN listener_day_hour.plays IS 'Plays, whether they count as a listen or not.';
COMMENT ON COLUMN listener_day_hour.listens IS 'Plays that count as a listen.';
COMMENT ON COLUMN listener_day_hour.skips IS 'Plays the listener skipped.';
COMMENT ON COLUMN listener_day_hour.ms_played IS 'Time heard by plays that began in the hour, milliseconds.';

CREATE TABLE positions (
    partition INTEGER PRIMARY KEY,
    next_offset BIGINT NOT NULL,
    loaded_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE positions IS 'How far each partition of listens is included in the facts; written in the transaction of their rows.';
COMMENT ON COLUMN positions.partition IS 'Partition of listens.';
COMMENT ON COLUMN positions.next_offset IS 'Every record before this offset is included.';
COMMENT ON COLUMN positions.loaded_at IS 'When it was written, UTC.';

CREATE TABLE source_positions (
    partition INTEGER NOT NULL,
    source_partition INTEGER NOT NULL,
    highest_source_offset BIGINT NOT NULL,
    PRIMARY KEY (partition, source_partition)
);
COMMENT ON TABLE source_positions IS 'Highest position in plays seen in each partition of listens; what is not higher was seen before.';
COMMENT ON COLUMN source_positions.partition IS 'Partition of listens.';
COMMENT ON COLUMN source_positions.source_partition IS 'Partition of plays.';
COMMENT ON COLUMN source_positions.highest_source_offset IS 'Highest offset in it.';

CREATE TABLE counters (
    loaded_on DATE NOT NULL,
    counter VARCHAR NOT NULL,
    records BIGINT NOT NULL,
    PRIMARY KEY (loaded_on, counter)
);
COMMENT ON TABLE counters IS 'What became of the records of listens.';
COMMENT ON COLUMN counters.loaded_on IS 'UTC day on which they were read.';
COMMENT ON COLUMN counters.counter IS 'folded, repeated, duplicates or unreadable.';
COMMENT ON COLUMN counters.records IS 'Number of records.';

CREATE TABLE compactions (
    fact VARCHAR PRIMARY KEY,
    rows_after BIGINT NOT NULL
);
COMMENT ON TABLE compactions IS 'Size of each fact table when it was last compacted.';
COMMENT ON COLUMN compactions.fact IS 'Name of the fact table.';
COMMENT ON COLUMN compactions.rows_after IS 'Rows it had then, one per key.';
