-- A cohort that is not published has no later weeks either. A cell begins with the cohort's date.
INSERT OR IGNORE INTO held
SELECT 'retention', cohort_weeks.cell
FROM cohort_weeks
JOIN held ON held.mart = 'retention' AND held.cell = cohort::VARCHAR;
