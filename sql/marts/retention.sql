-- Of the listeners who began in a week, how many listened again so many weeks later. A row needs the
-- minimum of listeners both in its cohort and among those who came back, and those who did not come
-- back must be as many or none: the two are subtracted too easily.
CREATE TABLE published.retention AS
WITH weeks AS (
    SELECT DISTINCT listener, date_trunc('week', day)::DATE AS week FROM listener_day
),
cohorts AS (SELECT listener, min(week) AS cohort FROM weeks GROUP BY listener),
sizes AS (SELECT cohort, count(*) AS cohort_listeners FROM cohorts GROUP BY cohort),
cells AS (
    SELECT cohort, ((week - cohort) // 7)::INTEGER AS weeks_later, count(*) AS listeners
    FROM weeks JOIN cohorts USING (listener) GROUP BY ALL
)
SELECT
    cohort,
    weeks_later,
    cohort_listeners,
    listeners,
    round(listeners / cohort_listeners, 4) AS share
FROM cells JOIN sizes USING (cohort)
WHERE listeners >= getvariable('min_listeners')
    AND (
        cohort_listeners = listeners
        OR cohort_listeners - listeners >= getvariable('min_listeners')
    )
ORDER BY cohort, weeks_later;
COMMENT ON TABLE published.retention IS 'Listeners by the week they began (Monday, UTC) and how many listened in a later week. Rows of fewer than the minimum, or that fewer than the minimum miss, are left out.';
COMMENT ON COLUMN published.retention.cohort IS 'Monday of the week of the first play, UTC.';
COMMENT ON COLUMN published.retention.weeks_later IS 'Weeks since; 0 is the week of the first play.';
COMMENT ON COLUMN published.retention.cohort_listeners IS 'Listeners who began in that week.';
COMMENT ON COLUMN published.retention.listeners IS 'Of these, listeners with a play in the later week.';
COMMENT ON COLUMN published.retention.share IS 'listeners over cohort_listeners, 0 to 1.';
