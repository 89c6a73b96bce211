-- What this release is.
CREATE TABLE published.release AS
SELECT
    getvariable('release_id')::VARCHAR AS id,
    getvariable('published_at')::TIMESTAMPTZ AS published_at,
    getvariable('min_listeners')::INTEGER AS min_listeners,
    getvariable('version')::VARCHAR AS version,
    (SELECT coalesce(sum(next_offset), 0)::BIGINT FROM positions) AS listens_read;
COMMENT ON TABLE published.release IS 'This release, one row.';
COMMENT ON COLUMN published.release.id IS 'Identifier of the release.';
COMMENT ON COLUMN published.release.published_at IS 'When it was made, UTC.';
COMMENT ON COLUMN published.release.min_listeners IS 'Distinct listeners that every row of every mart has at least.';
COMMENT ON COLUMN published.release.version IS 'Version of Sotto Voce that made it.';
COMMENT ON COLUMN published.release.listens_read IS 'Records of listens read when it was made: freshness, comparable between releases.';
