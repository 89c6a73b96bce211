CREATE TABLE published.retention AS
WITH sizes AS (SELECT cohort, count(*) AS cohort_listeners FROM cohorts GROUP BY cohort)
SELECT
    cohort,
    ((week - cohort) // 7)::INTEGER AS weeks_later,
    cohort_listeners,
    count(*) AS listeners,
    round(count(*) / cohort_listeners, 4) AS share
FROM active_weeks
JOIN cohorts USING (listener)
JOIN sizes USING (cohort)
ANTI JOIN held ON mart = 'retention'
    AND cell = if(week = cohort, cohort::VARCHAR, cohort || ' ' || week)
GROUP BY cohort, week, cohort_listeners
ORDER BY cohort, weeks_later;

COMMENT ON TABLE published.retention IS 'Of the listeners who came in a week, how many listened in a later one. Rows are left out where fewer listeners than the minimum listened again, where fewer than that, but any, did not, and where others would give such a row away by subtraction. The newest week may not have ended.';
COMMENT ON COLUMN published.retention.cohort IS 'Monday, UTC, of the week of the first play.';
COMMENT ON COLUMN published.retention.weeks_later IS 'Weeks since; 0 is the week of the first play.';
COMMENT ON COLUMN published.retention.cohort_listeners IS 'Listeners who began in that week; at least the minimum. Each is in one cohort.';
COMMENT ON COLUMN published.retention.listeners IS 'Of these, listeners with a play in the later week; at least the minimum.';
COMMENT ON COLUMN published.retention.share IS 'listeners over cohort_listeners, 0 to 1.';
