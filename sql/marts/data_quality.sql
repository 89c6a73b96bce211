-- What a reader of the other marts must know about the data behind them. Figures are over all plays,
-- and rounded to the nearest hundred or percent so that less any mart they show no small group;
-- nothing is told of fewer listeners than the minimum.
CREATE TABLE published.data_quality AS
WITH totals AS (
    SELECT
        count(DISTINCT listener) AS listeners,
        sum(plays) AS plays,
        sum(listens) AS listens,
        sum(timed_plays) AS timed_plays,
        sum(completion_plays) AS completion_plays,
        sum(plays) FILTER (country IS NULL) AS without_country,
        min(day) AS first_day,
        max(day) AS last_day
    FROM listener_day
),
genres AS (SELECT coalesce(sum(plays), 0) AS without_genre FROM listener_day_artist WHERE len(genres) = 0),
out AS (
    SELECT
        coalesce(sum(records) FILTER (counter = 'duplicates'), 0) AS duplicates,
        coalesce(sum(records) FILTER (counter = 'repeated'), 0) AS repeated,
        coalesce(sum(records) FILTER (counter = 'unreadable'), 0) AS unreadable
    FROM counters
),
measures AS (
    SELECT unnest([
        {'measure': 'listeners', 'value': round(listeners, -1), 'unit': 'listeners, to the nearest ten'},
        {'measure': 'plays', 'value': round(plays, -2), 'unit': 'plays, to the nearest hundred'},
        {'measure': 'listens', 'value': round(listens, -2), 'unit': 'plays, to the nearest hundred'},
        {'measure': 'without length', 'value': round(100 * (1 - timed_plays / plays)), 'unit': 'percent of plays'},
        {'measure': 'without completion', 'value': round(100 * (1 - completion_plays / plays)), 'unit': 'percent of plays'},
        {'measure': 'without country', 'value': round(100 * coalesce(without_country, 0) / plays), 'unit': 'percent of plays'},
        {'measure': 'without genre', 'value': round(100 * without_genre / plays), 'unit': 'percent of plays'},
        {'measure': 'duplicates left out', 'value': duplicates::DOUBLE, 'unit': 'plays a client sent again'},
        {'measure': 'repeats left out', 'value': repeated::DOUBLE, 'unit': 'listens the gate wrote again'},
        {'measure': 'unreadable', 'value': unreadable::DOUBLE, 'unit': 'records of listens'},
        {'measure': 'days covered', 'value': (last_day - first_day + 1)::DOUBLE, 'unit': 'days'}
    ], recursive := true)
    FROM totals, genres, out WHERE listeners >= getvariable('min_listeners')
)
SELECT measure, value::DOUBLE AS value, unit FROM measures;
COMMENT ON TABLE published.data_quality IS 'Completeness of the data behind the other marts. Empty below the minimum of listeners.';
COMMENT ON COLUMN published.data_quality.measure IS 'What is measured.';
COMMENT ON COLUMN published.data_quality.value IS 'The figure, in unit.';
COMMENT ON COLUMN published.data_quality.unit IS 'What the figure counts and how it is rounded.';
