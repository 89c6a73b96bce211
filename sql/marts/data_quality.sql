-- Figures are over all plays, rounded, and nothing is told of fewer listeners than the minimum: neither
-- of those that lack something nor of those that do not.
CREATE TABLE published.data_quality AS
WITH everybody AS (SELECT listeners, plays, listens FROM totals WHERE mart = 'everybody'),
covered AS (
    SELECT (max(cell::DATE) - min(cell::DATE) + 1)::DOUBLE AS days
    FROM totals ANTI JOIN held USING (mart, cell)
    WHERE mart = 'daily_activity'
),
shares AS (
    SELECT
        'without ' || cell AS measure,
        round(100 * (1 - coalesce(sum(plays) FILTER (mart = 'known'), 0) / sum(plays))) AS value
    FROM totals
    WHERE mart IN ('known', 'unknown')
    GROUP BY cell
    HAVING min(listeners) >= getvariable('min_listeners')
),
records AS (
    SELECT
        coalesce(sum(records) FILTER (counter = 'duplicates'), 0)::DOUBLE AS duplicates,
        coalesce(sum(records) FILTER (counter = 'repeated'), 0)::DOUBLE AS repeated,
        coalesce(sum(records) FILTER (counter = 'unreadable'), 0)::DOUBLE AS unreadable
    FROM counters
),
measures AS (
    SELECT 1 AS place, 'listeners' AS measure, round(listeners, -1)::DOUBLE AS value, 'listeners, to the nearest ten' AS unit FROM everybody
    UNION ALL SELECT 2, 'plays', round(plays, -2)::DOUBLE, 'plays, to the nearest hundred' FROM everybody
    UNION ALL SELECT 3, 'listens', round(listens, -2)::DOUBLE, 'plays, to the nearest hundred' FROM everybody
    UNION ALL SELECT 4, measure, value, 'percent of plays' FROM shares
    UNION ALL SELECT 5, 'duplicates left out', duplicates, 'plays a client sent again' FROM records
    UNION ALL SELECT 6, 'repeats left out', repeated, 'listens the gate wrote again' FROM records
    UNION ALL SELECT 7, 'unreadable', unreadable, 'records of listens' FROM records
    UNION ALL SELECT 8, 'days covered', days, 'days, first to last published' FROM covered
)
SELECT measure, value, unit
FROM measures
WHERE value IS NOT NULL AND (SELECT listeners >= getvariable('min_listeners') FROM everybody)
ORDER BY place, measure;

COMMENT ON TABLE published.data_quality IS 'How complete the data behind the other marts is. Totals are rounded; a measure is left out where it would tell of fewer listeners than the minimum, and all are where there are fewer.';
COMMENT ON COLUMN published.data_quality.measure IS 'What is measured. Duplicates, repeats and unreadable records are counted over all time and tell of no listener.';
COMMENT ON COLUMN published.data_quality.value IS 'The figure, in unit; percent to the nearest whole.';
COMMENT ON COLUMN published.data_quality.unit IS 'What the figure counts and how it is rounded.';
