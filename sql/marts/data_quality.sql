-- Figures are over all plays, rounded, and nothing is told of fewer listeners than the minimum: neither
-- of those that lack something nor of those that do not.
CREATE TABLE published.data_quality AS
WITH plays AS (
    SELECT listener, day, plays, listens, plays - timed_plays AS untimed,
        plays - completion_plays AS incomplete, if(country IS NULL, plays, 0) AS stateless
    FROM base_day
),
totals AS (
    SELECT
        count(DISTINCT listener) AS listeners,
        sum(plays) AS plays,
        sum(listens) AS listens
    FROM plays
),
covered AS (
    SELECT (max(day) - min(day) + 1)::DOUBLE AS days
    FROM base_day ANTI JOIN held ON mart = 'daily_activity' AND cell = day::VARCHAR
),
lacks AS (
    SELECT 'without length' AS measure, listener, untimed AS lacking, plays FROM plays
    UNION ALL SELECT 'without completion', listener, incomplete, plays FROM plays
    UNION ALL SELECT 'without country', listener, stateless, plays FROM plays
    UNION ALL SELECT 'without genre', listener, if(len(genres) = 0, plays, 0), plays FROM base_artist
),
shares AS (
    SELECT measure, round(100 * sum(lacking) / sum(plays)) AS value
    FROM lacks
    GROUP BY measure
    HAVING (
            sum(lacking) = 0
            OR count(DISTINCT listener) FILTER (lacking > 0) >= getvariable('min_listeners')
        )
        AND (
            sum(lacking) = sum(plays)
            OR count(DISTINCT listener) FILTER (lacking < plays) >= getvariable('min_listeners')
        )
),
records AS (
    SELECT
        coalesce(sum(records) FILTER (counter = 'duplicates'), 0)::DOUBLE AS duplicates,
        coalesce(sum(records) FILTER (counter = 'repeated'), 0)::DOUBLE AS repeated,
        coalesce(sum(records) FILTER (counter = 'unreadable'), 0)::DOUBLE AS unreadable
    FROM counters
),
measures AS (
    SELECT 1 AS place, 'listeners' AS measure, round(listeners, -1)::DOUBLE AS value, 'listeners, to the nearest ten' AS unit FROM totals
    UNION ALL SELECT 2, 'plays', round(plays, -2)::DOUBLE, 'plays, to the nearest hundred' FROM totals
    UNION ALL SELECT 3, 'listens', round(listens, -2)::DOUBLE, 'plays, to the nearest hundred' FROM totals
    UNION ALL SELECT 4, measure, value, 'percent of plays' FROM shares
    UNION ALL SELECT 5, 'duplicates left out', duplicates, 'plays a client sent again' FROM records
    UNION ALL SELECT 6, 'repeats left out', repeated, 'listens the gate wrote again' FROM records
    UNION ALL SELECT 7, 'unreadable', unreadable, 'records of listens' FROM records
    UNION ALL SELECT 8, 'days covered', days, 'days, first to last published' FROM covered
)
SELECT measure, value, unit
FROM measures
WHERE value IS NOT NULL AND (SELECT listeners >= getvariable('min_listeners') FROM totals)
ORDER BY place, measure;

COMMENT ON TABLE published.data_quality IS 'How complete the data behind the other marts is. Totals are rounded; a measure is left out where it would tell of fewer listeners than the minimum, and all are where there are fewer.';
COMMENT ON COLUMN published.data_quality.measure IS 'What is measured. Duplicates, repeats and unreadable records are counted over all time and tell of no listener.';
COMMENT ON COLUMN published.data_quality.value IS 'The figure, in unit; percent to the nearest whole.';
COMMENT ON COLUMN published.data_quality.unit IS 'What the figure counts and how it is rounded.';
