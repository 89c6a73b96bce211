CREATE TABLE published.retention AS
SELECT
    cohort,
    ((week - cohort) // 7)::INTEGER AS weeks_later,
    cohort_listeners,
    back AS listeners,
    round(back / cohort_listeners, 4) AS share
FROM cohort_weeks
ANTI JOIN held ON mart = 'retention' AND held.cell = cohort_weeks.cell
WHERE back > 0
ORDER BY cohort, weeks_later;

COMMENT ON TABLE published.retention IS 'Of the listeners who came in a week, how many listened in a later one. Rows are left out where fewer listeners than the minimum listened again, where fewer than that, but any, did not, and where others would give such a row away by subtraction. The newest week may not have ended.';
COMMENT ON COLUMN published.retention.cohort IS 'Monday, UTC, of the week of the first play.';
COMMENT ON COLUMN published.retention.weeks_later IS 'Weeks since; 0 is the week of the first play.';
COMMENT ON COLUMN published.retention.cohort_listeners IS 'Listeners who began in that week; at least the minimum. Each is in one cohort.';
COMMENT ON COLUMN published.retention.listeners IS 'Of these, listeners with a play in the later week; at least the minimum.';
COMMENT ON COLUMN published.retention.share IS 'listeners over cohort_listeners, 0 to 1.';
