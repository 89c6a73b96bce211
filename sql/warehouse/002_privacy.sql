-- Privacy commands: how far they are carried out, whom they restrict, and what is owed for them.
-- Written in the transaction of what they change.

CREATE TABLE command_positions (
    topic VARCHAR NOT NULL,
    partition INTEGER NOT NULL,
    next_offset BIGINT NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE command_positions IS 'How far privacy commands and rekeys are carried out.';
COMMENT ON COLUMN command_positions.topic IS 'privacy-commands or privacy-rekeys.';
COMMENT ON COLUMN command_positions.partition IS 'Partition of the topic.';
COMMENT ON COLUMN command_positions.next_offset IS 'Every record before this offset is carried out.';

CREATE TABLE restricted (listener VARCHAR NOT NULL);
COMMENT ON TABLE restricted IS 'Listeners whose facts are kept but not used: no release counts them.';
COMMENT ON COLUMN restricted.listener IS 'Pseudonym.';

-- By the command's offset, for a pseudonym here would outlive the erasure it asks for.
CREATE TABLE answers_due (
    partition INTEGER NOT NULL,
    command_offset BIGINT NOT NULL,
    store VARCHAR NOT NULL,
    removed BIGINT NOT NULL,
    PRIMARY KEY (partition, command_offset, store)
);
COMMENT ON TABLE answers_due IS 'Commands that are carried out and not answered yet.';
COMMENT ON COLUMN answers_due.partition IS 'Partition of privacy-commands.';
COMMENT ON COLUMN answers_due.command_offset IS 'Offset of the command in it.';
COMMENT ON COLUMN answers_due.store IS 'Store that answers: warehouse or release.';
COMMENT ON COLUMN answers_due.removed IS 'Rows of facts that the command removed.';

CREATE TABLE stale (since TIMESTAMP NOT NULL);
COMMENT ON TABLE stale IS 'Has a row while the file may hold bytes of rows that were erased or renamed; a rewrite ends that.';
COMMENT ON COLUMN stale.since IS 'When one was, UTC.';

-- Facts written before there were commands have pseudonyms that no command knows: nothing could ever
-- erase them. They are counted again from the listens that the topic still holds.
INSERT INTO stale SELECT now() AT TIME ZONE 'UTC' FROM positions LIMIT 1;
DELETE FROM listener_day;
DELETE FROM listener_day_artist;
DELETE FROM listener_day_hour;
DELETE FROM positions;
DELETE FROM source_positions;
DELETE FROM counters;
DELETE FROM compactions;
