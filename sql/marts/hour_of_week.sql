-- One row an hour of the week. Hours held back together have at least the minimum of listeners.
CREATE TABLE published.hour_of_week AS
WITH hours AS (
    SELECT listener, isodow(day)::INTEGER AS weekday, hour, plays, listens FROM listener_day_hour
),
cells AS (
    SELECT
        weekday,
        hour,
        count(DISTINCT listener) AS listeners,
        sum(plays)::BIGINT AS plays,
        sum(listens)::BIGINT AS listens
    FROM hours GROUP BY weekday, hour
),
small AS (SELECT weekday, hour FROM cells WHERE listeners < getvariable('min_listeners')),
held AS (SELECT count(DISTINCT listener) AS listeners FROM hours SEMI JOIN small USING (weekday, hour)),
next AS (
    SELECT weekday, hour FROM cells ANTI JOIN small USING (weekday, hour)
    WHERE (SELECT listeners BETWEEN 1 AND getvariable('min_listeners') - 1 FROM held)
    ORDER BY listeners, weekday, hour LIMIT 1
)
SELECT * FROM cells ANTI JOIN small USING (weekday, hour) ANTI JOIN next USING (weekday, hour)
ORDER BY weekday, hour;
COMMENT ON TABLE published.hour_of_week IS 'Listening by hour of the week (UTC) over the whole span. An hour with fewer listeners than the minimum is left out.';
COMMENT ON COLUMN published.hour_of_week.weekday IS 'Day of the week, 1 Monday to 7 Sunday, UTC.';
COMMENT ON COLUMN published.hour_of_week.hour IS 'Hour of the day, 0 to 23, UTC.';
COMMENT ON COLUMN published.hour_of_week.listeners IS 'Distinct listeners with at least one play.';
COMMENT ON COLUMN published.hour_of_week.plays IS 'Plays.';
COMMENT ON COLUMN published.hour_of_week.listens IS 'Plays that count as listens under the configured rule.';
