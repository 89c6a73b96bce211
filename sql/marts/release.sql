CREATE TABLE published.release AS
WITH enough AS (
    SELECT coalesce(max(listeners), 0) >= getvariable('min_listeners') AS listeners
    FROM totals WHERE mart = 'everybody'
),
days AS (
    SELECT max(cell::DATE) AS newest
    FROM totals ANTI JOIN held USING (mart, cell)
    WHERE mart = 'daily_activity'
)
SELECT
    getvariable('release_id') AS id,
    getvariable('published_at') AS published_at,
    getvariable('min_listeners') AS min_listeners,
    getvariable('version') AS version,
    days.newest AS newest_day,
    max(loaded_at) AS loaded_through,
    if(enough.listeners, coalesce(sum(next_offset), 0), 0)::BIGINT AS listens_read,
    if(
        enough.listeners,
        map(list(partition ORDER BY partition), list(next_offset ORDER BY partition)),
        NULL
    ) AS positions
FROM enough CROSS JOIN days LEFT JOIN positions ON true
GROUP BY enough.listeners, days.newest;

COMMENT ON TABLE published.release IS 'This release: one row.';
COMMENT ON COLUMN published.release.id IS 'Identifier of the release.';
COMMENT ON COLUMN published.release.published_at IS 'When it was made, UTC.';
COMMENT ON COLUMN published.release.min_listeners IS 'Distinct listeners that every row of every mart about listening has at least.';
COMMENT ON COLUMN published.release.version IS 'Version of Sotto Voce that made it.';
COMMENT ON COLUMN published.release.newest_day IS 'Last UTC day that is published; it may not have ended.';
COMMENT ON COLUMN published.release.loaded_through IS 'When listens were last written to the warehouse, UTC; NULL before the first.';
COMMENT ON COLUMN published.release.listens_read IS 'Records of listens read; 0 where fewer listeners than the minimum are known.';
COMMENT ON COLUMN published.release.positions IS 'By partition of listens: every record before this offset is included. NULL where fewer listeners than the minimum are known.';
