-- A cohort that is not published has no later weeks either. A cell begins with the cohort's date.
INSERT OR IGNORE INTO held
SELECT DISTINCT cells.mart, cells.cell
FROM cells
JOIN held ON held.mart = cells.mart AND held.cell = left(cells.cell, 10)
WHERE cells.mart = 'retention';
